import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel

import patchwright as pw
from checkpoints import save_tiny
from hooks import logits
from patchwright.errors import (
    CheckpointError,
    ExperimentError,
    InputError,
    MemoryBudgetError,
    UnknownFamilyError,
)
from patchwright.model import devices
from patchwright.model.forward import forward
from patchwright.model.requests import Row
from tiny import random_gpt2

PROMPT = [3, 8, 21, 5]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "tiny")


def engine_logits(model: pw.Model) -> torch.Tensor:
    from patchwright.algorithms.readout import logits as read

    run = forward(model.network, [Row(tuple(PROMPT), 0)])[0]
    return read(model.network, run.final)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"scale_attn_weights": False},
        {"activation_function": "relu"},
        {"activation_function": "gelu"},
        {"layer_norm_epsilon": 1e-2},
        {"n_inner": 24},
        {"reorder_and_upcast_attn": True},
    ],
)
def test_a_folder_gives_the_logits_of_the_model_that_was_saved(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = save_tiny(tmp_path, torch.float64, **changes)
    model = pw.load_model(str(folder), dtype="float64")
    reference = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float64).eval()
    torch.testing.assert_close(engine_logits(model), logits(reference, PROMPT), rtol=0, atol=1e-10)


def test_a_loaded_folder_takes_text(folder: Path) -> None:
    model = pw.load_model(str(folder))
    pair = pw.Pair(clean="When Mary met", corrupt="When John met", answer=" Mary", wrong=" John")
    result = pw.patch(model, pair)
    assert result.tokens["clean"] == ("<|endoftext|>", "When", " Mary", " met")
    assert result.model["name"] == str(folder)


def test_a_checkpoint_in_shards_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    whole = GPT2LMHeadModel.from_pretrained(folder)
    shards = save_tiny(tmp_path / "shards")
    (shards / "model.safetensors").unlink()
    whole.save_pretrained(shards, max_shard_size="20KB")
    assert len(list(shards.glob("model-*.safetensors"))) > 1
    assert pw.load_model(str(shards)).fingerprint == pw.load_model(str(folder)).fingerprint
    next(shards.glob("model-*.safetensors")).unlink()
    with pytest.raises(CheckpointError, match="lacks the weight file"):
        pw.load_model(str(shards))


def test_tensor_names_without_the_models_prefix_are_read(folder: Path) -> None:
    before = pw.load_model(str(folder)).fingerprint
    tensors = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    bare["h.0.attn.bias"] = torch.ones(1, 1, 8, 8)
    save_file(bare, folder / "model.safetensors", metadata={"format": "pt"})
    assert pw.load_model(str(folder)).fingerprint == before


@pytest.mark.parametrize(
    ("dtype", "codes"),
    [("float32", []), ("bfloat16", ["half_precision"]), ("float16", ["half_precision"])],
)
def test_half_precision_is_on_the_result_and_warned_of(
    folder: Path, dtype: str, codes: list[str]
) -> None:
    model = pw.load_model(str(folder), dtype=dtype)
    pair = pw.Pair(clean=[1, 2, 3], corrupt=[1, 4, 3], answer=5, wrong=6)
    result = pw.patch(model, pair)
    assert result.model["dtype"] == dtype
    assert [one["code"] for one in result.warnings if one["code"] == "half_precision"] == codes
    assert bool(result.patched.notnull().all())


def test_wrapping_shares_the_tensors_of_the_module(gpt2: GPT2LMHeadModel) -> None:
    model = pw.wrap_model(gpt2)
    assert model.network.embed.data_ptr() == gpt2.transformer.wte.weight.data_ptr()


def refused(folder: Path, says: str, error: type[Exception] = CheckpointError) -> None:
    with pytest.raises(error, match=says) as caught:
        pw.load_model(str(folder))
    assert "\n" not in str(caught.value)


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "no such folder")
    refused(tmp_path, "is empty")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "is a file")


def test_a_folder_with_only_a_pickle_is_refused_with_the_way_out(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, "only as a pickle.*save_pretrained")


def test_a_truncated_file_is_refused_before_anything_runs(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in (0, 4, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(folder, "cut short or damaged")


def test_weights_that_do_not_fit_the_config_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    for change, says in (
        ({"n_embd": 32}, "should be"),
        ({"n_layer": 4}, "lacks tensor"),
        ({"n_layer": 2}, "unknown tensor"),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        refused(folder, says)


def test_a_config_that_is_none_is_refused(folder: Path) -> None:
    for text, says in (("{", "cannot be read as JSON"), ("[]", "not a JSON object")):
        (folder / "config.json").write_text(text)
        refused(folder, says)
    (folder / "config.json").unlink()
    refused(folder, "no config.json")


def test_another_architecture_is_refused_with_those_that_are_known(folder: Path) -> None:
    (folder / "config.json").write_text('{"architectures": ["BloomForCausalLM"]}')
    refused(folder, "is a BloomForCausalLM.*Gemma3, GPT2, GPTNeo", UnknownFamilyError)


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    refused(folder, "no tokenizer")


def test_unknown_devices_and_precisions_say_what_there_is() -> None:
    with pytest.raises(InputError, match="choose auto or"):
        pw.load_model("demo", device="tpu")
    with pytest.raises(ExperimentError, match="float32, float64, bfloat16, float16"):
        pw.load_model("demo", dtype="int8")
    with pytest.raises(InputError, match="No model was named"):
        pw.load_model(" ")


def test_the_fingerprint_changes_with_any_weight_and_with_the_tokenizer(folder: Path) -> None:
    marks = {pw.load_model(str(folder)).fingerprint}
    assert next(iter(marks)).startswith("sha256:")
    tensors = load_file(folder / "model.safetensors")
    tensors["transformer.h.1.mlp.c_fc.weight"][0, 0] += 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    marks.add(pw.load_model(str(folder)).fingerprint)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    marks.add(pw.load_model(str(folder)).fingerprint)
    assert len(marks) == 3


def test_a_remembered_is_the_computed_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from patchwright.model import load

    first = pw.load_model(str(folder)).fingerprint
    with monkeypatch.context() as patches:
        patches.setattr(load, "fingerprint", lambda *_: pytest.fail("computed again"))
        assert pw.load_model(str(folder)).fingerprint == first
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    assert pw.load_model(str(folder)).fingerprint == first


def test_untied_unembeddings_are_part_of_the_fingerprint() -> None:
    tied, untied = random_gpt2(seed=3), random_gpt2(seed=3, tie_word_embeddings=False)
    assert pw.wrap_model(tied).fingerprint != pw.wrap_model(untied).fingerprint


def test_tied_unembeddings_are_counted_once_against_the_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = load_file(folder / "model.safetensors")
    tied = {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}
    needed = sum(tensor.numel() * 4 for tensor in tied.values())
    monkeypatch.setattr(devices, "available_memory", lambda: needed)
    assert pw.load_model(str(folder)).spec.n_layers == 3
    monkeypatch.setattr(devices, "available_memory", lambda: needed - 1)
    refused(folder, "GiB for its weights and", MemoryBudgetError)


def test_a_model_knows_where_it_came_from(folder: Path, gpt2: GPT2LMHeadModel) -> None:
    assert pw.load_model("demo").source == "demo"
    assert pw.load_model(str(folder)).source == "folder"
    assert pw.wrap_model(gpt2).source == "wrapped"


@pytest.mark.parametrize("name", ["demo", "folder"])
def test_a_revision_of_what_is_not_on_the_hub_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="has no revision 'main': leave it out"):
        pw.load_model("demo" if name == "demo" else str(folder), revision="main")
