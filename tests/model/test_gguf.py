"""GGUF files: the numbers of the model that was written, and of Transformers' own reader."""

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

import patchwright as pw
from gguf_files import ARCHITECTURES, demo_tokenizer, save_gguf, tiny
from hooks import logits
from patchwright.algorithms.readout import logits as read
from patchwright.errors import CheckpointError, PatchwrightError, UnknownFamilyError
from patchwright.model.catalog import DEMO
from patchwright.model.forward import forward
from patchwright.model.gguf import check_gguf
from patchwright.model.requests import Row

PROMPT = [3, 8, 21, 5]
TEXTS = [
    "When Mary and John went to the store",
    "  two  spaces\n\nand 1984, no?",
    "naïve 北京 🙂",
    "a",
]
KINDS = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
OWN: dict[str, dict[str, Any]] = {
    # All that GGUF keeps of their scale of queries, types of layers, rotary positions.
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8},
    "gemma3_text": {
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "num_hidden_layers": 6,
        "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            "full_attention": {"rope_type": "default", "rope_theta": 100.0},
        },
    },
    "phi3": {"sliding_window": 3},
    "qwen3_moe": {"mlp_only_layers": [], "moe_intermediate_size": 32, "head_dim": 8},
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{family: (family, OWN.get(family, {})) for family in ARCHITECTURES},
    "mistral without a window": ("mistral", {"sliding_window": None}),
    "qwen2 without a window": ("qwen2", {"use_sliding_window": False}),
    "qwen3 with biases": ("qwen3", {"attention_bias": True, "head_dim": 16}),
    "phi3 without a window": ("phi3", {"sliding_window": None}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "untied": ("gpt2", {"tie_word_embeddings": False}),
    "one key/value head": ("llama", {"num_key_value_heads": 1}),
    "wide heads": ("llama", {"head_dim": 16}),
}
WINDOWS = {"mistral", "qwen2"}
"""Variants whose windows GGUF does not keep: written, and read as if there were none."""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return save_gguf(tmp_path / "tiny.gguf", tiny("llama"), "llama")


def engine_logits(model: pw.Model, prompt: list[int] = PROMPT) -> torch.Tensor:
    return read(model.network, forward(model.network, [Row(tuple(prompt), 0)])[0].final)


def refused(path: Path, words: str, error: type[PatchwrightError] = CheckpointError) -> None:
    with pytest.raises(error) as caught:
        pw.load_model(str(path))
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert message.endswith(".")


@pytest.mark.parametrize("name", sorted(set(VARIANTS) - WINDOWS))
def test_a_file_gives_the_logits_of_the_model_that_was_written(tmp_path: Path, name: str) -> None:
    family, changes = VARIANTS[name]
    module = tiny(family, **changes)
    model = pw.load_model(str(save_gguf(tmp_path / "tiny.gguf", module, family)), dtype="float64")
    expected = logits(module.double(), PROMPT)
    # Epsilons and bases are stored in float32.
    torch.testing.assert_close(engine_logits(model), expected, rtol=0, atol=1e-6)
    assert (model.stored_dtype, model.quantization) == ("float32", None)


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        *((family, kind) for family in ("gpt2", "llama", "qwen2", "qwen3") for kind in KINDS),
        *((family, "Q8_0") for family in ("gemma2", "gemma3_text", "qwen3_moe")),
    ],
)
def test_weights_are_those_of_transformers_own_reader(
    tmp_path: Path, family: str, kind: str
) -> None:
    changes: dict[str, Any] = {
        # All that Transformers reads of a GPT-2's sizes.
        "gpt2": {"n_positions": 1024, "n_inner": 4 * 32},
        "qwen2": {"use_sliding_window": False},
        # It reads no width of heads and takes that of the published models.
        "qwen3": {"head_dim": 128},
        **OWN,
        # Nor the width of experts.
        "qwen3_moe": OWN["qwen3_moe"] | {"moe_intermediate_size": 768},
    }
    module = tiny(family, **changes.get(family, {}))
    path = save_gguf(tmp_path / "tiny.gguf", module, family, kind)
    reference = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=path.name, dtype=torch.float32
    )
    found = check_gguf(path, "tiny", torch.float32).tensors()
    for key, values in found.items():
        torch.testing.assert_close(values, reference.state_dict()[key], rtol=0, atol=0)
    missing = set(reference.state_dict()) - set(found)
    assert missing <= set(reference.all_tied_weights_keys)


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0"])
def test_a_result_says_that_the_weights_are_quantised_and_of_which_file(
    tmp_path: Path, kind: str
) -> None:
    path = save_gguf(tmp_path / "tiny.gguf", tiny("llama"), "llama", kind)
    pair = pw.Pair(clean=PROMPT, corrupt=[3, 9, 21, 5], answer=7, wrong=11)
    result = pw.patch(pw.load_model(str(path)), pair)
    assert result.model["quantization"] == kind
    assert result.model["file"].startswith("sha256:")
    assert "stored_dtype" not in result.model
    assert "quantized" in {one["code"] for one in result.warnings}
    result.to_json(tmp_path / "result.json")
    assert pw.load_result(tmp_path / "result.json").model == result.model


