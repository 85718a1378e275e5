"""Experiments on the messages of a chat: the numbers of their tokens, and the messages kept."""

import json
import runpy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import patchwright as pw
from chats import PLAIN, SYSTEM, assistant, chat_model, chat_pair, system, user
from checkpoints import save_tiny
from every_method import OWN, every_experiment
from gguf_files import save_gguf, tiny
from patchwright.errors import PromptError
from patchwright.experiment.limits import Limits
from patchwright.experiment.run import tokens_of
from patchwright.methods import METHODS
from patchwright.prompts.datasets import Item, read_items, write_items
from patchwright.prompts.pair import prompt_ids
from patchwright.storage.export import script_text
from patchwright.storage.serialization import record_of
from patchwright.storage.store import Store

NAME = "system of its own"
PAIR = chat_pair(answer="The", wrong="When")
MODEL = chat_model(NAME)
EVERY = [*OWN, "trace"]
ASKED = pw.Patch(model=NAME, pairs=PAIR)


@cache
def found(method: str) -> pw.Result:
    return pw.run(every_experiment(PAIR, NAME)[method], MODEL)


def as_ids(pair: pw.Pair) -> pw.Pair:
    """The same tokens, as numbers."""
    tokens = tokens_of(pair, ASKED, MODEL)
    return pw.Pair(
        clean=tokens.clean, corrupt=tokens.corrupt,
        answer=[one[0] for one in tokens.answers], wrong=[one[0] for one in tokens.wrongs],
    )  # fmt: skip


@pytest.mark.parametrize("method", EVERY)
def test_every_method_gives_what_the_same_tokens_give(method: str) -> None:
    ids = pw.run(every_experiment(as_ids(PAIR), NAME)[method], MODEL)
    result = found(method)
    assert result.tokens == ids.tokens
    assert result.clean == ids.clean
    for name, array in ids.arrays.items():
        xr.testing.assert_equal(result.arrays[name], array)
    said = [one["code"] for one in result.warnings if one not in ids.warnings]
    assert said == ["template_system", "bos_added"]


@pytest.mark.parametrize("method", EVERY)
def test_the_messages_are_on_the_result_wherever_it_goes(method: str, tmp_path: Path) -> None:
    result, kept = found(method), list(PAIR.model_dump()["clean"])
    result.to_json(tmp_path / "result.json")
    store, elsewhere = Store(tmp_path / "store"), Store(tmp_path / "elsewhere")
    run = store.save(result)
    store.export(tmp_path / "runs.zip")
    assert elsewhere.import_archive(tmp_path / "runs.zip", trusted=True) == (1, 0)
    for again in (
        pw.load_result(tmp_path / "result.json"), store.get(run), elsewhere.get(run)
    ):  # fmt: skip
        asked = again.experiment
        assert (asked["prompt"] if method == "trace" else asked["pairs"]["clean"]) == kept
        assert asked == result.experiment
    experiment = METHODS.parse(result.experiment)
    assert experiment.hash == every_experiment(PAIR, NAME)[method].hash
    assert METHODS.parse(json.dumps(result.experiment)) == experiment
    (entry,) = store.entries()
    assert "user: The capital of France is in the city of" in entry.about
    assert store.entries(search="capital of berlin") or method == "trace"


def test_reference_prompts_may_be_messages_and_are_what_they_say() -> None:
    references = [[user("Mary is in the city of")], [system("Be kind."), user("Rome")]]
    result = pw.ablate(
        MODEL, PAIR, "mlp_out", ablation="mean", prompts=references, by_position=False
    )
    ids = [prompt_ids(one, MODEL.tokenizer, True) for one in _parsed(references)]
    same = pw.ablate(
        MODEL, as_ids(PAIR), "mlp_out", ablation="mean", prompts=ids, by_position=False
    )
    xr.testing.assert_equal(result.patched, same.patched)
    (told,) = (one for one in result.warnings if one["code"] == "template_system")
    assert f"'{SYSTEM}'" in told["message"]


def _parsed(prompts: Any) -> tuple[Any, ...]:
    return pw.Ablate(model="m", pairs=PAIR, site="z", prompts=prompts).prompts


