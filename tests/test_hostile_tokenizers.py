"""A tokenizer whose library panics on a text is one sentence wherever the text was given."""

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

import patchwright as pw
from app_pages import errors, one_view
from checkpoints import save_tiny
from command import patchwright
from http_service import asked, client_of
from patchwright.app import resources
from patchwright.errors import CheckpointError, PatchwrightError, PromptError, convert_errors
from patchwright.jobs import Job

LONG = "x" * 200
"""More than the pattern can do."""
SAYS = "The model's own tokenizer fails on 'x"
PROMPTS = {"clean": f"Mary {LONG}", "corrupt": f"John {LONG}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that works, but for texts with many x."""
    folder = save_tiny(tmp_path_factory.mktemp("models") / "model")
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    split = {"type": "Split", "pattern": {"Regex": "(?:x+x+)+y"}, "behavior": "Isolated"}
    steps = [split | {"invert": False}, document["pre_tokenizer"]]
    document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    path.write_text(json.dumps(document), encoding="utf-8")
    # GPT-2's own class would put a pattern of its own in the place of the file's.
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def giving_up(folder: Path) -> pw.Model:
    return pw.load_model(str(folder))


CALLS: dict[str, Callable[[pw.Model], Any]] = {
    "patch": lambda model: pw.patch(
        model, pw.Pair(clean=f"Mary {LONG}", corrupt=f"John {LONG}", answer=" Mary", wrong=" John")
    ),
    "answer": lambda model: pw.patch(
        model, pw.Pair(clean="Mary", corrupt="John", answer=LONG, wrong=" John")
    ),
    "trace": lambda model: pw.trace(model, LONG, "x", " Mary"),
    "references": lambda model: pw.ablate(
        model, pw.Pair(clean="Mary", corrupt="John", answer=" Mary", wrong=" John"), "z",
        prompts=[LONG],
    ),
    "words of head scores": lambda model: pw.head_scores(
        model, pw.Pair(clean="Mary", corrupt="John", answer=" Mary", wrong=" John"), words=LONG
    ),
    "swap": lambda model: pw.swap(model, f"Mary {LONG}", "Mary", " John"),
    "agreement": lambda model: pw.agreement(f"The key {LONG} is", model.tokenizer),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_every_call_refuses_the_text(giving_up: pw.Model, call: str) -> None:
    with pytest.raises(PromptError, match="The model's own tokenizer fails on"):
        CALLS[call](giving_up)


@pytest.mark.parametrize(
    "arguments",
    [
        ["patch", "--clean", f"Mary {LONG}", "--corrupt", f"John {LONG}", "--answer", " Mary"],
        ["trace", "--prompt", LONG, "--subject", "x", "--answer", " Mary"],
        ["tokens", LONG],
    ],
    ids=lambda one: one[0],
)
def test_the_command_line_says_it_in_a_line(folder: Path, arguments: list[str]) -> None:
    done = patchwright(*arguments, "--model", str(folder))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "tokenizer fails on" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_the_http_interface_refuses_and_goes_on(giving_up: pw.Model) -> None:
    with client_of(giving_up) as client:
        pairs = {**PROMPTS, "answer": " Mary", "wrong": " John"}
        for answer in (
            client.get("/v1/tokens", params={"text": LONG}),
            client.post("/v1/experiments", json=asked(model=giving_up.name, pairs=pairs)),
        ):
            assert answer.status_code == 422
            assert "tokenizer fails on" in answer.json()["error"]["message"]
        assert client.get("/v1/tokens", params={"text": "Mary"}).status_code == 200


@pytest.fixture
def page_of(giving_up: pw.Model, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    resources.shared_model.clear()
    monkeypatch.setattr(resources, "load_model", lambda _: giving_up)
    yield
    resources.shared_model.clear()


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("page_of")
@pytest.mark.parametrize("view", ["patch", "trace"])
def test_the_page_says_it_and_ends(view: str) -> None:
    assert any("tokenizer fails on" in error for error in errors(one_view(view, **PROMPTS)))


class Panic(BaseException):
    """As pyo3 raises for a panic in Rust."""


def test_a_panic_ends_a_job_with_a_sentence() -> None:
    def panicking(_: Any) -> pw.Result:
        raise Panic("at lib.rs")

    job = Job("key")
    job.run(panicking)
    assert job.finished
    assert "should not have happened" in str(job.error)


@pytest.mark.parametrize("error", [Panic("at\nlib.rs"), ValueError("at lib.rs"), MemoryError()])
def test_whatever_is_raised_inside_the_boundary_is_the_refusal(error: BaseException) -> None:
    with (
        pytest.raises(CheckpointError, match=r"^no use: (at lib\.rs)?$") as said,
        convert_errors(lambda why: CheckpointError(f"no use: {why}")),
    ):
        raise error
    assert said.value.__cause__ is error


@pytest.mark.parametrize("error", [PromptError("ours"), KeyboardInterrupt(), SystemExit(3)])
def test_our_own_errors_and_orders_to_end_pass_the_boundary(error: BaseException) -> None:
    with (
        pytest.raises(type(error)) as caught,
        convert_errors(lambda _: PatchwrightError("never")),
    ):
        raise error
    assert caught.value is error
