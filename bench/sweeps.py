"""How long an exact sweep takes: this engine against three other ways to do it.

    python bench/sweeps.py
    python bench/sweeps.py --cases resid_pre --contestants patchwright,hooks --repeats 1

Every contestant runs each case in a process of its own, on the same random
weights of the case's shape; base runs are timed, loading and a warm-up are
not. The numbers of all contestants are compared with one another. README.md
beside this file says what the columns mean.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cases import CASES, SHAPES, Case, Shape
from sections import put_section
from work import needed_flops

OURS = "patchwright"
TITLES = {
    OURS: "Patchwright",
    "hooks": "hook loop",
    "transformer_lens": "TransformerLens",
    "nnsight": "nnsight",
}
SAMPLE = 180
TOLERANCE = 1e-4
"""Logits by which two contestants may differ; more is a bug in one of them."""

Report = dict[str, Any]
"""What a contestant's process wrote; `absent` or `failed` says why there is nothing else."""


@dataclass(frozen=True)
class Options:
    """The command line."""

    cases: tuple[Case, ...]
    contestants: tuple[str, ...]
    pythons: Mapping[str, str]
    layers: int | None
    repeats: int
    sample: int
    threads: int
    json: Path | None
    markdown: Path | None


def main() -> int:
    """Run, print the tables, and fail where contestants failed or disagree."""
    options = parse()
    document = measure(options)
    texts = {shape.section: tables(document, shape, options) for shape in _shapes(options)}
    print("\n\n".join(f"## {section}\n\n{text}" for section, text in texts.items()))
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.markdown:
        for section, text in texts.items():
            put_section(options.markdown, section, text)
    return int(bool(complaints(document)))


def parse() -> Options:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
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
    add("--layers", type=int, help="fewer for a quick try (the shape's own)")
    add("--threads", type=int, default=os.cpu_count() or 1, help="for PyTorch (all cores)")
    add("--json", type=Path, help="write everything measured here")
    add("--markdown", type=Path, help="put the tables into this file")
    given = parser.parse_args()
    return Options(
        cases=tuple(CASES[name].with_layers(given.layers) for name in given.cases),
        contestants=given.contestants,
        pythons=dict(given.python),
        layers=given.layers,
        repeats=given.repeats,
        sample=given.sample,
        threads=given.threads,
        json=given.json,
        markdown=given.markdown,
    )


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


def measure(options: Options) -> Report:
    """All contestants in all cases, the peak measured before and after them."""
    peaks = [_child(options, "peak")]
    cases = {case.name: _case(options, case) for case in options.cases}
    peaks.append(_child(options, "peak"))
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(options.threads),
        "shapes": [vars(shape) for shape in _shapes(options)],
        "repeats": options.repeats,
        "peak_flops": max(peak["flops"] for peak in peaks),
        "peaks": [peak["flops"] for peak in peaks],
        "cases": cases,
    }


def _shapes(options: Options) -> list[Shape]:
    """The shapes of the cases that were asked for, with as many layers as they have there."""
    found = {case.shape.name: case.shape for case in options.cases}
    return [found[shape.name] for shape in SHAPES if shape.name in found]


def _case(options: Options, case: Case) -> Report:
    reports: dict[str, Report] = {}
    for name in options.contestants:
        print(f"{case.name}: {TITLES[name]} ...", file=sys.stderr, flush=True)
        reports[name] = _child(options, name, "--case", case.name)
    return {
        "title": case.title,
        "shape": case.shape.name,
        "places": len(case.spots()),
        "flops": needed_flops(case),
        "largest_disagreement": _disagreement(reports),
        "contestants": reports,
    }


def _child(options: Options, name: str, *more: str) -> Report:
    """The report of `contestants.py` in a process of its own."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        command = [
            options.pythons.get(name, sys.executable),
            str(Path(__file__).with_name("contestants.py")),
            name,
            str(out),
            *([] if options.layers is None else [f"--layers={options.layers}"]),
            f"--repeats={options.repeats}",
            f"--sample={options.sample}",
            f"--threads={options.threads}",
            *more,
        ]
        # The progress bars of the contestants are not part of their work; nothing is fetched.
        environment = {**os.environ, "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return json.loads(out.read_text())
    print(done.stderr, file=sys.stderr)
    if name == "peak":
        raise SystemExit("The machine's peak could not be measured; its error is above.")
    return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}


def _disagreement(reports: Mapping[str, Report]) -> float | None:
    """The largest difference in logits between any two contestants at the same place."""
    values = [report["values"] for report in reports.values() if "values" in report]
    differences = [
        abs(one[place] - other[place])
        for one, other in combinations(values, 2)
        for place in one.keys() & other.keys()
    ]
    return max(differences, default=None)


def complaints(document: Report) -> list[str]:
    """What is wrong with a run: contestants that failed, numbers that disagree."""
    found: list[str] = []
    for name, case in document["cases"].items():
        for contestant, report in case["contestants"].items():
            if "failed" in report:
                found.append(f"{name}: {TITLES[contestant]} failed: {report['failed']}")
        if (case["largest_disagreement"] or 0) > TOLERANCE:
            found.append(
                f"{name}: contestants disagree by {case['largest_disagreement']:.1e} logits"
            )
    return found


def machine(threads: int) -> str:
    """The machine in words."""
    processor = _processor() or platform.processor() or platform.machine()
    cores = f"{threads} of {os.cpu_count()} cores"
    return f"{processor}, {cores}, {platform.system()}, Python {platform.python_version()}"


def _processor() -> str | None:
    """The processor's name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None)


