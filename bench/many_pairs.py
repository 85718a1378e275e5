"""How fast many pairs are swept, and whether memory stays flat meanwhile.

    python bench/many_pairs.py
    python bench/many_pairs.py --pairs 20 --sampled-pairs 2 --layers 2

Patchwright takes all pairs in one call, the others a few of them, scaled up. README.md
beside this file says what the columns mean.
"""

import sys
from collections.abc import Iterator

from cases import MANY_PAIRS
from processes import (
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
    processes,
    table,
    weight_bytes,
)
from sweeps import absences, size

TITLE = "Many pairs"
SHARES = (0.1, 0.5, 1.0)
"""Of the pairs, after which memory is told."""


def main() -> int:
    """Run, print the tables, and fail where contestants failed or disagree."""
    options = parse(__doc__)
    with processes(options) as run:
        document = measure(run)
    return finish(options, document, sections(document, options), complaints(document["cases"]))


def measure(run: Processes) -> Report:
    """All contestants, each once."""
    options = run.options
    case = MANY_PAIRS.with_layers(options.layers)
    few = min(options.sampled_pairs, options.pairs)
    with run.saved(case.shape) as folder:
        reports = {
            name: run.contestant(
                name, case, folder, options.pairs if name == OURS else few, repeats=1, sample=0
            )
            for name in options.contestants
        }
        weights = weight_bytes(folder)
    found = {
        "title": case.title,
        "places": len(case.spots()),
        "weights": weights,
        "size": size(case.shape),
        "largest_disagreement": disagreement(reports),
        "contestants": reports,
    }
    return {"cases": {case.name: found}}


def sections(document: Report, options: Options) -> dict[str, str]:
    """The section in Markdown, by its heading."""
    case = document["cases"][MANY_PAIRS.name]
    lines = [
        *_speed_table(case, options),
        "",
        *_memory_table(case["contestants"].get(OURS, {}), options),
        *_notes(case, options),
        *(f"**{complaint}**" for complaint in complaints(document["cases"])),
    ]
    return {TITLE: "\n".join(lines)}


def _speed_table(case: Report, options: Options) -> list[str]:
    ours = _pace(case["contestants"].get(OURS, {}))
    rows = [["", "pairs per second", "times as fast", "pairs that it ran", "peak memory, MiB"]]
    for name in options.contestants:
        report = case["contestants"][name]
        pace = _pace(report)
        if pace is None:
            rows.append([TITLES[name], "failed" if "failed" in report else "absent", "", "", ""])
            continue
        about = "≈ " if report["pairs"] < options.pairs else ""
        ratio = "" if ours is None or name == OURS else f"{ours / pace:.1f} ×"
        memory = mebibytes(report["memory"]["peak"])
        rows.append([TITLES[name], f"{about}{pace:.2f}", ratio, f"{report['pairs']:,}", memory])
    return table(rows)


def _pace(report: Report) -> float | None:
    return report["pairs"] / report["seconds"] if "seconds" in report else None


def _memory_table(report: Report, options: Options) -> list[str]:
    """Patchwright's resident memory as pairs are done; nothing where it was not measured."""
    if not report.get("resident"):
        return []
    rows = [["Patchwright, pairs done", "resident memory, MiB"]]
    for share in SHARES:
        done, resident = next(one for one in report["resident"] if one[0] >= share)
        rows.append([f"{done * options.pairs:,.0f}", mebibytes(resident)])
    return [*table(rows), ""]


def _notes(case: Report, options: Options) -> Iterator[str]:
    reports = list(case["contestants"].items())
    yield f"- {machine(options.threads)}"
    yield f"- {libraries([report for _, report in reports])}"
    yield (
        f"- {case['title']}: {options.pairs:,} pairs of {MANY_PAIRS.shape.n_tokens} tokens, "
        f"{case['places']} places each, base runs included; random weights of "
        f"{MANY_PAIRS.shape.name}'s size ({case['size']}, {mebibytes(case['weights'])} MiB of float32)"
    )
    yield (
        "- Patchwright takes its pairs in one call, also the former one. The hook loop and TransformerLens run their "
        "pairs as one batch, a place at a time; nnsight a pair at a time, 45 places as one batch."
    )
    disagreement = case["largest_disagreement"]
    if disagreement is not None:
        yield f"- largest disagreement at any place of any pair, in logits: {disagreement:.0e}"
    yield "- ≈: from the first pairs, scaled up to all of them"
    yield from absences(reports)


if __name__ == "__main__":
    sys.exit(main())
