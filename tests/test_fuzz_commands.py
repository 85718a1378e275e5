"""Any text and any numbers in any options: every outcome is a result or a clear error.

`PATCHWRIGHT_FUZZ=3000 pytest tests/test_fuzz_commands.py` tries so many of each, at random.
"""

import json
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer.main
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import patchwright as pw
from checkpoints import save_tiny
from command import patchwright
from patchwright.axes import DIRECTIONS, METRICS, PERS
from patchwright.cli.full import app
from patchwright.lessons import built_in_lessons
from patchwright.methods import METHODS
from patchwright.model.hub import is_hub_name
from patchwright.places import SITES
from patchwright.prompts.builtin_templates import tasks
from patchwright.prompts.examples import examples
from timeouts import SECONDS

TRIES = int(os.environ.get("PATCHWRIGHT_FUZZ", "0"))
LONGEST = 3000
"""Characters of complaints, beyond which nobody reads them."""

"""After which a command counts as hanging, on a busy machine too."""

TEXTS = st.one_of(
    st.sampled_from(["The keys to the", " Mary", " John", "Mary met John in", "a", "", " ", "-"]),
    st.text(max_size=12),
    st.text(st.characters(codec=None), max_size=6),
    st.sampled_from(
        ["\0", "\x1b[2J", "\u202e", "\udcff", "x" * 300, "'; DROP TABLE runs; --", "<b>&", "[red]"]
    ),
)
NUMBERS = st.one_of(
    st.integers(-3, 6), st.sampled_from([64, 2**31, 2**63, -(2**63) - 1, 10**30]), st.integers()
).map(str)
FEW = st.integers(-3, 6).map(str)
"""How often something is done: who asks their own machine for work without end may have it."""

RANGES = st.one_of(
    st.sampled_from(["", "0", "0-2", "-1", "3-1", "0-99999999999999", "1,,2", "0-", "--1", "9" * 5000]),
    st.lists(st.integers(-2, 9).map(str), max_size=4).map(",".join),
    TEXTS,
)  # fmt: skip
PLACES = st.one_of(
    st.builds("L{}H{}.{}@{}".format, *[st.integers(0, 6)] * 2, st.sampled_from(SITES), NUMBERS),
    st.builds("L{}.{}".format, st.integers(0, 6), st.sampled_from(SITES)),
    st.sampled_from(["logits", "embed@1", "L0.mlp_act[3]@-1", "L0H1"]),
    TEXTS,
)
NO_PATHS = ["", "-", ".", "no/such.json", "a\0b.png", "\udcff.csv", "y" * 300 + ".svg", "x.gif"]
OUTPUTS = st.sampled_from([*NO_PATHS, "x.json", "x.csv", "x.png", "x.svg"])
NO_MODELS = ["", " ", ".", "./no", "a\0b", "x" * 5000, "../../etc", "/etc/passwd", "~no/x", "a//b"]
CHOSEN: dict[str, st.SearchStrategy[str]] = {
    "example": st.sampled_from(["", "ioi", *(one.id for one in examples()), "no"]),
    "site": st.one_of(st.sampled_from(SITES), TEXTS),
    "per": st.one_of(st.sampled_from(PERS), TEXTS),
    "direction": st.one_of(st.sampled_from(DIRECTIONS), TEXTS),
    "metric": st.one_of(st.sampled_from(METRICS), TEXTS),
    "align": st.sampled_from(["exact", "edges", "x"]),
    "roles": st.one_of(st.sampled_from(["last", "first,last", "subject"]), TEXTS),
    "ablation": st.sampled_from(["zero", "mean", "resample", "x"]),
    "sever": st.sampled_from(["", "mlp", "attn", "x"]),
    "direct": st.sampled_from(["", "layer", "head", "position", "neuron", "x"]),
    "device": st.sampled_from(["auto", "cpu", "cpu:1", "cuda:99", "meta", "\0"]),
    "dtype": st.sampled_from(["float32", "float64", "bfloat16", "int8"]),
    "device_map": st.one_of(st.sampled_from(["", "balanced", "cpu", "cpu,cpu", "0-9=cpu"]), TEXTS),
    "head": PLACES,
    "place": PLACES,
    "receiver": PLACES,
    "revision": st.sampled_from(["main", "..", "../../x", "\0", ""]),
    "pairs": st.sampled_from(["", "", "", "good.jsonl", "bad.jsonl", "bad.csv", "-", "\0", "no"]),
    "circuit": st.sampled_from(["", "bad.jsonl", "x.json", ".", "\0"]),
    "model": st.one_of(
        st.sampled_from(["demo", "tiny", *NO_MODELS]), TEXTS.filter(lambda one: not is_hub_name(one))
    ),
    **dict.fromkeys(("steps", "repeats", "n_random", "exact"), FEW),
    **dict.fromkeys(("layers", "positions", "heads", "subject_positions", "sizes"), RANGES),
    **dict.fromkeys(("json", "csv", "plot", "graph", "scatter", "interval_plot"), OUTPUTS),
    **dict.fromkeys(("save", "experiment", "out"), OUTPUTS),
}  # fmt: skip
"""What an option's values are drawn from, by its name; of others by its type."""

