"""All of docs/benchmarks.md in one run: sweeps, many pairs, larger models, the page.

    python bench/report.py --markdown docs/benchmarks.md
    python bench/report.py --without-page --layers 1 --repeats 1 --sample 4 --pairs 20 --sampled-pairs 2

The exit status is 1 where a contestant failed or two of them disagree.
"""

import subprocess
import sys
from pathlib import Path

import many_pairs
import sizes
import sweeps
from processes import complaints, parse, processes
from sections import finish

PARTS = (sweeps, many_pairs, sizes)


def main() -> int:
    """Each part after the other; what is measured is written as soon as it is."""
    options = parse(__doc__)
    failed = 0
    with processes(options) as run:
        documents = [part.measure(run) for part in PARTS]
    failed = [
        finish(options, document, part.sections(document, options), complaints(document["cases"]))
        for part, document in zip(PARTS, documents, strict=True)
    ]
    return int(any(failed))


if __name__ == "__main__":
    sys.exit(main())
