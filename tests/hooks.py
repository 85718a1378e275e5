"""The slow, obvious oracle: plain forward hooks on the Hugging Face model.

It knows nothing of the engine. Activations are [position, ...] as in the
engine's runs, the pattern [query, head, key].
"""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GPT2LMHeadModel
from transformers.models.gpt2 import modeling_gpt2

Change = Callable[[Tensor], None]
"""Edits one run's activation at a site, [position, ...], in place."""

QKV = ("q", "k", "v")


def logits(model: GPT2LMHeadModel, tokens: list[int]) -> Tensor:
    """[position, vocab] of the untouched model."""
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0]


def changed_logits(
    model: GPT2LMHeadModel, tokens: list[int], changes: list[tuple[str, int, Change]]
) -> Tensor:
    """[position, vocab] of the model whose sites are edited: (site, layer, change)."""
    with ExitStack() as stack:
        for site, layer, change in changes:
            stack.enter_context(at_site(model, site, layer, change))
        return logits(model, tokens)


def activation(model: GPT2LMHeadModel, tokens: list[int], site: str, layer: int) -> Tensor:
    """A site's activation in the untouched run."""
    seen: list[Tensor] = []
    with at_site(model, site, layer, lambda live: seen.append(live.clone())):
        logits(model, tokens)
    return seen[0]


@contextmanager
def at_site(model: GPT2LMHeadModel, site: str, layer: int, change: Change) -> Generator[None]:
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


def _hook(model: GPT2LMHeadModel, site: str, layer: int, change: Change) -> Any:
    block: Any = model.transformer.h[layer]
    heads = model.config.n_head

    def before(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        change(arguments[0][0])

    def before_by_head(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        change(arguments[0][0].unflatten(-1, (heads, -1)))

    def after(_module: nn.Module, _arguments: Any, output: Any) -> None:
        change((output[0] if isinstance(output, tuple) else output)[0])

    def after_joint(_module: nn.Module, _arguments: Any, output: Tensor) -> None:
        part = output[0].chunk(3, dim=-1)[QKV.index(site)]
        change(part.unflatten(-1, (heads, -1)))

    if site in QKV:
        return block.attn.c_attn.register_forward_hook(after_joint)
    return {
        "embed": lambda: model.transformer.wte.register_forward_hook(after),
        "resid_pre": lambda: block.register_forward_pre_hook(before),
        "z": lambda: block.attn.c_proj.register_forward_pre_hook(before_by_head),
        "attn_out": lambda: block.attn.register_forward_hook(after),
        # The input of the second norm is the residual stream itself, so that an
        # edit in place reaches both branches.
        "resid_mid": lambda: block.ln_2.register_forward_pre_hook(before),
        "mlp_act": lambda: block.mlp.act.register_forward_hook(after),
        "mlp_out": lambda: block.mlp.register_forward_hook(after),
        "resid_post": lambda: block.register_forward_hook(after),
    }[site]()


@contextmanager
def norms_held(model: GPT2LMHeadModel, tokens: list[int]) -> Generator[None]:
    """Inside the block every layer norm divides by what it does in the run of `tokens`."""
    norms = [one for one in model.modules() if isinstance(one, nn.LayerNorm)]
    scales: dict[nn.Module, Tensor] = {}

    def look(norm: nn.Module, arguments: tuple[Tensor, ...], _output: Tensor) -> None:
        assert isinstance(norm, nn.LayerNorm)
        scales[norm] = (arguments[0].var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()

    def hold(norm: nn.Module, arguments: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        assert isinstance(norm, nn.LayerNorm)
        centred = arguments[0] - arguments[0].mean(-1, keepdim=True)
        return centred / scales[norm] * norm.weight + norm.bias

    with ExitStack() as stack:
        for norm in norms:
            stack.callback(norm.register_forward_hook(look).remove)
        logits(model, tokens)
    with ExitStack() as stack:
        for norm in norms:
            stack.callback(norm.register_forward_hook(hold).remove)
        yield


@contextmanager
def _at_pattern(model: GPT2LMHeadModel, layer: int, change: Change) -> Generator[None]:
    """Eager attention with `change` between the softmax and the values."""
    plain = modeling_gpt2.eager_attention_forward
    patched_module = model.transformer.h[layer].attn

    def attention(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any
    ) -> tuple[Tensor, Tensor]:
        output, weights = plain(module, query, key, value, mask, **options)
        if module is not patched_module:
            return output, weights
        change(weights[0].transpose(0, 1))
        return torch.matmul(weights, value).transpose(1, 2), weights

    modeling_gpt2.eager_attention_forward = attention
    try:
        yield
    finally:
        modeling_gpt2.eager_attention_forward = plain
