"""Every number in a text is the rounding of one that the results have, whatever the results."""

import math
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patchwright as pw
from handmade_results import attends, baseline, made
from patchwright.algorithms.result import Baseline
from patchwright.axes import DIMS, DIRECTIONS, METRICS
from patchwright.insights import Insights, Sentence, heads_to_look_at, insights
from patchwright.places import SITES, parse_place, pers_of
from patchwright.prompts.examples import examples
from patchwright.prompts.tokens import quoted_token, visible
from patchwright.warnings import Notice

TOKENS = [" Mary", "'", "7 %", "", "\n", "<b>12</b>", "L0H0.z@1", "\x000\x00", "{0}", "nan"]
PLACES = re.compile(
    r"\b(?:L\d+(?:H\d+)?\.)?[a-z_]+(?:\[\d+\])?@\d+|\bL\d+(?:H\d+)?\.[a-z_]+(?:\[\d+\])?"
)
NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:e[+-]\d+)?)( %)?")


def check(said: Insights, tokens: list[str], warnings: list[str]) -> None:
    """Each text's numbers are those that the sentence carries, in order, rounded."""
    for one in (*said.steps, *said.cautions):
        if not one.numbers and any(one.text.endswith(warning) for warning in warnings):
            continue
        assert one.text.isprintable()
        text = one.text
        for token in sorted({*tokens, *map(visible, tokens)}, key=len, reverse=True):
            text = text.replace(quoted_token(token), "TOKEN")
        assert not re.search(r"\b(nan|inf|None)\b", text)
        printed = NUMBER.findall(PLACES.sub("PLACE", text))
        assert len(printed) == len(one.numbers), one
        for (number, percent), value in zip(printed, one.numbers, strict=True):
            assert is_rounding(number, value * (100 if percent else 1)), (one, number, value)
        if one.place is not None:
            parse_place(one.place)


def is_rounding(printed: str, value: float) -> bool:
    """Whether `value` lies within half a unit of the last digit of `printed`."""
    exponent = Decimal(printed).as_tuple().exponent
    assert isinstance(exponent, int)
    return abs(float(printed) - value) <= 0.5 * 10.0**exponent * (1 + 1e-6) + 1e-9


def test_the_oracle_knows_a_rounding() -> None:
    assert is_rounding("91", 91.4)
    assert not is_rounding("91", 91.6)
    assert is_rounding("1.235e+04", 12347.0)
    assert not is_rounding("0.0", 0.06)
    with pytest.raises(AssertionError):
        check(Insights((Sentence("x", "It is 5 %.", None, (0.06,)),), ()), [], [])
    with pytest.raises(AssertionError):
        check(Insights((Sentence("x", "It is nan.", None, ()),), ()), [], [])


number = st.floats(-50, 50).map(lambda value: float(f"{value:.4g}"))
effect = st.one_of(st.just(float("nan")), st.sampled_from([0.0, 0.5, 1.0, -1.0]), st.floats(-2, 2))


@st.composite
def runs(draw: st.DrawFn, n_pairs: int | None) -> Any:
    """What `baseline` takes; of several pairs their mean, and what it takes for each."""
    values = draw(st.lists(number, min_size=n_pairs or 1, max_size=n_pairs or 1))
    rank = draw(st.sampled_from([None, 1, 7]))
    logits = None if draw(st.booleans()) else (draw(number), draw(number))
    token, chance = draw(st.sampled_from(TOKENS)), draw(st.floats(0, 1))
    each = [(value, token, chance, rank, logits) for value in values]
    if n_pairs is None:
        return each[0]
    return float(np.mean(values)), "", chance, rank, logits, each


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """What `results_of` takes: a random main sweep, and some of the others."""
    n_pairs = draw(st.one_of(st.none(), st.integers(1, 3)))
    n_layers, n_heads, n = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    unequal = draw(st.booleans())
    direction = draw(st.sampled_from(DIRECTIONS))
    prompts = [
        [draw(st.sampled_from(TOKENS)) for _ in range(n + (1 if longer and unequal else 0))]
        for longer in (direction == "denoise", direction == "noise")
    ]
    shared: dict[str, Any] = {
        "clean": draw(runs(n_pairs)),
        "corrupt": draw(runs(n_pairs)),
        "tokens": tuple(one if n_pairs is None else [one] * n_pairs for one in prompts),
        "direction": direction,
        "metric": draw(st.sampled_from(METRICS)),
        "warnings": draw(
            st.lists(
                st.sampled_from([Notice(code=c, message=f"{c} 3.") for c in ("stopped", "odd")]),
                max_size=6,
            )
        ),
    }
    answers = draw(st.sampled_from([[" Mary"], [3], [" Mary", "7 %"]]))
    pair = {
        "clean": "a",
        "corrupt": "b",
        "answer": answers,
        "wrong": draw(st.sampled_from([[], ["'"]])),
    }
    shared["pairs"] = pair if n_pairs is None else [pair] * n_pairs
    sizes = {"layer": n_layers, "position": n, "head": n_heads, "neuron": 2}

    def swept(site: str, per: str) -> dict[str, Any]:
        shape = tuple(1 if site == "embed" and d == "layer" else sizes[d] for d in DIMS[per])  # pyright: ignore[reportArgumentType]
        shape = shape if n_pairs is None else (n_pairs, *shape)
        size = math.prod(shape)
        effects = draw(st.lists(effect, min_size=size, max_size=size))
        marks = draw(st.sampled_from([None, 0, 1]))
        method = draw(st.sampled_from(["patch", "attribute"]))
        values = np.reshape(effects, shape)
        of = {"effects": values, "site": site, "per": per, "estimated": marks, "method": method}
        return of | shared

    site = draw(st.sampled_from(SITES))
    found: dict[str, Any] = {"main": swept(site, draw(st.sampled_from(pers_of(site))))}
    others = {"stream": ("resid_pre", "position"), "heads": ("z", "head")}
    others["acting"] = ("z", "head_position")
    for name, (of, per) in others.items():
        if draw(st.booleans()):
            found[name] = swept(of, per)
    if not unequal and "heads" in found:
        weights = draw(st.lists(st.floats(0, 1), min_size=n * n, max_size=n * n))
        rows = np.reshape(weights, (n, n))
        found["patterns"] = dict.fromkeys(range(n_heads), (rows, rows.T))
    return found


