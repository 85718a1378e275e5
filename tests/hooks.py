"""The slow, obvious oracle: plain forward hooks on the Hugging Face model.

It knows nothing of the engine. Activations are [position, ...] as in the
engine's runs, the pattern [query, head, key].

Transformers rounds RMS norms, softmax and rotary angles to float32, also inside a
model in float64. There, and only there, they are replaced by the same expressions
in float64, so that what is left between engine and oracle is rounding to 1e-15.
"""

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

Change = Callable[[Tensor], None]
"""Edits one run's activation at a site, [position, ...], in place."""

Step = tuple[str, int, Change]
"""Where an activation is edited, and how: (site, layer, change)."""

QKV = ("q", "k", "v")


@dataclass(frozen=True)
class Parts:
    """Where a family keeps its modules, as attribute paths."""

    layers: str
    embed: str
    attn: str
    o: str
    norm_mlp: str
    norm_final: str
    mlp: str
    down: str
    qkv: tuple[str, str, str] | None
    """The projections of queries, keys and values; None where one module has all three."""
    joint: str = ""
    in_turn: bool = False
    """Whether `joint` has each head's query, key and value behind one another."""
    norm_attn_out: str = ""
    norm_mlp_out: str = ""
    """Norms of what attention and MLP add to the stream."""


