"""All that is compared, in one run: sweeps, many pairs, larger models.

    python bench/report.py --markdown docs/benchmarks.md
    python bench/report.py --layers 1 --repeats 1 --sample 4 --pairs 20 --sampled-pairs 2

The exit status is 1 where a contestant failed or two of them disagree.
"""

import sys

import many_pairs
import sizes
import sweeps
from processes import complaints, finish, parse, processes

PARTS = (sweeps, many_pairs, sizes)


def main() -> int:
    """Each part after the other."""
    options = parse(__doc__)
    with processes(options) as run:
        documents = {part: part.measure(run) for part in PARTS}
    sections: dict[str, str] = {}
    found: list[str] = []
    for part, document in documents.items():
        sections |= part.sections(document, options)
        found += complaints(document["cases"])
    return finish(options, list(documents.values()), sections, found)


if __name__ == "__main__":
    sys.exit(main())