def results_of(case: dict[str, Any]) -> dict[str, Any]:
    """What `insights` takes, made of what was drawn."""
    found: dict[str, Any] = {}
    for name, drawn in case.items():
        if name != "patterns":
            runs = {run: built(*drawn[run]) for run in ("clean", "corrupt")}
            found[name] = made(**drawn | runs)
    found["patterns"] = {
        f"L0H{head}.z": attends(0, head, *rows, like=found["main"])
        for head, rows in case.get("patterns", {}).items()
    }
    return found


def built(*drawn: Any) -> Baseline:
    """A drawn baseline."""
    *parts, pairs = drawn if len(drawn) == 6 else (*drawn, ())
    return baseline(*parts, pairs=[built(*one) for one in pairs])


@settings(max_examples=300)
@given(cases())
def test_texts_say_only_numbers_that_the_results_have(case: dict[str, Any]) -> None:
    given_results = results_of(case)
    said = insights(**given_results)
    assert said == insights(**results_of(case))
    texts = [*TOKENS, "[3]"]
    check(said, texts, ["stopped 3.", "odd 3."])
    if "heads" in given_results:
        named = heads_to_look_at(given_results["heads"])
        assert len(named) == len(set(named)) <= 5


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "name", ["ioi", "eiffel-tower", "greater-than", "belief-or-truth", "capital-many-tokens"]
)
def test_on_the_demo_model_each_text_says_what_the_cells_hold(
    demo: pw.Model, name: str, direction: str
) -> None:
    (example,) = (one for one in examples() if one.id == name)
    asked: dict[str, Any] = {"direction": direction, "metric": example.metric}
    main = pw.patch(demo, example.pair, **asked)
    heads = pw.patch(demo, example.pair, "z", **asked)
    found = {place: parse_place(place) for place in heads_to_look_at(heads)}
    patterns = {
        place: pw.attention(demo, example.pair, one.layer or 0, one.head or 0)
        for place, one in found.items()
    }
    said = insights(main, heads=heads, patterns=patterns)
    tokens = [str(token) for texts in main.tokens.values() for token in texts]
    tops = [one["token"] for run in (main.clean, main.corrupt) for one in run.top]
    answers = [str(one) for one in (*example.pair.answers, *example.pair.wrongs)]
    check(said, [*tokens, *tops, *answers], [one["message"] for one in main.warnings])
    cells = {
        row["place"]: row["effect"]
        for result in (main, heads)
        for row in result.table().to_dict("records")
    }
    codes = ("enters", "arrives", "heads_carry", "conclusion")
    spoken = [one for one in said.steps if one.code in codes]
    assert len(spoken) >= 2
    for one in spoken:
        assert cells[one.place or ""] in one.numbers
    strongest = max((place for place in cells if ".z" in place), key=lambda place: cells[place])
    (carrying,) = (one for one in said.steps if one.code == "heads_carry")
    assert carrying.place == strongest
    assert sum(one.code.startswith("attention") for one in said.steps) == len(patterns)


def test_on_the_demo_model_the_name_enters_at_the_giver_and_moves_in_the_first_layer(
    demo: pw.Model,
) -> None:
    (example,) = (one for one in examples() if one.id == "ioi")
    said = {one.code: one for one in insights(pw.patch(demo, example.pair)).steps}
    assert said["enters"].place == "L0.resid_pre@10"
    assert said["moves"].text.startswith(
        "Layer 0 moves it to the last token, position 14 (` to`). Before that layer,"
    )


def test_on_the_demo_model_many_pairs_unequal_lengths_estimates_and_stopped_sweeps(
    demo: pw.Model,
) -> None:
    by_id = {one.id: one for one in examples()}
    ioi = by_id["ioi"].pair
    swapped = pw.Pair(clean=ioi.corrupt, corrupt=ioi.clean, answer=ioi.wrong, wrong=ioi.answer)
    unequal = by_id["capital-unequal"]
    results = {
        "means": pw.patch(demo, [ioi, swapped]),
        "unequal_lengths": pw.patch(demo, unequal.pair, metric=unequal.metric),
        "estimate": pw.patch(demo, ioi, order="attribution", max_exact=3),
        "stopped": pw.patch(demo, ioi, progress=lambda progress: progress.done < 40),
    }
    for code, result in results.items():
        said = insights(result)
        assert code in {one.code for one in said.cautions}
        texts = result.tokens.values()
        tokens = [
            t for some in texts for one in some for t in ([one] if isinstance(one, str) else one)
        ]
        tops = [one["token"] for run in (result.clean, result.corrupt) for one in run.top]
        answers = [str(one) for one in (*unequal.pair.answers, *ioi.answers, *ioi.wrongs)]
        check(said, [*tokens, *tops, *answers], [one["message"] for one in result.warnings])
    assert "an estimated" in " ".join(one.text for one in insights(results["estimate"]).steps)