_LLAMA = Parts(
    layers="model.layers",
    embed="model.embed_tokens",
    attn="self_attn",
    o="self_attn.o_proj",
    norm_mlp="post_attention_layernorm",
    norm_final="model.norm",
    mlp="mlp",
    down="mlp.down_proj",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
)
_NORMS_BEHIND = {
    "norm_attn_out": "post_attention_layernorm",
    "norm_mlp_out": "post_feedforward_layernorm",
}
_GEMMA = replace(_LLAMA, norm_mlp="pre_feedforward_layernorm", **_NORMS_BEHIND)
PARTS = {
    "gpt2": Parts(
        layers="transformer.h",
        embed="transformer.wte",
        attn="attn",
        o="attn.c_proj",
        norm_mlp="ln_2",
        norm_final="transformer.ln_f",
        mlp="mlp",
        down="mlp.c_proj",
        qkv=None,
        joint="attn.c_attn",
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "phi3": replace(_LLAMA, qkv=None, joint="self_attn.qkv_proj"),
    "gpt_neo": Parts(
        layers="transformer.h",
        embed="transformer.wte",
        attn="attn.attention",
        o="attn.attention.out_proj",
        norm_mlp="ln_2",
        norm_final="transformer.ln_f",
        mlp="mlp",
        down="mlp.c_proj",
        qkv=("attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"),
    ),
    "opt": Parts(
        layers="model.decoder.layers",
        embed="model.decoder.embed_tokens",
        attn="self_attn",
        o="self_attn.out_proj",
        norm_mlp="final_layer_norm",
        norm_final="model.decoder.final_layer_norm",
        mlp="fc2",
        down="fc2",
        qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ),
    "gpt_neox": Parts(
        layers="gpt_neox.layers",
        embed="gpt_neox.embed_in",
        attn="attention",
        o="attention.dense",
        norm_mlp="post_attention_layernorm",
        norm_final="gpt_neox.final_layer_norm",
        mlp="mlp",
        down="mlp.dense_4h_to_h",
        qkv=None,
        joint="attention.query_key_value",
        in_turn=True,
    ),
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "phi": replace(
        _LLAMA,
        o="self_attn.dense",
        norm_mlp="input_layernorm",
        norm_final="model.final_layernorm",
        down="mlp.fc2",
    ),
    "gptj": Parts(
        layers="transformer.h",
        embed="transformer.wte",
        attn="attn",
        o="attn.out_proj",
        norm_mlp="ln_1",
        norm_final="transformer.ln_f",
        mlp="mlp",
        down="mlp.fc_out",
        qkv=("attn.q_proj", "attn.k_proj", "attn.v_proj"),
    ),
    # Its MLP reads the stream itself.
    "olmo2": replace(_LLAMA, norm_mlp="mlp", **_NORMS_BEHIND),
    "olmoe": _LLAMA,
    "qwen3_moe": _LLAMA,
    "mixtral": _LLAMA,
}
"""By the `model_type` of the config."""


def parts_of(model: PreTrainedModel) -> Parts:
    return PARTS[model.config.model_type]


def d_head_of(model: PreTrainedModel) -> int:
    config = model.config
    own: int | None = getattr(config, "head_dim", None)
    return own or config.hidden_size // config.num_attention_heads


def logits(model: PreTrainedModel, tokens: list[int]) -> Tensor:
    """[position, vocab] of the untouched model."""
    with torch.no_grad(), _exact(model):
        return model(torch.tensor([tokens])).logits[0]


def changed_logits(model: PreTrainedModel, tokens: list[int], changes: Iterable[Step]) -> Tensor:
    """[position, vocab] of the model whose sites are edited."""
    with ExitStack() as stack:
        for site, layer, change in changes:
            stack.enter_context(at_site(model, site, layer, change))
        return logits(model, tokens)


def activation(
    model: PreTrainedModel, tokens: list[int], site: str, layer: int, changes: Iterable[Step] = ()
) -> Tensor:
    """A site's activation in the untouched run, or after `changes`."""
    seen: list[Tensor] = []
    look: Step = (site, layer, lambda live: seen.append(live.clone()))
    changed_logits(model, tokens, [*changes, look])
    return seen[0]


@contextmanager
def at_site(model: PreTrainedModel, site: str, layer: int, change: Change) -> Generator[None]:
    """Apply `change` at a site during each run inside the block."""
    if site == "pattern":
        with _at_pattern(model, layer, change):
            yield
        return
    handle = _hook(model, site, layer, change)
    try:
        yield
    finally:
        handle.remove()


def _hook(model: PreTrainedModel, site: str, layer: int, change: Change) -> Any:
    parts, d_head = parts_of(model), d_head_of(model)
    block = model.get_submodule(f"{parts.layers}.{layer}")

    def only(live: Tensor) -> Tensor:
        """The one prompt of the batch; some modules are given its tokens without it."""
        return live if live.ndim == 2 else live[0]

    def before(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        change(only(arguments[0]))

    def before_by_head(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        change(arguments[0][0].unflatten(-1, (-1, d_head)))

    def after(_module: nn.Module, _arguments: Any, output: Any) -> None:
        change(only(output[0] if isinstance(output, tuple) else output))

    def after_by_head(_module: nn.Module, _arguments: Any, output: Tensor) -> None:
        change(output[0].unflatten(-1, (-1, d_head)))

    def after_joint(_module: nn.Module, _arguments: Any, output: Tensor) -> None:
        if parts.in_turn:
            change(output[0].unflatten(-1, (-1, 3, d_head))[..., QKV.index(site), :])
            return
        n_heads = model.config.num_attention_heads
        n_kv_heads = getattr(model.config, "num_key_value_heads", n_heads)
        widths = [count * d_head for count in (n_heads, n_kv_heads, n_kv_heads)]
        part = output[0].split(widths, dim=-1)[QKV.index(site)]
        change(part.unflatten(-1, (-1, d_head)))

    if site in QKV and parts.qkv is None:
        return block.get_submodule(parts.joint).register_forward_hook(after_joint)
    if site in QKV and parts.qkv is not None:
        projection = block.get_submodule(parts.qkv[QKV.index(site)])
        return projection.register_forward_hook(after_by_head)
    if site == "embed":
        return model.get_submodule(parts.embed).register_forward_hook(after)
    ahead = {
        "resid_pre": ("", before),
        "z": (parts.o, before_by_head),
        # The input of the second norm is the residual stream itself, so that an
        # edit in place reaches both branches.
        "resid_mid": (parts.norm_mlp, before),
        "mlp_act": (parts.down, before),
    }
    if site in ahead:
        path, hook = ahead[site]
        return block.get_submodule(path).register_forward_pre_hook(hook)
    behind = {
        "attn_out": parts.norm_attn_out or parts.attn,
        "mlp_out": parts.norm_mlp_out or parts.mlp,
        "resid_post": "",
    }
    return block.get_submodule(behind[site]).register_forward_hook(after)


_PATTERN_CHANGES: list[tuple[nn.Module, Change]] = []
"""What is done to the patterns of attention modules, between the softmax and the values."""


@contextmanager
def _at_pattern(model: PreTrainedModel, layer: int, change: Change) -> Generator[None]:
    block = model.get_submodule(f"{parts_of(model).layers}.{layer}")
    _PATTERN_CHANGES.append((block.get_submodule(parts_of(model).attn), change))
    try:
        yield
    finally:
        _PATTERN_CHANGES.pop()


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any
) -> tuple[Tensor, Tensor]:
    """Eager attention, its softmax in the model's own precision, with the changes of patterns."""
    group = query.shape[1] // key.shape[1]
    key, value = (one.repeat_interleave(group, dim=1) for one in (key, value))
    scores = query @ key.transpose(2, 3) * options["scaling"]
    if cap := options.get("softcap"):
        scores = (scores / cap).tanh() * cap
    weights = _weights(module, scores if mask is None else scores + mask)
    return (weights @ value).transpose(1, 2), weights


def _attention_of_gpt_neo(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any = None
) -> tuple[Tensor, Tensor]:
    """The same of a class that has its own, with a mask of its own, and scales nothing."""
    scores = query @ key.transpose(2, 3)
    seen = module.bias[:, :, : scores.shape[2], : scores.shape[3]]
    scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    weights = _weights(module, scores if mask is None else scores + mask)
    return weights @ value, weights


def _weights(module: Any, scores: Tensor) -> Tensor:
    weights = scores.softmax(dim=-1)
    for changed, change in _PATTERN_CHANGES:
        if changed is module:
            change(weights[0].transpose(0, 1))
    return weights


@contextmanager
def _exact(model: PreTrainedModel) -> Generator[None]:
    """In a float64 model norms, softmax and rotary angles are float64 too inside the block."""
    home: Any = sys.modules[type(model).__module__]
    name, exact = "eager_attention_forward", _attention
    if model.config.model_type == "gpt_neo":
        home, name, exact = home.GPTNeoSelfAttention, "_attn", _attention_of_gpt_neo
    plain = getattr(home, name)
    with ExitStack() as stack:
        if model.dtype == torch.float64:
            for module in model.modules():
                if hook := _exactly(module):
                    # First of all hooks, so that others see the exact numbers.
                    handle = module.register_forward_hook(hook, prepend=True, with_kwargs=True)
                    stack.callback(handle.remove)
        if model.dtype == torch.float64 or _PATTERN_CHANGES:
            setattr(home, name, exact)
        try:
            yield
        finally:
            setattr(home, name, plain)


def _exactly(module: nn.Module) -> Callable[..., Any] | None:
    """What replaces the output of a module that rounds."""
    if _is_norm(module) and not isinstance(module, nn.LayerNorm):
        return _exactly_normed
    if type(module).__name__ == "GPTJRotaryEmbedding":
        return _angles_of_gptj
    if type(module).__name__.endswith("TopKRouter"):
        return _routed
    return _angles if type(module).__name__.endswith("RotaryEmbedding") else None


def _routed(router: Any, arguments: Any, _keywords: Any, _output: Any) -> tuple[Tensor, ...]:
    """Scores of the experts, weights of those chosen, and which these are."""
    scores = arguments[0].flatten(0, -2) @ router.weight.T
    weights, chosen = scores.softmax(dim=-1).topk(router.top_k, dim=-1)
    if getattr(router, "norm_topk_prob", True):
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return scores, weights, chosen


def _angles_of_gptj(
    rotary: Any, arguments: Any, keywords: Any, _output: Any
) -> tuple[Tensor, Tensor]:
    """Sines and cosines; the frequencies are the powers of 10,000 in float32 that its table has."""
    steps = torch.arange(0, rotary.pos_embd_dim, 2) / rotary.pos_embd_dim
    positions = (*arguments, *keywords.values())[1]
    turns = positions[..., None].double() * (1 / 10_000**steps).double()
    return turns.sin(), turns.cos()


def _exactly_normed(norm: Any, arguments: Any, _keywords: Any, _output: Tensor) -> Tensor:
    return _normed_whole(norm, arguments[0], norm_scale(norm, arguments[0]))


def _angles(rotary: Any, arguments: Any, keywords: Any, _output: Any) -> tuple[Tensor, Tensor]:
    """Cosines and sines; the frequencies are the model's own, in the precision it has them in."""
    _, positions, *kind = (*arguments, *keywords.values())
    own = f"{kind[0]}_" if kind else ""
    turns = positions[..., None].double() * getattr(rotary, f"{own}inv_freq").double()
    both = torch.cat([turns, turns], dim=-1)
    scaling = getattr(rotary, f"{own}attention_scaling")
    return both.cos() * scaling, both.sin() * scaling


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.LayerNorm) or type(module).__name__.endswith("RMSNorm")


def _centred(norm: nn.Module, x: Tensor) -> Tensor:
    """What a layer norm scales; an RMS norm takes no mean off."""
    return x - x.mean(-1, keepdim=True) if isinstance(norm, nn.LayerNorm) else x


def norm_scale(norm: Any, x: Tensor) -> Tensor:
    """What a norm divides `x` by."""
    eps = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon
    return (_centred(norm, x).square().mean(-1, keepdim=True) + eps).sqrt()


def normed(norm: Any, x: Tensor, scale: Tensor) -> Tensor:
    """What a norm makes of `x` where it divides by `scale`; without its bias, linear in `x`."""
    gain = 1 + norm.weight if type(norm).__name__.startswith("Gemma") else norm.weight
    return (_centred(norm, x) / scale * gain).detach()


def _normed_whole(norm: Any, x: Tensor, scale: Tensor) -> Tensor:
    own = normed(norm, x, scale)
    return own + norm.bias if isinstance(norm, nn.LayerNorm) else own


def final_norm(model: PreTrainedModel) -> nn.Module:
    return model.get_submodule(parts_of(model).norm_final)


def embedding_of(model: PreTrainedModel, tokens: list[int]) -> Tensor:
    """[token, d_model]"""
    with torch.no_grad():
        return model.get_submodule(parts_of(model).embed)(torch.tensor(tokens))


def written_by_head(model: PreTrainedModel, z: Tensor, layer: int, head: int) -> Tensor:
    """What a head's `z`, [..., head, d_head], becomes in the stream; without the bias.

    A norm behind attention divides by what it does for all heads.
    """
    parts = parts_of(model)
    o = model.get_submodule(f"{parts.layers}.{layer}.{parts.o}")
    alone = torch.zeros_like(z)
    alone[..., head, :] = z[..., head, :]
    with torch.no_grad():
        written = o(alone.flatten(-2)) - o(torch.zeros_like(alone.flatten(-2)))
    if not parts.norm_attn_out:
        return written
    norm = model.get_submodule(f"{parts.layers}.{layer}.{parts.norm_attn_out}")
    return normed(norm, written, scale_behind_attention(model, z, layer))


def scale_behind_attention(model: PreTrainedModel, z: Tensor, layer: int) -> Tensor:
    """What a norm behind attention divides by where `z` goes in; 1 without one."""
    parts = parts_of(model)
    if not parts.norm_attn_out:
        return torch.ones(1)
    block = model.get_submodule(f"{parts.layers}.{layer}")
    with torch.no_grad():
        whole = block.get_submodule(parts.o)(z.flatten(-2))
    return norm_scale(block.get_submodule(parts.norm_attn_out), whole).detach()


@contextmanager
def norms_frozen(model: PreTrainedModel, tokens: list[int]) -> Generator[None]:
    """Inside the block every norm divides by what it does in the run of `tokens`."""
    norms = [one for one in model.modules() if _is_norm(one)]
    scales: dict[nn.Module, Tensor] = {}

    def look(norm: nn.Module, arguments: tuple[Tensor, ...], _output: Tensor) -> None:
        scales[norm] = norm_scale(norm, arguments[0])

    def hold(norm: nn.Module, arguments: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        return _normed_whole(norm, arguments[0], scales[norm])

    with ExitStack() as stack:
        for norm in norms:
            stack.callback(norm.register_forward_hook(look).remove)
        logits(model, tokens)
    with ExitStack() as stack:
        for norm in norms:
            stack.callback(norm.register_forward_hook(hold).remove)
        yield