def test_a_file_of_floats_is_not_called_quantised(tmp_path: Path) -> None:
    path = save_gguf(tmp_path / "tiny.gguf", tiny("llama"), "llama", "F16")
    model = pw.load_model(str(path))
    assert (model.stored_dtype, model.quantization) == ("float32 and float16", None)


def test_the_weights_alone_make_the_fingerprint_and_the_file_has_its_own(tmp_path: Path) -> None:
    module = tiny("llama")
    one = pw.load_model(str(save_gguf(tmp_path / "one.gguf", module, "llama")))
    other = pw.load_model(
        str(save_gguf(tmp_path / "other.gguf", module, "llama", general__name="Other"))
    )
    assert one.fingerprint == other.fingerprint
    assert one.file != other.file


def test_a_folder_with_one_gguf_file_is_that_model(written: Path) -> None:
    assert pw.load_model(str(written.parent)).file == pw.load_model(str(written)).file


def test_of_several_files_one_is_to_be_named(written: Path) -> None:
    written.with_name("other.gguf").write_bytes(written.read_bytes())
    refused(written.parent, "holds 2 GGUF files: name one of them")


def test_a_gguf_file_needs_no_ending(written: Path) -> None:
    assert pw.load_model(str(written.rename(written.with_name("sha256-blob")))).spec.n_layers == 3


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizer_is_the_one_that_was_written(written: Path, text: str) -> None:
    demo = AutoTokenizer.from_pretrained(DEMO)
    tokenizer = pw.load_model(str(written)).tokenizer
    assert tokenizer is not None
    assert list(tokenizer.encode(text)[0]) == demo(text, add_special_tokens=False).input_ids
    assert tokenizer.bos_token_id == demo.bos_token_id


BYTES = [
    *(chr(i) for i in range(ord("!"), ord("~") + 1)), *(chr(i) for i in range(0x100, 0x144)),
    *(chr(i) for i in [*range(0xA1, 0xAD), *range(0xAE, 0x100)]),
]  # fmt: skip
"""The alphabet of byte-level tokenizers."""


@pytest.mark.parametrize(
    ("pre", "text", "expected"),
    [
        ("gpt-2", "a  12", ["a", "Ġ", "Ġ", "12"]),
        ("smollm", "a  12", ["a", "ĠĠ", "1", "2"]),
        ("gpt-2", "cat", ["c", "a", "t"]),
        ("llama-bpe", "cat", ["cat"]),
        ("gpt-2", "e\u0301", ["e", "Ì", "ģ"]),
        ("qwen2", "e\u0301", ["Ã©"]),
    ],
)
def test_text_is_split_as_the_tokenizer_was_trained(
    tmp_path: Path, pre: str, text: str, expected: list[str]
) -> None:
    tokens = [*BYTES, "ĠĠ", "12", "Ã©", "cat", "<end>"]
    tokenizer = {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "merges": ["Ġ Ġ", "1 2", "Ã ©"],
        "token_type": [1] * (len(tokens) - 1) + [3],
        "eos_token_id": len(tokens) - 1,
    }
    module = tiny("llama", vocab_size=len(tokens))
    model = pw.load_model(
        str(save_gguf(tmp_path / "tiny.gguf", module, "llama", tokenizer=tokenizer))
    )
    assert model.tokenizer is not None
    ids = model.tokenizer.encode(text)[0]
    assert [tokens[i] for i in ids] == expected


