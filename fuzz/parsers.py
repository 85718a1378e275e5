"""Atheris on everything that reads what somebody else wrote: `python fuzz/parsers.py TARGET`.

Each target takes bytes and either reads them or raises a PatchwrightError of few words;
anything else is a finding, which libFuzzer writes to a file. README.md says how to run it.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["patchwright"], exclude=["patchwright.methods.sweep"]):
    from patchwright.methods.result import load_result

    from patchwright.app import url_state
    from patchwright.experiment import experiment_of
    from patchwright.lessons.schema import read_lesson
    from patchwright.places import parse_place
    from patchwright.prompts.datasets import Item, read_items, write_items
    from patchwright.storage.archive import read_archive, write_archive
    from patchwright.storage.serialization import Record, record_of

from patchwright.errors import PatchwrightError
from patchwright.experiment import run
from patchwright.lessons.schema import built_in
from patchwright.model.load import load_model
from patchwright.prompts.examples import examples

ROOT = Path(__file__).parents[1]
LONGEST = 3000
"""Characters of an error beyond which nobody reads it."""

SMALL_LESSON = """title: A
about: b
minutes: 5
steps:
- text: "c {effect L0.resid_pre@1}"
  experiment: {method: patch, per: position, pairs: {clean: a b, corrupt: c d, answer: " e"}}
  question: f
  choices:
  - {text: g, right: "effect L0.resid_pre@1 > 0.5"}
  - text: h
  reveal: i
- text: j
  question: k
  cell: highest
  hints: [l]
  reveal: m
  claims: ["clean > 1"]
"""

Target = Callable[[bytes], None]


def places(data: bytes) -> None:
    """A place, which is printed as something that is read as the same place."""
    place = parse_place(data.decode("utf-8", "surrogateescape"))
    assert parse_place(str(place)) == place


def experiments(data: bytes) -> None:
    """A line of `run`, which is written as a line that is read as the same experiment."""
    experiment = experiment_of(data)
    assert experiment_of(experiment.model_dump_json()).hash == experiment.hash


def lessons(data: bytes) -> None:
    """A lesson file."""
    read_lesson(data.decode("utf-8", "replace"), "fuzzed")


def addresses(data: bytes) -> None:
    """A page of the first byte, and `name=value` lines."""
    page = tuple(url_state.PAGES)[data[0] % len(url_state.PAGES)] if data else "patch"
    lines = data[1:].decode("utf-8", "surrogateescape").split("\n")
    url_state.read(
        page, {name: value for name, _, value in (line.partition("=") for line in lines)}
    )


def sets(data: bytes) -> None:
    """A set of pairs, JSONL or CSV by the first byte; written again it is the same set."""
    text = data[1:].decode("utf-8", "surrogateescape")
    rows = list(read_items(text.splitlines(keepends=True), "csv" if data[:1] == b"c" else "jsonl"))
    items = [row for row in rows if isinstance(row, Item)]
    for row in rows:
        assert isinstance(row, Item) or len(row.message) < LONGEST, row
    again = [row for row in read_items(write_items(items), "jsonl") if isinstance(row, Item)]
    assert [(one.pair, one.tags) for one in again] == [(one.pair, one.tags) for one in items]


def archives(data: bytes) -> None:
    """The bytes of an archive of runs."""
    with written(data) as path:
        list(read_archive(path))


def records(data: bytes) -> None:
    """A run's document and arrays, split at a zero byte, in an archive whose digests fit them."""
    document, _, arrays = data.partition(b"\0")
    try:
        record = Record(document.decode(), arrays, "2026-01-01T00:00:00+00:00", "a note")
        with TemporaryDirectory(dir="/dev/shm") as folder:
            path = Path(folder) / "runs.zip"
            with path.open("wb") as stream:
                write_archive(stream, [record])
            list(read_archive(path))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # A document that is none has no name to be listed by: only reading must not fail.
        if not isinstance(error, PatchwrightError) and reading(error):
            raise


def reading(error: BaseException) -> bool:
    """Whether `read_archive` is on the way to where `error` was raised."""
    trace, names = error.__traceback__, list[str]()
    while trace is not None:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    return "read_archive" in names


def results(data: bytes) -> None:
    """A file of `--json`, which is written as one that is read again."""
    with written(data) as path:
        load_result(path).document()


class written:
    """The bytes as a file in memory."""

    PATH = Path("/dev/shm") / f"patchwright-fuzz-{id(object())}"

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> Path:
        self.PATH.write_bytes(self._data)
        return self.PATH

    def __exit__(self, *_: object) -> None:
        self.PATH.unlink()


TARGETS: dict[str, Target] = {
    one.__name__: one
    for one in (places, experiments, lessons, addresses, sets, archives, records, results)
}


def seeds(target: str) -> Iterator[bytes]:
    """Good inputs to begin with, made of what comes with the package."""
    pairs = [one.pair for one in examples()[:3]]
    lesson_texts = [
        path.read_bytes() for path in (ROOT / "src/patchwright/lessons/built_in").glob("*.yaml")
    ]
    if target == "places":
        yield from (b"L9H6.z@-1", b"L3.mlp_act[217]@2", b"embed@3", b"L0.resid_pre")
    elif target == "lessons":
        yield from (text[:1500] for text in lesson_texts)
        yield SMALL_LESSON.encode()
    elif target == "addresses":
        yield from (b"\0site=z\nper=head\nchosen=L0H0.z", b"\2noise=3.0\nsubject=1~2\nclean=a")
        yield from (b"\5path=L0H0.z\nreceivers=logits~L1H0.q\nmodel=gpt2", b"\1example=ioi")
    elif target == "sets":
        lines = "".join(write_items([Item(pair=pair, tags=("a", "b")) for pair in pairs]))
        yield b"j" + lines.encode()
        yield b'cclean,corrupt,answer,wrong,tags,align\n"a, b",c d, Mary| Ann, John,x|y,edges\n'
    else:
        yield from _made_by_runs(target)


def _made_by_runs(target: str) -> Iterator[bytes]:
    demo = load_model("demo")
    for lesson in built_in():
        asked = [one.experiment for one in lesson.steps if one.experiment is not None]
        for experiment in asked[:1]:
            import json

            line = json.dumps({"model": "demo", **experiment}).encode()
            if target == "experiments":
                yield line
                continue
            result = run(experiment_of(line), demo)
            record = record_of(result, "2026-01-01T00:00:00+00:00")
            if target == "results":
                yield result.to_json().encode()
            elif target == "records":
                yield record.document.encode() + b"\0" + record.arrays
            else:
                with TemporaryDirectory() as folder:
                    path = Path(folder) / "runs.zip"
                    with path.open("wb") as stream:
                        write_archive(stream, [record])
                    yield path.read_bytes()


def one_input(target: Target, data: bytes) -> None:
    """Read `data`; an error is a PatchwrightError that is short enough to be read."""
    try:
        target(data)
    except PatchwrightError as error:
        if len(str(error)) > LONGEST:
            raise AssertionError(f"an error of {len(str(error))} characters") from error


def main() -> None:
    """Fuzz the target that the first argument names; libFuzzer takes the others."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(
            f"usage: python fuzz/parsers.py TARGET [libFuzzer's options]; {', '.join(TARGETS)}"
        )
    target = TARGETS[name]
    corpus = Path(next((one for one in sys.argv[1:] if not one.startswith("-")), ""))
    if corpus.is_dir():
        for number, seed in enumerate(seeds(name)):
            (corpus / f"seed-{number}").write_bytes(seed)
    with suppress(KeyboardInterrupt):
        atheris.Setup(sys.argv, lambda data: one_input(target, data))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
