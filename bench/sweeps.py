"""How long an exact sweep takes: this engine against its former self and three other ways to do it.

    python bench/sweeps.py
    python bench/sweeps.py --cases resid_pre --contestants patchwright,hooks --repeats 1

Every contestant runs each case in a process of its own, on the same random
weights of the case's shape; base runs are timed, loading and a warm-up are
not. The numbers of all contestants are compared with one another. README.md
beside this file says what the columns mean.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence

from cases import CASES, SECTIONS, Case, Shape
from processes import (
    FORMER,
    FORMER_COMMIT,
    OURS,
    TITLES,
    Options,
    Processes,
    Report,
    complaints,
    disagreement,
    finish,
    libraries,
    machine,
    mebibytes,
    parse,
    peak_notes,
    peak_of,
    processes,
    shapes_of,
    table,
    weight_bytes,
)
from work import needed_flops


def main() -> int:
    """Run, print the tables, and fail where contestants failed or disagree."""
    options = parse(__doc__)
    with processes(options) as run:
        document = measure(run)
    return finish(options, document, sections(document, options), complaints(document["cases"]))


def measure(run: Processes) -> Report:
    """All contestants in all cases."""
    cases = [CASES[name].with_layers(run.options.layers) for name in run.options.cases]
    found: dict[str, Report] = {}
    for shape in shapes_of(cases):
        with run.saved(shape) as folder:
            weights = weight_bytes(folder)
            for case in cases:
                if case.shape == shape:
                    reports = {
                        name: run.contestant(name, case, folder) for name in run.options.contestants
                    }
                    found[case.name] = described(case, reports) | {"weights": weights}
    return {"cases": found, "peaks": run.peaks}


def described(case: Case, reports: Mapping[str, Report]) -> Report:
    """The contestants' reports with what the case is."""
    return {
        "title": case.title,
        "shape": vars(case.shape),
        "places": len(case.spots()),
        "flops": needed_flops(case),
        "largest_disagreement": disagreement(reports),
        "contestants": reports,
    }


def sections(document: Report, options: Options) -> dict[str, str]:
    """The tables of each shape in Markdown, by their headings."""
    found: dict[str, str] = {}
    for heading, name in SECTIONS.items():
        cases = {
            key: case for key, case in document["cases"].items() if case["shape"]["name"] == name
        }
        if cases:
            lines = _lines(cases, document["peaks"], options)
            found[heading] = "\n".join(lines)
    return found


def _lines(
    cases: Mapping[str, Report], peaks: Sequence[Mapping[str, float]], options: Options
) -> Iterator[str]:
    yield from _speed_table(cases, peaks, options.contestants)
    yield ""
    yield from _memory_table(cases, options.contestants)
    yield ""
    yield from _notes(cases, peaks, options)
    yield from (f"**{complaint}**" for complaint in complaints(cases))


def _speed_table(
    cases: Mapping[str, Report],
    peaks: Sequence[Mapping[str, float]],
    contestants: Sequence[str],
) -> list[str]:
    others = [name for name in contestants if name != OURS]
    head = ["sweep", "places", TITLES[OURS], *(TITLES[name] for name in others)]
    rows = [[*head, "GFLOP/s", "of the peak", "time in products", "largest disagreement"]]
    for case in cases.values():
        report = case["contestants"].get(OURS, {})
        ours = report.get("seconds")
        row = [case["title"], f"{case['places']:,}", _seconds(case, OURS, None)]
        row += [_seconds(case, name, ours) for name in others]
        rows.append([*row, *rate(case["flops"], report, peaks), _products(report), _logits(case)])
    return table(rows)


def _seconds(case: Report, name: str, ours: float | None) -> str:
    """A contestant's time, and how many times longer than ours it took."""
    report = case["contestants"].get(name, {})
    if "seconds" not in report:
        return "failed" if "failed" in report else "absent"
    about = "≈ " if report["measured"] < case["places"] else ""
    ratio = "" if ours is None else f" ({report['seconds'] / ours:.1f} ×)"
    return f"{about}{report['seconds']:.2f} s{ratio}"


def rate(flops: int, report: Report, peaks: Sequence[Mapping[str, float]]) -> list[str]:
    """Patchwright's GFLOP/s, and what share of the peak it is."""
    if "seconds" not in report:
        return ["", ""]
    reached = flops / report["seconds"]
    return [f"{reached / 1e9:.0f}", f"{reached / peak_of(report, peaks):.0%}"]


def _products(report: Report) -> str:
    return f"{sum(report['products'].values()):.0%}" if "products" in report else ""


def _logits(case: Report) -> str:
    found = case["largest_disagreement"]
    return "" if found is None else f"{found:.0e}"


def _memory_table(cases: Mapping[str, Report], contestants: Sequence[str]) -> list[str]:
    rows = [["peak memory, MiB", *(TITLES[name] for name in contestants)]]
    for case in cases.values():
        reports = [case["contestants"][name] for name in contestants]
        peaks = (report.get("memory", {}).get("peak") for report in reports)
        rows.append([case["title"], *map(mebibytes, peaks)])
    return table(rows)


def _notes(
    cases: Mapping[str, Report], peaks: Sequence[Mapping[str, float]], options: Options
) -> Iterator[str]:
    case = next(iter(cases.values()))
    shape = Shape(**case["shape"])
    reports = [
        (name, report) for one in cases.values() for name, report in one["contestants"].items()
    ]
    yield f"- {machine(options.threads)}"
    yield f"- {libraries([report for _, report in reports])}"
    yield (
        f"- random weights of {shape.name}'s size ({size(shape)}, {mebibytes(case['weights'])} MiB of "
        f"float32), {shape.n_tokens} tokens; median of {options.repeats}, base runs included"
    )
    yield (
        "- GFLOP/s: Patchwright's, counting only the matrix products that the sweep cannot do "
        f"without; peaks of such products, measured in the same run: {peak_notes(peaks)}; of the "
        "peak: of the faster one that Patchwright used"
    )
    yield (
        "- time in products: the share of Patchwright's operator time that matrix products take, by "
        "PyTorch's profiler in a run of its own; the rest is attention, activation functions, norms "
        "and copying"
    )
    yield "- largest disagreement of any two contestants at any place, in logits"
    yield f"- ≈: from {options.sample} places drawn at random, scaled up to all of them"
    yield from absences(reports)


def absences(reports: Sequence[tuple[str, Report]]) -> Iterator[str]:
    """Which contestants did not take part, and why; of the former one which commit it is."""
    absent = {(name, report["absent"]) for name, report in reports if "absent" in report}
    if FORMER in {name for name, _ in reports} - {name for name, _ in absent}:
        yield f"- {TITLES[FORMER]}: commit {FORMER_COMMIT}, in the same interpreter"
    for name, reason in sorted(absent):
        yield f"- {TITLES[name]} is absent: {reason}"


def size(shape: Shape) -> str:
    """A shape in words."""
    shared = f"{shape.n_heads} heads over {shape.n_kv_heads} of keys and values, "
    shared = "" if shape.n_heads == shape.n_kv_heads else shared
    return f"{shape.n_layers} layers, {shared}width {shape.d_model}"


if __name__ == "__main__":
    sys.exit(main())