def tables(document: Report, shape: Shape, options: Options) -> str:
    """The report of one shape's cases in Markdown."""
    cases = {name: case for name, case in document["cases"].items() if case["shape"] == shape.name}
    document = {**document, "cases": cases}
    lines = [
        *_speed_table(document, options.contestants),
        "",
        *_memory_table(document, options.contestants),
        "",
        *_notes(document, shape, options),
        *(f"**{complaint}**" for complaint in complaints(document)),
    ]
    return "\n".join(lines)


def _speed_table(document: Report, contestants: Sequence[str]) -> list[str]:
    others = [name for name in contestants if name != OURS]
    head = ["sweep", "places", TITLES[OURS], *(TITLES[name] for name in others)]
    rows = [[*head, "GFLOP/s", "of the peak", "time in products", "largest disagreement"]]
    for case in document["cases"].values():
        ours = case["contestants"].get(OURS, {}).get("seconds")
        row = [case["title"], f"{case['places']:,}", _seconds(case, OURS, None)]
        row += [_seconds(case, name, ours) for name in others]
        rate = _rate(case, ours, document["peak_flops"])
        rows.append([*row, *rate, _products(case), _logits(case)])
    return _markdown(rows)


def _seconds(case: Report, name: str, ours: float | None) -> str:
    """A contestant's time, and how many times longer than ours it took."""
    report = case["contestants"].get(name, {"absent": "not asked for"})
    if "seconds" not in report:
        return "failed" if "failed" in report else "absent"
    about = "≈ " if report["measured"] < case["places"] else ""
    ratio = "" if ours is None else f" ({report['seconds'] / ours:.1f} ×)"
    return f"{about}{report['seconds']:.2f} s{ratio}"


def _rate(case: Report, ours: float | None, peak: float) -> list[str]:
    if ours is None:
        return ["", ""]
    rate = case["flops"] / ours
    return [f"{rate / 1e9:.0f}", f"{rate / peak:.0%}"]


def _products(case: Report) -> str:
    share = case["contestants"].get(OURS, {}).get("products_share")
    return "" if share is None else f"{share:.0%}"


def _logits(case: Report) -> str:
    found = case["largest_disagreement"]
    return "" if found is None else f"{found:.0e}"


def _memory_table(document: Report, contestants: Sequence[str]) -> list[str]:
    rows = [["peak memory, MiB", *(TITLES[name] for name in contestants)]]
    for case in document["cases"].values():
        reports = [case["contestants"][name] for name in contestants]
        rows.append([case["title"], *(_mebibytes(report) for report in reports)])
    return _markdown(rows)


def _mebibytes(report: Report) -> str:
    if "memory" not in report:
        return ""
    return f"{report['memory']['peak'] / 2**20:,.0f}"


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return [head, "|" + " --- |" * len(rows[0]), *body]


def _notes(document: Report, shape: Shape, options: Options) -> Iterator[str]:
    reports = [
        (name, report)
        for case in document["cases"].values()
        for name, report in case["contestants"].items()
    ]
    yield f"- {document['machine']}; {document['date'][:10]}"
    yield f"- {_libraries(reports)}"
    yield (
        f"- random weights of {shape.name}'s size ({_size(shape)}, {_weights(reports)} MiB of "
        f"float32), {shape.n_tokens} tokens; median of {options.repeats}, base runs included"
    )
    yield (
        "- GFLOP/s: Patchwright's, counting only the matrix products that the sweep cannot do "
        f"without; peak of such products, measured in the same run: {document['peak_flops'] / 1e9:.0f}"
    )
    yield (
        "- time in products: the share of Patchwright's operator time that matrix products take, by "
        "PyTorch's profiler in a run of its own; the rest is attention, activation functions, norms "
        "and copying"
    )
    yield "- largest disagreement of any two contestants at any place, in logits"
    yield f"- ≈: from {options.sample} places drawn at random, scaled up to all of them"
    absent = {(name, report["absent"]) for name, report in reports if "absent" in report}
    for name, reason in sorted(absent):
        yield f"- {TITLES[name]} is absent: {reason}"


def _size(shape: Shape) -> str:
    shared = f"{shape.n_heads} heads over {shape.n_kv_heads} of keys and values, "
    shared = "" if shape.n_heads == shape.n_kv_heads else shared
    return f"{shape.n_layers} layers, {shared}width {shape.d_model}"


def _libraries(reports: Sequence[tuple[str, Report]]) -> str:
    versions: dict[str, str] = {}
    for _, report in reports:
        versions.update(report.get("libraries", {}))
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _weights(reports: Sequence[tuple[str, Report]]) -> str:
    sizes = [report["memory"]["weights"] for _, report in reports if "memory" in report]
    return f"{max(sizes, default=0) / 2**20:.0f}"


if __name__ == "__main__":
    sys.exit(main())
