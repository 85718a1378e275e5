"""What all comparisons share: the command line, processes of contestants, saved models, tables.

Only the standard library is imported: what is measured runs in other processes, and the one
that compares takes no memory from them.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cases import CASES, Case, Shape
from sections import put_section
from work import MKL, ONEDNN

OURS, FORMER = "patchwright", "former"
FORMER_COMMIT = "2b25fb4"
TITLES = {
    OURS: "Patchwright",
    FORMER: "Patchwright before",
    "hooks": "hook loop",
    "transformer_lens": "TransformerLens",
    "nnsight": "nnsight",
}
PRODUCTS = {MKL: "`torch.mm`", ONEDNN: "oneDNN with reordered weights"}
"""What a reader knows the operators by whose peaks are measured."""

SAMPLE, PAIRS, SAMPLED_PAIRS = 60, 1000, 8
TOLERANCE = 1e-4
"""Logits by which two contestants may differ; more is a bug in one of them."""

Report = dict[str, Any]
"""What a contestant's process wrote; `absent` or `failed` says why there is nothing else."""


@dataclass(frozen=True)
class Options:
    """The command line."""

    cases: tuple[str, ...]
    contestants: tuple[str, ...]
    pythons: Mapping[str, str]
    layers: int | None
    repeats: int
    sample: int
    pairs: int
    sampled_pairs: int
    threads: int
    json: Path | None
    markdown: Path | None