def test_a_tokenizer_of_a_family_without_a_beginning_of_text_token_puts_none(
    tmp_path: Path,
) -> None:
    tokenizer = demo_tokenizer() | {"pre": "qwen2"}
    module = tiny("qwen2", use_sliding_window=False)
    path = save_gguf(tmp_path / "tiny.gguf", module, "qwen2", tokenizer=tokenizer)
    found = pw.load_model(str(path)).tokenizer
    assert found is not None
    assert (found.bos_token_id, found.bos_ids) == (None, ())


def sentencepiece() -> dict[str, Any]:
    words = ["▁", "a", "b", "c", "▁a", "ab", "▁ab", "bc", "▁▁"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *words]
    return {
        "model": "llama",
        "tokens": tokens,
        "scores": [0.0] * 259 + [-float(i) for i in range(len(words))],
        "token_type": [2, 3, 3, *[6] * 256, *[1] * len(words)],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
        "add_bos_token": True,
    }


@pytest.mark.parametrize("text", ["abc ab", "a", "  ab", "cé"])
def test_a_sentencepiece_tokenizer_is_transformers_own(tmp_path: Path, text: str) -> None:
    tokenizer = sentencepiece()
    module = tiny("llama", vocab_size=len(tokenizer["tokens"]))
    path = save_gguf(tmp_path / "tiny.gguf", module, "llama", tokenizer=tokenizer)
    reference = AutoTokenizer.from_pretrained(tmp_path, gguf_file=path.name)
    found = pw.load_model(str(path)).tokenizer
    assert found is not None
    assert list(found.encode(text)[0]) == reference(text, add_special_tokens=False).input_ids
    assert found.bos_ids == (1,)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"llama__rope__scaling__type": "linear"}, "'llama.rope.scaling.type' is 'linear'"),
        ({"llama__rope__scaling__factor": 4.0}, "'llama.rope.scaling.factor' is '4.0'"),
        ({"llama__expert_count": 8}, "'llama.expert_count' is '8'"),
        ({"llama__attention__sliding_window": 5}, "'llama.attention.sliding_window' is '5'"),
        ({"llama__attention__causal": False}, "'llama.attention.causal' is 'False'"),
        ({"llama__something_new": 1}, "'llama.something_new' is '1'"),
        ({"llama__rope__dimension_count": 4}, "a head has 8 values"),
        ({"llama__attention__value_length": 4}, "a head has 8 values"),
        ({"llama__block_count": None}, "lack llama.block_count"),
        ({"llama__attention__layer_norm_rms_epsilon": None}, "lack llama.attention.layer_norm"),
        ({"llama__block_count": 2}, "a tensor that the architecture llama does not have"),
        ({"llama__block_count": 4}, "lacks tensor"),
        ({"llama__block_count": 2**32 - 1}, "it must be from 1 to 1,000"),
        ({"llama__embedding_length": 2**32 - 1}, "it must be from 1 to"),
        ({"llama__attention__head_count": [4, 4, 4]}, "is 'a list of 3'; it must be"),
        ({"llama__attention__head_count": 0}, "is '0'; it must be"),
        ({"llama__feed_forward_length": 128}, "should be [128, 32]"),
        ({"split__count": 3}, "is a part of a model"),
        ({"split__count": "3"}, "is a part of a model"),
        ({"split__count": [3]}, "is a part of a model"),
        ({"llama__rope__freq_base": [1.0]}, "describes no model"),
        ({"llama__context_length": "many"}, "it must be from 1 to"),
        ({"general__type": "adapter"}, "is a part of a model"),
        ({"general__alignment": 3}, "alignment"),
    ],
)
def test_what_the_metadata_say_and_cannot_be_computed_is_refused(
    tmp_path: Path, keys: dict[str, Any], words: str
) -> None:
    path = save_gguf(tmp_path / "tiny.gguf", tiny("llama"), "llama", **keys)
    refused(path, words)


