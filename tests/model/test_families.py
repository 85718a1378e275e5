"""What families have that GPT-2 has not: read as it is, or refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

import hooks
import patchwright as pw
from checkpoints import save_tiny
from command import patchwright
from families import FAMILIES, ROPE
from patchwright.algorithms.readout import logits
from patchwright.errors import CheckpointError, PromptError, UnknownPlaceError
from patchwright.experiment.patching import cell_count
from patchwright.model import ops
from patchwright.model.edits import Edit
from patchwright.model.forward import forward
from patchwright.model.parts import rotary_of
from patchwright.model.requests import BASE_SITES, Row, patched_row
from patchwright.model.weights import Norm, named_tensors
from patchwright.places import HEAD_SITES, Site, pers_of
from tiny import N_HEADS, N_LAYERS, VOCAB, pair_of

TOKENS = [49, 3, 8, 8, 21, 5, 30]
LLAMA_LIKE = [family for family in FAMILIES if family != "gpt2"]


@pytest.fixture
def llama() -> PreTrainedModel:
    return FAMILIES["llama"](seed=3)


def last_logits(model: pw.Model) -> torch.Tensor:
    run = forward(model.network, [Row(tuple(TOKENS), len(TOKENS) - 1)])[0]
    return logits(model.network, run.final)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_tensor_is_copied(family: str) -> None:
    module = FAMILIES[family]()
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    network = pw.wrap_model(module).network
    assert {t.untyped_storage().data_ptr() for _, t in named_tensors(network, "")} <= own
    assert network.spec.family == family


@pytest.mark.parametrize("family", LLAMA_LIKE)
def test_a_folder_gives_the_logits_of_the_model_that_was_saved(family: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path, torch.float64, family)
    model = pw.load_model(str(folder), dtype="float64")
    module = FAMILIES[family](seed=1, vocab_size=model.spec.n_vocab, max_position_embeddings=64)
    expected = hooks.logits(module, TOKENS)[-1:]
    torch.testing.assert_close(last_logits(model), expected, rtol=0, atol=1e-10)


def test_an_unembeddings_bias_is_added(llama: PreTrainedModel) -> None:
    without = last_logits(pw.wrap_model(llama))
    bias = torch.randn(VOCAB, generator=torch.Generator().manual_seed(0)).double()
    assert isinstance(llama.lm_head, nn.Linear)
    llama.lm_head.bias = nn.Parameter(bias)
    model = pw.wrap_model(llama)
    torch.testing.assert_close(last_logits(model), without + bias, rtol=0, atol=1e-12)
    result = pw.patch(model, pair_of(TOKENS, [*TOKENS[:-1], 31]), bos=False)
    expected = hooks.logits(llama, TOKENS)[-1]
    assert result.clean.metric == pytest.approx((expected[7] - expected[11]).item(), abs=1e-10)
    direct = pw.logit_attribution(model, pair_of(TOKENS, [*TOKENS[:-1], 31]), "layer", bos=False)
    parts = direct.arrays["components"].sel(run="clean")
    assert float(parts.sum()) == pytest.approx(result.clean.metric, abs=1e-9)
    assert float(parts.sel(component="unembed_bias")) == pytest.approx(float(bias[7] - bias[11]))


def test_components_are_those_that_the_family_has(llama: PreTrainedModel, model: pw.Model) -> None:
    pair = pair_of(TOKENS, [*TOKENS[:-1], 31])
    own, gpt2 = (
        set(
            pw.logit_attribution(one, pair, "layer", bos=False)
            .arrays["components"]["component"]
            .values
        )
        for one in (pw.wrap_model(llama), model)
    )
    assert gpt2 - own == {"position", "norm_bias"}
    assert own <= gpt2


@pytest.mark.parametrize("site", ["k", "v"])
def test_keys_and_values_have_as_many_rows_as_there_are_heads_of_them(
    llama: PreTrainedModel, site: str
) -> None:
    model = pw.wrap_model(llama, name="small")
    pair = pair_of(TOKENS, [*TOKENS[:-3], 22, 5, 30])
    assert pw.patch(model, pair, site, bos=False).patched.shape == (N_LAYERS, 2)
    assert pw.patch(model, pair, "q", bos=False).patched.shape == (N_LAYERS, N_HEADS)
    with pytest.raises(UnknownPlaceError, match="small has key/value heads 0-1 in each layer"):
        pw.patch_together(model, pair, [f"L1H2.{site}"], bos=False)
    with pytest.raises(UnknownPlaceError, match="key/value heads 0-1"):
        pw.patch(model, pair, site, heads=[0, 2], bos=False)
    with pytest.raises(UnknownPlaceError, match="key/value heads 0-1"):
        pw.path_patch(model, pair, [f"L1H2.{site}"], bos=False)


@pytest.mark.parametrize("site", sorted(HEAD_SITES))
def test_cells_are_counted_as_the_sweep_has_them(llama: PreTrainedModel, site: Site) -> None:
    model, pair = pw.wrap_model(llama, name="small"), pair_of(TOKENS, [*TOKENS[:-1], 31])
    for per in pers_of(site):
        asked = pw.Patch(model="small", pairs=pair, site=site, per=per, bos=False)
        assert cell_count(asked, len(TOKENS), model) == pw.run(asked, model).patched.size


def test_the_places_of_a_model_are_those_that_it_has(tmp_path: Path) -> None:
    listed = patchwright("places", "--model", str(save_tiny(tmp_path, family="llama")))
    for site, heads in {"q": "L0-2H0-3.q", "k": "L0-2H0-1.k", "v": "L0-2H0-1.v"}.items():
        assert heads in listed.stdout, site


def test_half_precision_gives_about_the_same(llama: PreTrainedModel) -> None:
    pair = pair_of(TOKENS, [*TOKENS[:-3], 22, 5, 30])
    exact = pw.patch(pw.wrap_model(llama), pair, bos=False).patched
    half = pw.wrap_model(FAMILIES["llama"](seed=3, dtype=torch.bfloat16))
    found = pw.patch(half, pair, bos=False).patched
    assert float(abs(found - exact).max()) < 0.5
    assert float(abs(found - exact).max()) > 0


def test_what_is_copied_between_positions_is_turned_for_its_new_place(
    llama: PreTrainedModel,
) -> None:
    """Prompts of unequal length: the keys of the last tokens come from other positions."""
    clean, corrupt = [3, 8, 21, 5, 30], [3, 8, 9, 21, 5, 30]
    model = pw.wrap_model(llama)
    found = pw.patch(model, pair_of(clean, corrupt, align="edges"), "k", "head_position", bos=False)
    for layer in range(N_LAYERS):
        source = hooks.activation(llama, clean, "k", layer)[-1, 1]

        def change(live: torch.Tensor, source: torch.Tensor = source) -> None:
            live[-1, 1] = source

        values = hooks.changed_logits(llama, corrupt, [("k", layer, change)])[-1]
        expected = (values[7] - values[11]).item()
        value = float(found.patched.sel(layer=layer, head=1)[-1])
        assert value == pytest.approx(expected, abs=1e-9)


def test_a_base_runs_keys_are_turned_once_for_all_rows_over_it(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = pw.wrap_model(llama).network
    base = forward(network, [Row(tuple(TOKENS), len(TOKENS) - 1)], BASE_SITES)[0]
    turned: list[int] = []
    really = ops.rotate

    def counted(x: torch.Tensor, by: Any) -> torch.Tensor:
        turned.append(x.shape[0] * x.shape[1])
        return really(x, by)

    monkeypatch.setattr(ops, "rotate", counted)
    last = len(TOKENS) - 1
    value = base.kept["resid_pre"][0][last:]
    rows = [patched_row(base, Edit("resid_pre", 0, last, value * share)) for share in (0.5, 2.0)]
    forward(network, rows)
    # Of each row and layer its own query and its own key, and none of the positions before.
    assert sum(turned) == len(rows) * N_LAYERS * 2


def test_keys_are_kept_as_attention_reads_them(llama: PreTrainedModel, model: pw.Model) -> None:
    network = pw.wrap_model(llama).network
    run = forward(network, [Row(tuple(TOKENS), 0)], BASE_SITES)[0]
    for k, keys in zip(run.kept["k"], run.keys, strict=True):
        torch.testing.assert_close(keys.norm(dim=-1), k.norm(dim=-1))
        assert not torch.equal(keys[1:], k[1:])
    unturned = forward(model.network, [Row(tuple(TOKENS), 0)], BASE_SITES)[0]
    assert all(map(torch.equal, unturned.kept["k"], unturned.keys))


@pytest.mark.parametrize(
    "settings",
    [
        {"rope_type": "default"},
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 6},
    ],
    ids=lambda settings: settings["rope_type"],
)
def test_frequencies_are_those_of_their_formula(settings: dict[str, Any]) -> None:
    module: Any = FAMILIES["llama"](rope_parameters={"rope_theta": 100.0, **settings}, head_dim=8)
    rotary = rotary_of(module.model.rotary_emb, 8, "it")
    plain = [100.0 ** (-2 * i / 8) for i in range(4)]
    if settings["rope_type"] == "default":
        assert rotary.frequencies == pytest.approx(plain, rel=1e-6)
    if settings["rope_type"] == "linear":
        assert rotary.frequencies == pytest.approx([one / 4 for one in plain], rel=1e-6)
    if settings["rope_type"] == "yarn":
        assert rotary.factor == pytest.approx(0.1 * torch.tensor(4.0).log().item() + 1, rel=1e-6)
        shares = [own / one for own, one in zip(rotary.frequencies, plain, strict=True)]
        assert all(0.25 - 1e-6 <= share <= 1 + 1e-6 for share in shares)
    else:
        assert rotary.factor == 1


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_a_norm_by_its_own_scale_is_the_norm(kind: Any) -> None:
    draw = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(size, generator=draw).double() for size in ((5, 16), (16,)))
    bias = torch.randn(16, generator=draw).double() if kind == "layer" else None
    norm = Norm(weight, bias, 1e-3, kind)
    torch.testing.assert_close(ops.norm(x, norm), ops.norm(x, norm, like=x), rtol=0, atol=1e-12)


REFUSED = {
    "dynamic": ("llama", {"rope_type": "dynamic", "factor": 2.0}, "scales .* by 'dynamic'"),
    "longrope": (
        "llama",
        {
            "rope_type": "longrope", "short_factor": [1.0, 1.0], "long_factor": [2.0, 2.0],
            "original_max_position_embeddings": 8, "factor": 3.0,
        },
        "scales .* by 'longrope'",
    ),
    "a part of each head": (
        "llama", {"rope_type": "default", "partial_rotary_factor": 0.5},
        "a part of the 4 numbers .*only whole heads are rotated",
    ),
    "a setting that nobody knows": (
        "mistral", {"rope_type": "default", "spiral": 2}, "setting 'spiral'",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("family", "settings", "says"), REFUSED.values(), ids=REFUSED)
def test_rotary_positions_that_cannot_be_computed_are_refused_by_name(
    family: str, settings: dict[str, Any], says: str
) -> None:
    module = FAMILIES[family](rope_parameters={**settings, "rope_theta": 100.0})
    with pytest.raises(CheckpointError, match=f"'it' .*{says}|'it' {says}"):
        pw.wrap_model(module, name="it")


def with_adapter(module: Any) -> None:
    class Adapted(nn.Linear):
        """A projection that adds something to what its weight says."""

    module.model.layers[1].self_attn.q_proj = Adapted(16, 16, bias=False).double()


def with_layer_norm(module: Any) -> None:
    module.model.norm = nn.LayerNorm(16).double()


def with_adapted_unembedding(module: Any) -> None:
    class Adapted(nn.Linear):
        pass

    module.lm_head = Adapted(16, 50, bias=False).double()


def with_adapted_embedding(module: Any) -> None:
    class Embedding(nn.Embedding):
        """Called as adapters of embeddings are."""

    module.transformer.wte = Embedding(50, 16).double()


def with_experts_of_another_class(module: Any) -> None:
    class Adapted(nn.Module):
        gate_up_proj = down_proj = torch.zeros(1)

    module.model.layers[1].mlp.experts = Adapted()


def with_another_layer(module: Any) -> None:
    module.config.layer_types = ["full_attention", "chunked_attention", "full_attention"]


@pytest.mark.parametrize(
    ("family", "change", "says"),
    [
        ("qwen3", with_adapted_unembedding, "has a Adapted where its architecture has a Linear"),
        ("gpt2", with_adapted_embedding, "has a Embedding of test_families where its"),
        ("llama", with_adapter, "has a Adapted where its architecture has a Linear"),
        (
            "mixtral",
            with_experts_of_another_class,
            "has a Adapted where its architecture has a Exp",
        ),
        ("mistral", with_layer_norm, "has a LayerNorm where its architecture has a RMSNorm"),
        ("qwen2", with_another_layer, "layers of the type 'chunked_attention'"),
        ("mistral", with_another_layer, "layers of several types"),
    ],
)
def test_parts_that_compute_something_else_are_refused(family: str, change: Any, says: str) -> None:
    module = FAMILIES[family]()
    change(module)
    with pytest.raises(CheckpointError, match=says):
        pw.wrap_model(module, name="it")


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {"rms_norm_eps": 0.1}),
        ("llama", {"hidden_act": "gelu"}),
        ("llama", {"rope_parameters": {**ROPE, "rope_type": "linear"}}),
        ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}}),
        ("gpt2", {"n_head": 2}),
        ("gpt_neox", {"use_parallel_residual": False}),
        ("gemma2", {"attn_logit_softcapping": 3.0}),
        ("gemma2", {"final_logit_softcapping": None}),
        ("gemma2", {"query_pre_attn_scalar": 4}),
        ("mixtral", {"num_experts_per_tok": 1}),
        ("olmoe", {"norm_topk_prob": True}),
    ],
    ids=str,
)
def test_the_same_weights_computed_with_otherwise_are_another_model(
    family: str, changes: dict[str, Any]
) -> None:
    one, other = (pw.wrap_model(FAMILIES[family](**some)) for some in ({}, changes))
    assert one.fingerprint != other.fingerprint


def test_a_padded_row_is_no_answer_and_a_token_beyond_the_rows_is_refused(tmp_path: Path) -> None:
    whole = pw.load_model("demo").spec.n_vocab
    padded = pw.load_model(
        str(save_tiny(tmp_path / "padded", family="llama", vocab_size=whole + 61))
    )
    pair = pw.Pair(clean=[1, 2, 3], corrupt=[1, 4, 3], answer=5, wrong=6)
    assert padded.n_tokens == whole
    with pytest.raises(PromptError, match=f"token id {whole}; the model's vocabulary is"):
        pw.patch(padded, pair.model_copy(update={"clean": (1, whole, 3)}), bos=False)
    with pytest.raises(pw.PatchwrightError, match=str(whole)):
        pw.patch(padded, pair.model_copy(update={"answer": (whole,)}), bos=False)
    short = pw.load_model(str(save_tiny(tmp_path / "short", family="llama", vocab_size=whole - 3)))
    assert short.n_tokens == whole - 3
    with pytest.raises(PromptError, match=f"token id {whole - 1}"):
        pw.patch(short, pair.model_copy(update={"clean": (1, whole - 1, 3)}), bos=False)


def test_a_half_precision_checkpoint_is_computed_in_float32_and_the_result_says_so(
    tmp_path: Path,
) -> None:
    folder = str(save_tiny(tmp_path, torch.bfloat16, "llama"))
    pair = pw.Pair(clean=[1, 2, 3], corrupt=[1, 4, 3], answer=5, wrong=6)
    usual, asked = (
        pw.patch(pw.load_model(folder, dtype=dtype), pair, bos=False)
        for dtype in ("float32", "bfloat16")
    )
    assert (usual.model["dtype"], usual.model["stored_dtype"]) == ("float32", "bfloat16")
    assert asked.model["dtype"] == "bfloat16"
    assert "stored_dtype" not in asked.model


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("opt", {"do_layer_norm_before": False}, "has do_layer_norm_before=False"),
        (
            "opt",
            {"word_embed_proj_dim": 8},
            "has word_embed_proj_dim=8; only word_embed_proj_dim=16",
        ),
        (
            "opt",
            {"layer_norm_elementwise_affine": False},
            "has layer_norm_elementwise_affine=False",
        ),
        ("opt", {"_remove_final_layer_norm": True}, "has _remove_final_layer_norm=True"),
        ("gpt_neo", {"window_size": 0}, "sliding window of 0 positions"),
        ("olmoe", {"clip_qkv": 3.0}, "has clip_qkv=3.0"),
        ("gptj", {"rotary_dim": 0}, "has rotary_dim=0"),
        ("gptj", {"rotary_dim": 3}, "has rotary_dim=3"),
        ("gptj", {"rotary_dim": 6}, "has rotary_dim=6: .* a head has 4"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention=True"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention=True"),
        ("gemma3_text", {"attn_logit_softcapping": 50.0}, "has attn_logit_softcapping=50.0"),
        ("mixtral", {"sliding_window": 0}, "sliding window of 0 positions"),
        (
            "phi3",
            {
                "rope_parameters": {
                    "rope_type": "longrope",
                    "rope_theta": 100.0,
                    "short_factor": [1.0, 1.0],
                    "long_factor": [2.0, 2.0],
                }
            },
            "scales its rotary positions by 'longrope'",
        ),
    ],
)
def test_what_a_family_can_say_and_the_engine_cannot_do_is_refused_by_name(
    family: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(CheckpointError, match=words):
        pw.wrap_model(FAMILIES[family](**changes), name="other")


def test_positions_of_opt_are_counted_from_the_third_row() -> None:
    module = FAMILIES["opt"]()
    own = module.get_submodule("model.decoder.embed_positions").get_parameter("weight")
    network = pw.wrap_model(module).network
    assert network.embed_position is not None
    assert torch.equal(network.embed_position, own[2:])
    assert len(network.embed_position) == network.spec.n_context
