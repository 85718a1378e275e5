"""Models that somebody made to do harm: refused in a sentence, before anything of theirs runs."""

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

import patchwright as pw
from checkpoints import save_tiny
from patchwright.algorithms.result import Result
from patchwright.errors import CheckpointError, InputError, MemoryBudgetError
from patchwright.figures.terminal import renderable
from patchwright.model.hub import is_hub_name
from patchwright.prompts.tokens import token_texts, visible


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


def refusal(folder: Path) -> str:
    """Why the model is not loaded, in a line that may be shown."""
    with pytest.raises((CheckpointError, MemoryBudgetError)) as caught:
        pw.load_model(str(folder))
    said = str(caught.value)
    assert len(said) < 600
    assert said.isprintable()
    return said


def header(document: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file of this header, which says that it is `length` bytes long."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


WEIGHTS = {
    "nothing": b"",
    "a length that is the file": struct.pack("<Q", 2**63),
    "a length beyond the file": header({}, length=10**15),
    "a header of 200 MB that is not there": header({}, length=200_000_000),
    "no JSON": header(b"\xff\x1b[2J{"),
    "JSON nested without end": header(b'{"a":' * 50_000),
    "offsets that overlap": header(
        {"a": tensor([2], 0, 8), "b": tensor([2], 4, 12)}, b"\0" * 12
    ),
    "offsets beyond the data": header({"a": tensor([2], 0, 8)}),
    "offsets backwards": header({"a": tensor([2], 8, 0)}, b"\0" * 8),
    "a shape that overflows": header({"a": tensor([2**62, 2**62], 0, 8)}, b"\0" * 8),
    "a shape that is negative": header({"a": tensor([-2], 0, 8)}, b"\0" * 8),
    "a shape of another size": header({"a": tensor([3], 0, 8)}, b"\0" * 8),
    "an unknown precision": header({"a": tensor([2], 0, 8, "PICKLE")}, b"\0" * 8),
    "a name that is a path": header({"../../../etc/x": tensor([2], 0, 8)}, b"\0" * 8),
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.",
    "100,000 tensors": header(
        {f"transformer.{i}": tensor([0], 0, 0) for i in range(100_000)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", WEIGHTS)
def test_hostile_weights_are_refused(folder: Path, how: str) -> None:
    (folder / "model.safetensors").write_bytes(WEIGHTS[how])
    refusal(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_of_another_kind_of_number_are_a_model_or_refused(
    folder: Path, dtype: torch.dtype
) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: one.to(dtype) for name, one in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    try:
        model = pw.load_model(str(folder))
    except CheckpointError:
        return
    assert model.network.embed.dtype == torch.float32


def in_config(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config.update(changes)


CONFIGS: dict[str, Callable[[dict[str, Any]], None]] = {
    "a huge vocabulary": in_config(vocab_size=10**30),
    "a vocabulary that fits nowhere": in_config(vocab_size=10**8),
    "a negative vocabulary": in_config(vocab_size=-1),
    "a thousand million layers": in_config(n_layer=10**9),
    "layers for ever": in_config(n_layer=float("inf")),
    "no heads": in_config(n_head=0),
    "heads that do not divide": in_config(n_head=7),
    "a width in words": in_config(n_embd="wide"),
    "a context that is a list": in_config(n_positions=[64]),
    "an inner size that is negative": in_config(n_inner=-4),
    "an activation that is code": in_config(activation_function="__import__('os').system('x')"),
    "a norm that is a text": in_config(layer_norm_epsilon="small"),
    "an architecture that is a number": in_config(architectures=7),
    "an architecture that is a path": in_config(architectures=["../../evil"]),
    "another architecture": in_config(architectures=["os", "GPT2LMHeadModel"]),
    "cross-attention": in_config(add_cross_attention=True),
}


@pytest.mark.parametrize("how", CONFIGS)
def test_a_hostile_config_is_refused(folder: Path, how: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    CONFIGS[how](config)
    (folder / "config.json").write_text(json.dumps(config))
    refusal(folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"[]", b"7", b'{"a":' * 99_999])
def test_json_that_is_none_or_nested_without_end_is_refused(
    folder: Path, file: str, content: bytes
) -> None:
    (folder / file).write_bytes(content)
    refusal(folder)


@pytest.mark.parametrize("model_type", ["gpt2", "evil"])
def test_code_that_comes_with_a_model_is_not_run(folder: Path, model_type: str) -> None:
    mark = folder / "it-ran"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\nrun = Evil\n")
    named = ("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer")
    for file in ("config.json", "tokenizer_config.json"):
        document = json.loads((folder / file).read_text())
        document |= {"auto_map": dict.fromkeys(named, "evil.Evil"), "model_type": model_type}
        document |= {"tokenizer_class": "Evil"} if file == "tokenizer_config.json" else {}
        (folder / file).write_text(json.dumps(document))
    with suppress(CheckpointError):
        pw.load_model(str(folder))
    assert not mark.exists()


@pytest.mark.parametrize(
    "shards",
    [
        {"a": "../outside.safetensors"}, {"a": "/etc/passwd"}, {"a": "sub/x.safetensors"},
        {"a": "..\\x.safetensors"}, {"a": "model.bin"}, {"a": 7}, {"a": None}, {"a": ["x"]},
        ["x"], 7, None, "model.safetensors", {"a": "x" * 5000}, {"a": "a\0.safetensors"},
    ],
)  # fmt: skip
def test_an_index_names_weights_of_its_own_folder_alone(folder: Path, shards: Any) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert "of its own folder" in refusal(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc", "/etc/passwd", "/", "..", "a\0b", "a/b\0", "x" * 5000, "a/" + "b" * 5000,
        "a//b", "a/../b", "~nobody-of-this-name/x", "a\nb", "\udcff", "file:///etc", "a/b/../../..",
    ],
)  # fmt: skip
def test_a_name_that_walks_or_is_none_is_refused_before_the_hub_is_asked(name: str) -> None:
    assert not is_hub_name(name)
    with pytest.raises(InputError):
        pw.load_model(name)


@pytest.mark.parametrize("revision", ["..", "../../../x", "a\0b", "x" * 5000, "", "/etc", "a b"])
def test_a_revision_that_is_a_path_is_refused(revision: str) -> None:
    with pytest.raises(InputError, match="revision"):
        pw.load_model("owner/model", revision=revision)


def hostile_tokens(folder: Path) -> list[str]:
    """Put tokens that act on terminals and pages into the vocabulary, in the place of others."""
    words = ["<script>alert(1)</script>", "\x1b[2J", "'; DROP TABLE runs; --", "\u202e"]
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["added_tokens"] += [
        {"id": 40 + i, "content": word, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": False}
        for i, word in enumerate(words)
    ]  # fmt: skip
    vocabulary = document["model"]["vocab"]
    for i, word in enumerate(words):
        old = next(key for key, value in vocabulary.items() if value == 40 + i)
        del vocabulary[old]
        vocabulary[word] = 40 + i
    merges = document["model"]["merges"]
    document["model"]["merges"] = [one for one in merges if _known(one, vocabulary)]
    path.write_text(json.dumps(document), encoding="utf-8")
    return words


def _known(merge: Any, vocabulary: dict[str, int]) -> bool:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return {first, second, first + second} <= set(vocabulary)


def test_tokens_of_a_hostile_tokenizer_are_shown_as_text(folder: Path) -> None:
    hostile_tokens(folder)
    model = pw.load_model(str(folder))
    pair = pw.Pair(clean=[40, 41, 42, 43], corrupt=[40, 42, 41, 43], answer=[42], wrong=[43])
    result: Result = pw.patch(model, pair)
    texts = token_texts([40, 41, 42, 43], model.tokenizer)
    assert all(visible(text).isprintable() for text in texts)
    console = Console(width=160, file=StringIO())
    with console.capture() as drawing:
        console.print(renderable(result))
    drawn = drawing.get()
    assert not any(sign in drawn for sign in ("\x1b", "\u202e"))


def test_ids_beyond_the_models_vocabulary_are_refused(folder: Path) -> None:
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    extra = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    document["added_tokens"].append({"id": 10**6, "content": "Zzz", "special": False, **extra})
    path.write_text(json.dumps(document), encoding="utf-8")
    model = pw.load_model(str(folder))
    with pytest.raises(InputError):
        pw.patch(model, pw.Pair(clean="Zzz a", corrupt="a Zzz", answer=" Mary", wrong=" John"))