def test_scaling_that_only_a_tensor_says_is_refused(tmp_path: Path) -> None:
    extra = {"rope_freqs.weight": np.ones(4, np.float32)}
    path = save_gguf(tmp_path / "tiny.gguf", tiny("llama"), "llama", tensors=extra)
    refused(path, "rope_freqs.weight")


def test_a_half_of_the_experts_that_is_missing_is_not_read_as_zeros(tmp_path: Path) -> None:
    module, lost = tiny("qwen3_moe", **OWN["qwen3_moe"]), "blk.1.ffn_up_exps.weight"
    path = save_gguf(tmp_path / "tiny.gguf", module, "qwen3_moe", without=lost)
    refused(path, f"lacks the tensor {lost}. Fetch it again.")


def test_other_architectures_are_refused_by_name(tmp_path: Path) -> None:
    path = save_gguf(tmp_path / "tiny.gguf", tiny("llama"), "llama", general__architecture="bloom")
    refused(path, "the architecture 'bloom'", UnknownFamilyError)


@pytest.mark.parametrize(
    "changes",
    [
        {"pre": "command-r"},
        {"pre": None},
        {"pre": "default"},
        {"model": "bert"},
        {"model": "llama", "add_space_prefix": False},
        {"model": None},
    ],
)
def test_a_tokenizer_that_would_be_read_as_another_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    tokenizer = demo_tokenizer() | changes
    path = save_gguf(tmp_path / "tiny.gguf", tiny("llama"), "llama", tokenizer=tokenizer)
    refused(path, "its tokenizer")


@pytest.mark.parametrize(
    "changes", [{"bos_token_id": 10**6}, {"merges": ["a"]}, {"tokens": ["a"], "merges": ["q x"]}]
)
def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    tokenizer = demo_tokenizer() | changes
    path = save_gguf(tmp_path / "tiny.gguf", tiny("llama"), "llama", tokenizer=tokenizer)
    refused(path, "tiny.gguf'")


def test_a_missing_file_is_no_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(Path("model.gguf"), "there is no such folder or file")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_short_is_refused(written: Path, share: float) -> None:
    whole = written.read_bytes()
    cut = written.with_name("cut.gguf")
    cut.write_bytes(whole[: int(share * len(whole))])
    refused(cut, "cut short or damaged")
    cut.unlink()


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_headers_are_refused_or_harmless(written: Path, data: st.DataObject) -> None:
    whole = bytearray(written.read_bytes())
    end = whole.index(b"token_embd.weight") + 2000
    changed = written.with_name("changed.gguf")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, end))
        whole[at : at + 8] = data.draw(
            st.binary(min_size=1, max_size=1)
            | st.sampled_from([struct.pack("<Q", n) for n in (0, 2**31, 2**62, 2**64 - 1)])
        ).ljust(8, b"\0")[: len(whole[at : at + 8])]
    changed.write_bytes(whole)
    with suppress(PatchwrightError):
        engine_logits(pw.load_model(str(changed)))
    changed.unlink()


HEAD = b"GGUF" + struct.pack("<I", 3)


def _key(name: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"PK\3\4" + bytes(60),
        b"GGUF" + struct.pack(">I", 3) + bytes(60),
        HEAD + struct.pack("<QQ", 2**63, 0) + bytes(60),
        HEAD + struct.pack("<QQ", 0, 2**63) + bytes(60),
        HEAD + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 2**64 - 1) + b"x",
        *(
            HEAD + struct.pack("<QQ", 0, 1) + _key(b"a") + struct.pack("<IIQ", 9, kind, 2**62)
            for kind in (0, 8, 9, 12, 77)
        ),
        HEAD + struct.pack("<QQ", 1, 0) + _key(b"t") + struct.pack("<I", 2**31) + bytes(60),
        HEAD
        + struct.pack("<QQ", 1, 0)
        + _key(b"t")
        + struct.pack("<IQQIQ", 2, 2**63, 2**63, 0, 0)
        + bytes(60),
        HEAD
        + struct.pack("<QQ", 1, 0)
        + _key(b"t")
        + struct.pack("<IQIQ", 1, 32, 99, 0)
        + bytes(60),
    ],
)
def test_hostile_sizes_are_refused_at_once(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(content)
    refused(path, "cut short or damaged")
