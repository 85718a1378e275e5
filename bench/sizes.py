"""How a sweep of larger models takes longer, beside what the arithmetic predicts.

    python bench/sizes.py
    python bench/sizes.py --layers 2 --repeats 1

Patchwright alone, each model in a process of its own. README.md beside this file says
what the columns mean.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence

from cases import GPT2_SMALL, SIZES, Case, Shape, doubled
from processes import (
    OURS,
    Options,
    Processes,
    Report,
    complaints,
    finish,
    libraries,
    machine,
    mebibytes,
    parse,
    peak_notes,
    processes,
    table,
    weight_bytes,
)
from sweeps import described, rate, size

TITLE = "Larger models"
GROWN = "small"
"""The size of which one after the other is doubled."""


def main() -> int:
    """Run, print the tables, and fail where a sweep failed."""
    options = parse(__doc__)
    with processes(options) as run:
        document = measure(run)
    return finish(options, document, sections(document, options), complaints(document["cases"]))


def measure(run: Processes) -> Report:
    """The sweeps over all sizes, then over a shape and what it is doubled to."""
    cases = {name: case.with_layers(run.options.layers) for name, case in SIZES.items()}
    growth = doubled(cases[GROWN].shape)
    found = {name: _one(run, case) for name, case in [*cases.items(), *growth.items()]}
    return {"cases": found, "growth": [GROWN, *growth], "peaks": run.peaks}


def _one(run: Processes, case: Case) -> Report:
    with run.saved(case.shape) as folder:
        reports = {OURS: run.contestant(OURS, case, folder)}
        return described(case, reports) | {"weights": weight_bytes(folder)}


def sections(document: Report, options: Options) -> dict[str, str]:
    """The section in Markdown, by its heading."""
    growth = {name: document["cases"][name] for name in document["growth"]}
    sizes = {name: document["cases"][name] for name in SIZES}
    lines = [
        *_size_table(sizes, document["peaks"]),
        "",
        *_growth_table(growth),
        "",
        *_notes(document, options),
        *(f"**{complaint}**" for complaint in complaints(document["cases"])),
    ]
    return {TITLE: "\n".join(lines)}


def _size_table(cases: Mapping[str, Report], peaks: Sequence[Mapping[str, float]]) -> list[str]:
    head = ["size", "places", "TFLOP", "seconds", "GFLOP/s", "of the peak"]
    rows = [[*head, "weights, MiB", "peak memory, MiB"]]
    for case in cases.values():
        report, shape = case["contestants"][OURS], Shape(**case["shape"])
        rows.append(
            [
                f"{shape.name}: {size(shape)}",
                f"{case['places']:,}",
                f"{case['flops'] / 1e12:.3g}",
                f"{report['seconds']:.2f}" if "seconds" in report else "failed",
                *rate(case["flops"], report, peaks),
                mebibytes(case["weights"]),
                mebibytes(report.get("memory", {}).get("peak")),
            ]
        )
    return table(rows)


def _growth_table(cases: Mapping[str, Report]) -> list[str]:
    """Each doubled shape beside the one that it comes from, which is the first."""
    first, *others = cases.items()
    rows = [["doubled", "seconds", "longer", "more arithmetic"]]
    rows.append([f"nothing ({_sizes(first[1])})", _seconds(first[1]), "", ""])
    for name, case in others:
        more = f"{case['flops'] / first[1]['flops']:.2f} ×"
        longer = ""
        if all("seconds" in one["contestants"][OURS] for one in (case, first[1])):
            ratio = case["contestants"][OURS]["seconds"] / first[1]["contestants"][OURS]["seconds"]
            longer = f"{ratio:.2f} ×"
        rows.append([f"{name} ({_sizes(case)})", _seconds(case), longer, more])
    return table(rows)


def _sizes(case: Report) -> str:
    shape = Shape(**case["shape"])
    return f"{size(shape)}, {shape.n_tokens} positions"


def _seconds(case: Report) -> str:
    report = case["contestants"][OURS]
    return f"{report['seconds']:.2f}" if "seconds" in report else "failed"


def _notes(document: Report, options: Options) -> Iterator[str]:
    cases = document["cases"].values()
    yield f"- {machine(options.threads)}"
    yield f"- {libraries([case['contestants'][OURS] for case in cases])}"
    yield (
        f"- `resid_pre`, every position differs: all layers and positions, {GPT2_SMALL.n_tokens} "
        f"tokens (SmolLM2 {SIZES['smollm2'].shape.n_tokens}), random weights, float32; median of "
        f"{options.repeats}, base runs included"
    )
    yield (
        "- TFLOP: the matrix products that the sweep cannot do without; peaks of such products, "
        f"measured in the same run, GFLOP/s: {peak_notes(document['peaks'])}"
    )
    yield (
        "- peak memory: of the process from its start to the end of the sweep, loading included; a "
        "file of weights that is mapped counts while it is read"
    )
    yield "- longer, more arithmetic: both against the shape of which nothing is doubled"


if __name__ == "__main__":
    sys.exit(main())