GOOD = {
    "pair": ["--clean", "Mary met John in", "--corrupt", "John met Mary in", "--answer", " a"],
    "example": ["--example", "ioi"],
    "trace": [
        "--prompt",
        "Mary met John",
        "--subject",
        "Mary",
        "--answer",
        " in",
        "--samples",
        "2",
    ],
    "nothing": [],
}


ROOT: Any = typer.main.get_command(app)


def given_to(option: Any) -> st.SearchStrategy[list[str]]:
    """The words of a command line that give an option, or an argument, a value."""
    name = str(option.name)
    flag = option.opts[-1] if option.param_type_name == "option" else None
    if getattr(option, "is_flag", False):
        return st.just([option.opts[0]])
    numeric = type(option.default) in (int, float)
    value = CHOSEN.get(name, NUMBERS if numeric else TEXTS)
    return value.map(lambda text: [text] if flag is None else [f"{flag}={text}"])


@st.composite
def lines(draw: st.DrawFn, names: list[str]) -> list[str]:
    """A command with good words to begin with, mostly, and up to five options of any values."""
    name = draw(st.sampled_from(names))
    options = [one for one in ROOT.commands[name].params if one.name != "help"]
    words = GOOD[draw(st.sampled_from(["pair", "example", "nothing"]))]
    if name == "trace":
        words = GOOD[draw(st.sampled_from(["trace", "nothing"]))]
    chosen = draw(st.lists(st.sampled_from(options), max_size=5))
    return [name, *words, *(word for one in chosen for word in draw(given_to(one)))]