def parse(description: str | None) -> Options:
    """The command line, checked; every script of comparisons has the same."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cases", type=_some_of(CASES), default=tuple(CASES), help=f"of {', '.join(CASES)}")
    add(
        "--contestants",
        type=_some_of(TITLES),
        default=tuple(TITLES),
        help=f"of {', '.join(TITLES)}",
    )
    add("--python", action="append", default=[], metavar="CONTESTANT=PATH", type=_interpreter)
    add("--repeats", type=int, default=3, help="the median of so many (3)")
    add(
        "--sample",
        type=int,
        default=SAMPLE,
        help=f"places that the others run of a larger sweep, scaled up ({SAMPLE}; 0: all)",
    )
    add("--pairs", type=int, default=PAIRS, help=f"in the sweep of many ({PAIRS:,})")
    add(
        "--sampled-pairs",
        type=int,
        default=SAMPLED_PAIRS,
        help=f"that the others run of them, scaled up ({SAMPLED_PAIRS})",
    )
    add("--layers", type=int, help="fewer for a quick try (the shape's own)")
    add("--threads", type=int, default=os.cpu_count() or 1, help="for PyTorch (all cores)")
    add("--json", type=Path, help="write everything measured here")
    add("--markdown", type=Path, help="put the tables into this file")
    given: dict[str, Any] = vars(parser.parse_args())
    pythons: list[tuple[str, str]] = given.pop("python")
    return Options(**given, pythons=dict(pythons))


def _some_of(names: Mapping[str, object]) -> Any:
    def parse_names(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        if unknown := set(chosen) - set(names):
            raise argparse.ArgumentTypeError(
                f"{', '.join(sorted(unknown))}: choose of {', '.join(names)}"
            )
        return chosen

    return parse_names


def _interpreter(text: str) -> tuple[str, str]:
    name, found, path = text.partition("=")
    if not found or name not in TITLES:
        raise argparse.ArgumentTypeError(f"{text}: write CONTESTANT=PATH, of {', '.join(TITLES)}")
    return name, path


class Processes:
    """Starts the contestants, each in a process of its own.

    `peaks` are what the machine's products reached each time they were measured.
    """

    def __init__(self, options: Options, former: Path | str) -> None:
        self.options = options
        self.peaks: list[dict[str, float]] = []
        self._former = former

    def measure_peaks(self) -> None:
        """Once more; of all times the fastest counts."""
        self.peaks.append(self._run("peaks"))

    @contextmanager
    def saved(self, shape: Shape) -> Generator[Path]:
        """A folder with the random model of the shape, as all contestants load it."""
        with TemporaryDirectory() as folder:
            print(f"saving random weights of {shape.name}'s size ...", file=sys.stderr, flush=True)
            self._run("save", f"--case={_any_case(shape).to_json()}", f"--folder={folder}")
            yield Path(folder)

    def contestant(
        self,
        name: str,
        case: Case,
        folder: Path,
        pairs: int = 1,
        repeats: int | None = None,
        sample: int | None = None,
    ) -> Report:
        """The report of one contestant in one case; what is None is the command line's."""
        if name == FORMER and isinstance(self._former, str):
            return {"absent": self._former}
        print(f"{case.title}, {case.shape.name}: {TITLES[name]} ...", file=sys.stderr, flush=True)
        try:
            return self._run(
                name,
                f"--case={case.to_json()}",
                f"--folder={folder}",
                f"--pairs={pairs}",
                f"--repeats={self.options.repeats if repeats is None else repeats}",
                f"--sample={self.options.sample if sample is None else sample}",
            )
        except FailedError as error:
            return {"failed": str(error)}

    def _run(self, name: str, *more: str) -> Report:
        """The report of `contestants.py`. Raises FailedError."""
        python = self.options.pythons.get(OURS if name == FORMER else name, sys.executable)
        script = Path(__file__).with_name("contestants.py")
        with TemporaryDirectory() as home:
            out = Path(home) / "report.json"
            command = [python, str(script), name, str(out), f"--threads={self.options.threads}"]
            # The progress bars of the contestants are not part of their work; nothing is fetched.
            environment = os.environ | {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
            environment["PATCHWRIGHT_HOME"] = home
            if name == FORMER:
                environment["PYTHONPATH"] = str(self._former)
            done = subprocess.run(
                [*command, *more], env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return json.loads(out.read_text())
        print(done.stderr, file=sys.stderr)
        raise FailedError((done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1])


class FailedError(Exception):
    """The last line that a process wrote before it failed."""


@contextmanager
def processes(options: Options) -> Generator[Processes]:
    """With the former engine beside, and the machine's peaks measured before and after."""
    with former_source() as former:
        found = Processes(options, former)
        found.measure_peaks()
        yield found
        found.measure_peaks()


@contextmanager
def former_source() -> Generator[Path | str]:
    """The source of the former engine in a worktree of its own, or why there is none."""
    git = ["git", "-C", str(Path(__file__).parent), "worktree"]
    with TemporaryDirectory() as folder:
        tree = Path(folder) / "former"
        try:
            added = subprocess.run(
                [*git, "add", "--detach", str(tree), FORMER_COMMIT],
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            yield "git is not here"
            return
        if added.returncode:
            yield f"commit {FORMER_COMMIT}: {added.stderr.strip().splitlines()[-1]}"
            return
        try:
            yield tree / "src"
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def _any_case(shape: Shape) -> Case:
    return Case("save", "", shape, "resid_pre", "position")


def finish(
    options: Options, document: Any, texts: Mapping[str, str], complaints: Sequence[str]
) -> int:
    """Print the sections and write what was asked for; the exit status, 1 where there are complaints."""
    print("\n\n".join(f"## {title}\n\n{text}" for title, text in texts.items()))
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.markdown:
        for title, text in texts.items():
            put_section(options.markdown, title, text)
    return int(bool(complaints))


def shapes_of(cases: Sequence[Case]) -> list[Shape]:
    """The shapes of the cases, each once."""
    return list(dict.fromkeys(case.shape for case in cases))


def weight_bytes(folder: Path) -> int:
    """Of a saved model."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def disagreement(reports: Mapping[str, Report]) -> float | None:
    """The largest difference in logits between any two contestants at the same place."""
    values = [report["values"] for report in reports.values() if "values" in report]
    differences = [
        abs(one[place] - other[place])
        for one, other in combinations(values, 2)
        for place in one.keys() & other.keys()
    ]
    return max(differences, default=None)


def complaints(cases: Mapping[str, Report]) -> list[str]:
    """What is wrong with a run: contestants that failed, numbers that disagree."""
    found: list[str] = []
    for name, case in cases.items():
        for contestant, report in case["contestants"].items():
            if "failed" in report:
                found.append(f"{name}: {TITLES[contestant]} failed: {report['failed']}")
        if (case["largest_disagreement"] or 0) > TOLERANCE:
            found.append(
                f"{name}: contestants disagree by {case['largest_disagreement']:.1e} logits"
            )
    return found


def peak_of(report: Report, peaks: Sequence[Mapping[str, float]]) -> float:
    """The fastest product of the kind that the engine used; that of `torch.mm` where it had no other."""
    used = ONEDNN if ONEDNN in report.get("products", {}) else MKL
    return max(peak[name] for peak in peaks for name in {used, MKL} if name in peak)


def peak_notes(peaks: Sequence[Mapping[str, float]]) -> str:
    """Both peaks in words."""
    return ", ".join(
        f"{max(peak[name] for peak in peaks) / 1e9:.0f} by {title}"
        for name, title in PRODUCTS.items()
        if name in peaks[0]
    )


def machine(threads: int) -> str:
    """The machine in words, and today."""
    processor = _processor() or platform.processor() or platform.machine()
    cores = f"{threads} of {os.cpu_count()} cores"
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{processor}, {cores}, {system}; {datetime.now(UTC).date()}"


def _processor() -> str | None:
    """The processor's name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None)


def libraries(reports: Sequence[Report]) -> str:
    """The contestants' libraries with their versions."""
    versions: dict[str, str] = {}
    for report in reports:
        versions.update(report.get("libraries", {}))
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def mebibytes(size: int | None) -> str:
    """As tables have them."""
    return "" if size is None else f"{size / 2**20:,.0f}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; the first row is its head."""
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return [head, "|" + " --- |" * len(rows[0]), *body]