def test_what_a_template_adds_is_said_once_of_many_pairs() -> None:
    other = chat_pair(
        answer="The", wrong="When", clean=[user("The capital of Paris is in the city of")]
    )
    codes = [one["code"] for one in pw.patch(MODEL, [PAIR, other]).warnings]
    assert codes.count("template_system") == codes.count("bos_added") == 1


def test_pairs_of_different_lengths_are_compared_by_role() -> None:
    role = pw.Role(name="country", start=len("The capital of "), stop=len("The capital of France"))
    longer = chat_pair(
        clean=[user("The capital of France is in the city of Rome and in the city of")],
        corrupt=[user("The capital of Berlin is in the city of Rome and in the city of")],
    )
    pairs = [one.model_copy(update={"roles": (role,), "answer": ("The",), "wrong": ("When",)})
             for one in (PAIR, longer)]  # fmt: skip
    for pair in pairs:
        tokens = tokens_of(pair, ASKED, MODEL)
        assert len(tokens.clean) == len(tokens.corrupt), "France and Berlin have as many tokens"
    result = pw.patch(MODEL, pairs, roles=["country", "last"])
    assert result.patched.dims == ("pair", "layer", "role")
    assert bool(result.patched.notnull().all())


def test_a_file_of_pairs_gives_back_its_messages() -> None:
    begun = chat_pair(
        clean=[system("é"), user("a"), assistant("b")], corrupt=[user("c"), assistant("d")]
    )
    items = [Item(pair=PAIR), Item(pair=begun, tags=("x",))]
    rows = list(read_items(write_items(items), "jsonl"))
    assert [one.pair for one in rows if isinstance(one, Item)] == [PAIR, begun]
    (bad,) = read_items(['{"clean": [{"role": "user"}], "corrupt": "b", "answer": "c"}'], "jsonl")
    assert "message 1 must have the fields role and content" in getattr(bad, "message", "")


def test_the_bounds_of_a_server_hold_for_messages() -> None:
    experiment = every_experiment(PAIR, NAME)["patch"]
    Limits().check(experiment, MODEL)
    with pytest.raises(PromptError, match="takes at most 20"):
        Limits(tokens=20).check(experiment, MODEL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has a template in a file of its own, as newer checkpoints do."""
    folder = save_tiny(tmp_path_factory.mktemp("models") / "model")
    (folder / "chat_template.jinja").write_text(PLAIN, encoding="utf-8")
    return folder


def test_the_exported_script_asks_the_same_of_the_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = 'When "Mary" and {John} went\n to the store,'
    pair = pw.Pair(
        clean=[system("Go on."), user(said), assistant("Mary gave a drink to")],
        corrupt=[system("Go on."), user(said), assistant("John gave a drink to")],
        answer=" Mary", wrong=" John",
    )  # fmt: skip
    result = pw.patch(pw.load_model(str(folder)), pair, layers=[0])
    script = script_text(result).replace('result.plot("figure.png")', "")
    (tmp_path / "rerun.py").write_text(script, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("rerun.py")
    again = pw.load_result("result.json")
    assert again.experiment == result.experiment
    assert again.tokens == {run: list(some) for run, some in result.tokens.items()}
    xr.testing.assert_equal(again.patched, result.patched)
    assert "assistant: Mary gave a drink to" in record_of(result, "now").about


def test_another_template_is_another_model(folder: Path, tmp_path: Path) -> None:
    changed = save_tiny(tmp_path / "changed")
    without = pw.load_model(str(changed))
    (changed / "chat_template.jinja").write_text(f"{PLAIN}!", encoding="utf-8")
    marks = {pw.load_model(str(one)).fingerprint for one in (folder, changed)}
    assert len({*marks, without.fingerprint}) == 3


def test_the_template_of_a_gguf_file_is_read(tmp_path: Path) -> None:
    path = save_gguf(
        tmp_path / "one.gguf",
        tiny("llama"),
        "llama",
        tokenizer__chat_template=PLAIN,
    )
    model = pw.load_model(str(path))
    assert model.tokenizer is not None
    assert model.tokenizer.has_template
    pair = chat_pair(clean=[user("Mary")], corrupt=[user("John")], answer=" Mary", wrong=" John")
    texts = pw.patch(model, pair, layers=[0]).tokens["clean"]
    assert "".join(map(str, texts)).endswith("USER: Mary\nASSISTANT:")
