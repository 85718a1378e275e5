"""Which pairs are one and the same, and that every result over pairs says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from every_method import CLEAN, CORRUPT, PAIR, every_experiment
from patchwright.algorithms.duplicates import MOST_NAMED, duplicate_notices, groups_of
from patchwright.experiment.run import run
from tiny import pair_of, random_gpt2

TINY = pw.wrap_model(random_gpt2(seed=0, n_layer=1), name="tiny")

BACK = pw.Pair(clean=CORRUPT, corrupt=CLEAN, answer=" John", wrong=" Mary")
OTHER = pw.Pair(
    clean=CLEAN.replace("Mary", "Anna"), corrupt=CORRUPT.replace("Mary", "Anna"),
    answer=" Anna", wrong=" John",
)  # fmt: skip
DIFFERENT = (PAIR, OTHER)


def said(result: pw.Result) -> list[str]:
    return [one["message"] for one in result.warnings if one["code"] == "duplicate_pairs"]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(4, 7), st.booleans()), min_size=2, max_size=8)
)
def test_pairs_are_grouped_by_their_two_prompts_in_either_order(
    drawn: list[tuple[int, int, bool]],
) -> None:
    pairs = [
        pair_of([b, 9] if back else [a, 9], [a, 9] if back else [b, 9]) for a, b, back in drawn
    ]
    result = pw.patch(TINY, pairs, "resid_post", "layer", layers=[0], bos=False)
    kinds = [frozenset(one[:2]) for one in drawn]
    groups = groups_of(result)
    assert groups == [list(dict.fromkeys(kinds)).index(kind) for kind in kinds]
    assert bool(said(result)) == (len(set(kinds)) < len(kinds))


@pytest.mark.parametrize("method", [name for name in every_experiment() if name != "trace"])
def test_every_method_over_pairs_names_duplicates(method: str, demo: pw.Model) -> None:
    pairs = (PAIR, OTHER, PAIR, BACK)
    (message,) = said(run(every_experiment(pairs)[method], demo))
    assert message == (
        "These pairs have the same two prompts: 1, 3, 4. Means are over all 4 pairs, but only 2 are "
        "different: intervals and tests count each different pair once."
    )
    assert said(run(every_experiment(DIFFERENT)[method], demo)) == []


def test_other_answers_to_the_same_prompts_are_the_same_two_runs(demo: pw.Model) -> None:
    other = PAIR.model_copy(update={"answer": (" John",), "wrong": (" Mary",)})
    assert groups_of(pw.patch(demo, [PAIR, other], "z")) == [0, 0]


def test_means_are_over_all_pairs(demo: pw.Model) -> None:
    result = pw.patch(demo, [PAIR, PAIR, OTHER], "z")
    whole = (2 * result.patched[0] + result.patched[2]) / 3
    assert float(abs(result.averaged().patched - whole).max()) < 1e-6


def test_one_pair_or_one_prompt_has_no_duplicate(demo: pw.Model) -> None:
    assert groups_of(pw.patch(demo, PAIR, "z")) == [0]
    assert groups_of(pw.patch(demo, [PAIR], "z")) == [0]
    assert duplicate_notices(run(every_experiment()["trace"], demo)) == []


def test_a_long_list_of_duplicates_is_cut_short() -> None:
    kinds = [(a, a + 20) for a in range(8)] * 7
    pairs = [pair_of([a, 9], [b, 9]) for a, b in kinds]
    (message,) = said(pw.patch(TINY, pairs, "resid_post", "layer", layers=[0], bos=False))
    assert "1, 9, 17, 25, 33 and 2 more; 2, 10" in message
    assert f"; and {8 - MOST_NAMED} more groups. Means are over all 56 pairs, but only 8" in message
