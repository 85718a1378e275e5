"""What a Result shows, in numbered sentences that carry their numbers; no language model.

sentences   Sentence, and how numbers are written into one
sweep_view  one sweep as the rules look at it: cells, columns, tokens
steps       from what the runs predict to which heads carry the difference
cautions    when not to trust it
circuits    what a circuit keeps, and how far estimates of its edges are off

The same Results always give the same words: rules only compare numbers, and ties
go to the place that comes first. `docs/methods/insights.md` lists every rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from patchwright.algorithms.result import Result
from patchwright.errors import ExperimentError
from patchwright.insights.cautions import cautions
from patchwright.insights.sentences import Sentence
from patchwright.insights.steps import CONCLUSION, Sources, steps
from patchwright.insights.sweep_view import SweepView
from patchwright.places import parse_place

__all__ = ["Insights", "Sentence", "heads_to_look_at", "insights"]

CARRYING_HEADS, OPPOSING_HEADS = 3, 2
"""Of how many heads the attention is worth a look."""


@dataclass(frozen=True)
class Insights:
    """Steps from the prompts to a conclusion, and cautions; both in reading order."""

    steps: tuple[Sentence, ...]
    cautions: tuple[Sentence, ...]

    @property
    def conclusion(self) -> Sentence | None:
        """The step that sums up the others; None where they allow no conclusion."""
        return next((step for step in self.steps if step.code == CONCLUSION), None)


def insights(
    main: Result,
    stream: Result | None = None,
    heads: Result | None = None,
    patterns: Mapping[str, Result] = {},
    acting: Result | None = None,
) -> Insights:
    """What a sweep shows, and when not to trust it.

    `main` is any result of `patch` (or `attribute`). The others are of the same pairs,
    direction and metric, and `main` serves as any of them that it can be: `stream`
    patches `resid_pre` per position, `heads` `z` per head, `acting` `z` per
    head_position (at least of the heads in `patterns`). `patterns` has the `attention`
    result of heads by place, such as "L9H6.z". Without a result, nothing is said about it.
    Raises ExperimentError for a result of another kind, or of another experiment.
    """
    _check_sweep("main", main, None, None, main)
    found = {
        what: _find_view(what, given, site, per, main)
        for what, given, site, per in (
            ("stream", stream, "resid_pre", "position"),
            ("heads", heads, "z", "head"),
            ("acting", acting, "z", "head_position"),
        )
    }
    for place, pattern in patterns.items():
        _check_pattern(place, pattern, main)
    reading = SweepView(main)
    sources = Sources(reading, found["stream"], found["heads"], found["acting"], patterns)
    said = tuple(steps(sources))
    return Insights(said, tuple(cautions(sources, said)))


def heads_to_look_at(heads: Result) -> tuple[str, ...]:
    """Heads whose attention is worth computing: the strongest that carry, then that oppose.

    `heads` is a sweep of `z` per head. Places such as "L9H6.z", at most five; none where
    the gap is flat, or where prompts of unequal length have no patterns to compare.
    Raises ExperimentError for another kind of result.
    """
    _check_sweep("heads", heads, "z", "head", heads)
    reading = SweepView(heads)
    if not reading.has_equal_lengths:
        return ()
    chosen = [*reading.carrying_cells[:CARRYING_HEADS], *reading.opposing_cells[:OPPOSING_HEADS]]
    return tuple(cell.place for cell in chosen)


def _find_view(
    what: str, given: Result | None, site: str, per: str, main: Result
) -> SweepView | None:
    """The view of `given`, or of `main` if it is a sweep of this kind; else None."""
    if given is not None:
        _check_sweep(what, given, site, per, main)
        return SweepView(given)
    asked = main.experiment
    return SweepView(main) if (asked["site"], asked["per"]) == (site, per) else None


def _check_sweep(what: str, given: Result, site: str | None, per: str | None, main: Result) -> None:
    if given.method not in ("patch", "attribute"):
        raise ExperimentError(
            f"The result given as {what} is of '{given.method}': give a result of `patch`."
        )
    asked = given.experiment
    if asked.get("roles"):
        raise ExperimentError(
            f"The result given as {what} patches roles, and its sentences need every position: "
            "give a sweep without roles."
        )
    if site is not None and (asked["site"], asked["per"]) != (site, per):
        raise ExperimentError(
            f"The result given as {what} patches {asked['site']} per {asked['per']}: give one of "
            f"{site} per {per}."
        )
    _check_same(what, given, main, ("pairs", "bos", "direction", "metric"))


def _check_pattern(place: str, given: Result, main: Result) -> None:
    named, asked = parse_place(place), given.experiment
    if given.method != "attention" or (named.layer, named.head) != (asked["layer"], asked["head"]):
        raise ExperimentError(
            f"The pattern given for '{place}' is not that head's: give the result of `attention` "
            "for its layer and head."
        )
    _check_same(f"pattern of {place}", given, main, ("pairs", "bos"))


def _check_same(what: str, given: Result, main: Result, fields: tuple[str, ...]) -> None:
    differing = [one for one in fields if given.experiment[one] != main.experiment[one]]
    if given.model["fingerprint"] != main.model["fingerprint"]:
        differing.insert(0, "model")
    if differing:
        raise ExperimentError(
            f"The result given as {what} has another {differing[0]} than the main one: give "
            "results of the same model, pairs, direction and metric."
        )
