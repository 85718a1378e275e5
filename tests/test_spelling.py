"""One spelling of each thing over page, terminal, figures and documentation."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from patchwright.spelling import percent, run_name

ROOT = Path(__file__).parents[1]


@given(share=st.floats(-1e6, 1e6), decimals=st.integers(0, 3))
def test_a_share_is_written_with_a_space_and_no_minus_before_nothing(
    share: float, decimals: int
) -> None:
    written = percent(share, decimals)
    assert re.fullmatch(r"-?\d+(\.\d+)? %", written)
    number = float(written.removesuffix(" %"))
    assert abs(number - 100 * share) <= 0.51 / 10**decimals + 1e-9 * abs(share)
    assert number or not written.startswith("-")


def test_the_other_run_is_corrupted_to_people() -> None:
    assert [run_name(run) for run in ("clean", "corrupt", "patched")] == [
        "clean",
        "corrupted",
        "patched",
    ]


def test_shares_are_spelled_in_one_place() -> None:
    """No other source formats per cent by itself, and no text for people has `98%`."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        found = re.findall(r"\.\d?%[}\"']", path.read_text(encoding="utf-8"))
        assert not found, (path, found)
    texts = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.yaml"), ROOT / "README.md"]
    for path in sorted(texts):
        # Benchmarks are tables of another program's output, and code has its own signs.
        if "benchmarks" not in path.name:
            text = re.sub(r"%\d|\d%[0-9A-F]{2}|width: ?\d+%", "", path.read_text(encoding="utf-8"))
            assert not re.findall(r"\d%", text), path