@pytest.fixture(scope="module", autouse=True)
def work(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """A folder to work in, with sets and a tiny model; loaded models are kept."""
    folder = tmp_path_factory.mktemp("work")
    save_tiny(folder / "tiny")
    row = '{"clean": "Mary met", "corrupt": "John met", "answer": " Mary", "wrong": " John"}\n'
    (folder / "good.jsonl").write_text(row * 2)
    (folder / "bad.jsonl").write_bytes(row.encode() + b'{"clean": "\xff\x1b"}\n[[[\n\0\n')
    (folder / "bad.csv").write_bytes(b'clean,corrupt,answer\n"a\n\x1b,b')
    before = Path.cwd()
    os.chdir(folder)
    loaded: dict[str, pw.Model] = {}
    really_load = pw.load_model

    def load_once(*what: Any, **how: Any) -> pw.Model:
        key = f"{what} {how}"
        if key not in loaded:
            loaded[key] = really_load(*what, **how)
        return loaded[key]

    with mock.patch("patchwright.model.load.load_model", load_once):
        yield folder
    os.chdir(before)


@contextmanager
def not_for_ever() -> Generator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"still at it after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check(words: list[str], failing: str = "", stdin: str | None = None) -> int:
    """Run a command; what it leaves is a result, or complaints that can be read.

    Exit status 1 only with the word `failing` in what it says.
    """
    with not_for_ever():
        done = patchwright(*(word.replace("\0", "\x01") for word in words), stdin=stdin)
    told = f"{words}\n{done.stderr[-3000:]}"
    allowed = {0, 2} | ({1} if failing and failing in done.stdout + done.stderr else set[int]())
    assert done.returncode in allowed, told
    assert "Something went wrong" not in done.stderr, told
    assert "Traceback" not in done.stderr, told
    assert len(done.stderr) < LONGEST, told
    assert all(one.isprintable() or one == "\n" for one in done.stderr), told
    if done.returncode == 2:
        assert "Error: " in done.stderr, told
        assert done.stdout == "", told
    return done.returncode


def tries(quick: int) -> settings:
    """`quick` examples that are always the same, or as many at random as were asked for."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(
        max_examples=TRIES or quick,
        derandomize=not TRIES,
        suppress_health_check=slow,
        deadline=None,
    )


COMMANDS = [*METHODS.commands, "explain"]


@tries(60)
@given(words=lines(COMMANDS))
def test_any_options_of_a_method_give_a_result_or_a_clear_error(words: list[str]) -> None:
    check(words, "not finite numbers")


@tries(15)
@given(
    words=st.one_of(
        lines(["tokens", "places"]),
        st.lists(TEXTS, max_size=3).map(lambda more: ["runs", "list", "--", *more]),
        st.lists(TEXTS, min_size=2, max_size=2).map(lambda more: ["runs", "note", "--", *more]),
        st.lists(TEXTS, min_size=1, max_size=2).map(lambda more: ["runs", "show", "--", *more]),
        st.lists(TEXTS, max_size=2).map(lambda more: ["verify", "--", *more]),
    )
)
def test_any_words_to_the_other_commands_are_a_result_or_a_clear_error(words: list[str]) -> None:
    check(words)


TEMPLATES = st.one_of(
    st.sampled_from(["{A} and {B} met. {S} gave a book to", "{A}", "{A.9} x", "{", "x.json"]),
    st.sampled_from([one.name for one in tasks()]),
    TEXTS,
)
SLOTS = st.one_of(
    st.sampled_from(
        ["A=Mary,John", "B=Ann,Tom", "S={B}", "S={S}", "A=", "=", "A=key/keys,dog/dogs"]
    ),
    TEXTS,
)


@tries(20)
@given(
    words=st.one_of(
        st.builds(
            lambda text, slots, swaps, answers, more: [
                *("build", "template", *more),
                *(f"--slot={one}" for one in slots),
                *(f"--swap={one}" for one in swaps),
                *(f"--answer={one}" for one in answers),
                *("--", text),
            ],
            TEMPLATES,
            *[st.lists(SLOTS, max_size=3)] * 2,
            st.lists(st.one_of(st.just(" {A}"), TEXTS), max_size=2),
            st.sampled_from([["--count=2"], ["--count=0"], ["--seed=-1", "--count=1"], []]),
        ),
        st.lists(TEXTS, max_size=3).map(lambda more: ["build", "agreement", "--", *more]),
        st.builds(
            lambda prompt, word, answer, n: [
                *("build", "swap", f"--answer={answer}", f"--occurrence={n}", "--", prompt, word)
            ],
            *[st.one_of(st.just("Mary met Mary in"), TEXTS), st.one_of(st.just("Mary"), TEXTS)],
            *[TEXTS, NUMBERS],
        ),
    )
)
def test_any_words_to_build_are_pairs_or_a_clear_error(words: list[str]) -> None:
    check(words, stdin="The keys to the cabinet are here\n\x1b[2J\n")


LINES = [
    METHODS.parse(json.dumps({"model": "demo", **step.experiment})).model_dump()
    for lesson in built_in_lessons()
    for step in lesson.steps[:1]
    if step.experiment is not None
]
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 9), st.floats(), TEXTS, st.integers(), PLACES,
    st.lists(st.integers(-9, 70), max_size=3), st.lists(TEXTS, max_size=2), st.just({}),
)  # fmt: skip


@st.composite
def experiment_lines(draw: st.DrawFn) -> bytes:
    """An experiment with some fields changed to what they should not be, or no experiment."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=30)).replace(b"\n", b"")
    document: dict[str, Any] = dict(draw(st.sampled_from(LINES)))
    names = [name for name in document if name not in ("model", "method")]
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2)):
        document[name] = draw(JUNK)
    return json.dumps(document).encode()


@tries(25)
@given(told=st.lists(experiment_lines(), min_size=1, max_size=2))
def test_any_lines_to_run_are_results_or_clear_errors(work: Path, told: list[bytes]) -> None:
    (work / "lines").write_bytes(b"\n".join(told))
    check(["run", "lines"], "experiments: ")


@tries(20)
@given(
    content=st.one_of(st.binary(max_size=60), TEXTS.map(lambda one: one.encode("utf-8", "replace")))
)
def test_any_file_is_read_or_refused_in_a_sentence(work: Path, content: bytes) -> None:  # fmt: skip
    (work / "file.yaml").write_bytes(content)
    (work / "file.json").write_bytes(content)
    for words in (
        ["runs", "import", "file.yaml"],
        ["lessons", "file.yaml"],
        ["build", "template", "file.json"],
        ["verify", "--figures", "file.json"],
        ["circuit", "--example", "ioi", "--circuit", "file.json"],
        ["patch", "--pairs", "-"],
    ):
        assert check(words) == 2, words
