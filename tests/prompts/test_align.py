import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchwright.prompts.align import differing_range, match_positions, unequal_lengths_error

prompts = st.lists(st.integers(0, 3), min_size=1, max_size=8)


def slow_edges(clean: list[int], corrupt: list[int]) -> set[tuple[int, int]]:
    """The rule spelt out: common start, common end, and the last tokens of the middle."""
    start = 0
    while start < min(len(clean), len(corrupt)) and clean[start] == corrupt[start]:
        start += 1
    end = 0
    while end < min(len(clean), len(corrupt)) - start and clean[-1 - end] == corrupt[-1 - end]:
        end += 1
    pairs = {(i, i) for i in range(start)}
    pairs |= {(len(clean) - 1 - i, len(corrupt) - 1 - i) for i in range(end)}
    middle = (len(clean) - end - 1, len(corrupt) - end - 1)
    if min(middle) >= start:
        pairs.add(middle)
    return pairs


@given(prompts, prompts)
def test_edges_match_the_common_ends_and_the_last_of_the_middle(
    clean: list[int], corrupt: list[int]
) -> None:
    if len(clean) == len(corrupt):
        assert match_positions(clean, corrupt, "edges") == tuple((i, i) for i in range(len(clean)))
        return
    found = match_positions(clean, corrupt, "edges")
    assert set(found) == slow_edges(clean, corrupt)
    assert list(found) == sorted(found)
    assert len({a for a, _ in found}) == len({b for _, b in found}) == len(found)


def test_unequal_lengths_are_never_zipped() -> None:
    with pytest.raises(ValueError, match="unequal"):
        match_positions([1, 2], [1, 2, 3], "exact")


def test_the_refusal_shows_both_rows_and_where_they_part() -> None:
    message = str(unequal_lengths_error(["A", " b", " c"], ["A", " b", " d", " e"]))
    assert "3 tokens and the corrupted one 4" in message
    assert "first differ at position 2" in message
    assert "A | ·b | >>> ·c" in message
    assert "A | ·b | >>> ·d | ·e" in message


@given(prompts, prompts)
def test_what_differs_lies_between_the_common_start_and_the_common_end(
    clean: list[int], corrupt: list[int]
) -> None:
    span = differing_range(clean, corrupt)
    end = len(clean) - span.stop
    assert clean[: span.start] == corrupt[: span.start]
    assert clean[span.stop :] == corrupt[len(corrupt) - end :]
    matched = {one for one, _ in slow_edges(clean, corrupt)}
    assert set(range(len(clean))) - matched == set(span[:-1] if span.stop - 1 in matched else span)
