"""The page of families has what the tests' table has."""

from pathlib import Path

from families import FAMILIES, VARIANTS
from patchwright.model.families import FAMILIES as READERS

PAGE = Path(__file__).parents[1] / "docs" / "families.md"

NOT_ALL = {
    "olmo2": "edge attribution, circuits",
    "olmoe": "edge attribution, circuits, direct attribution by neuron",
    "qwen3_moe": "direct attribution by neuron",
    "mixtral": "direct attribution by neuron",
}
"""Methods that a family's block has no place for."""


def rows() -> list[list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "| `" in line
    ]


def test_every_variant_has_a_row_and_every_reader_a_family() -> None:
    found = [(family, special) for family, _, special, *_ in rows()]
    assert [family for family, _ in found] == [family for family, _ in VARIANTS.values()]
    assert {architecture.strip("`") for _, architecture, *_ in rows()} == set(READERS)
    assert {family for family, _ in found} == set(FAMILIES)
    for name, (family, _) in VARIANTS.items():
        assert name.endswith("as it is") or (family, name) in found


def test_no_difference_is_larger_than_what_is_promised() -> None:
    for family, *_, float64, float32, methods in rows():
        assert float(float64) <= 1e-9
        assert float(float32) <= 1e-4
        assert methods == f"all but {NOT_ALL[family]}" if family in NOT_ALL else "all"
