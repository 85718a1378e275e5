"""What the workbench says of its selected place: words and numbers for the browser, no widgets."""

import math
from collections.abc import Callable
from typing import Any

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import Baseline, Result
from patchwright.algorithms.scale import usable_effect
from patchwright.app import build_experiment
from patchwright.app.results import result_of
from patchwright.app.views import controls
from patchwright.errors import PatchwrightError
from patchwright.methods.ablate import AblateTogether
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import SITE_TABLE, Place
from patchwright.prompts.pair import Pair
from patchwright.prompts.tokens import visible
from patchwright.spelling import percent

TOKENS_SHOWN = 3
"""Next tokens of each run, and tokens that a head looks at."""

LETTERS = {"clean": "A", "corrupt": "B"}

Json = dict[str, Any]
Fact = tuple[str, str]


def change_data(
    source: str, target: str, change: str, altered: str, one: Result, swept: Result
) -> Json:
    """What `one` altered run does: a sentence, where it stands between both runs, and its tokens.

    The numbers of a cell that was `swept` are the sweep's own.
    """
    assert one.altered is not None, "places changed together are one altered run"
    after, effect = one.altered.metric, float(usable_effect(one))
    place = str(one.experiment["places"][0])
    if controls.is_exact(swept, place):
        after, effect = controls.metric_and_effect(swept, place)
    runs = runs_of(source, target, altered, one)
    base, _, other = runs.values()
    metric = METRIC_TABLE[one.experiment["metric"]]
    gap = f"{abs(other.metric - base.metric):.3g}{metric.unit.suffix}"
    share = "" if math.isnan(effect) else f": {percent(effect)} of the way to {source} ({gap})"
    return {
        "sentence": f"{change}, it moves the {metric.label} from {base.metric:.2f} to {after:.2f}{share}.",
        "ruler": ruler_data(source, target, base.metric, other.metric, after),
        "runs": [
            {"name": name, "tokens": likeliest_tokens(run), "strong": run is one.altered}
            for name, run in runs.items()
        ],
    }


def runs_of(source: str, target: str, altered: str, one: Result) -> dict[str, Baseline]:
    """The run that is changed, as changed, and the other one, by what each is called."""
    assert one.altered is not None, "places changed together are one altered run"
    base, other = (one.corrupt, one.clean) if target == "B" else (one.clean, one.corrupt)
    return {f"{target} alone": base, altered: one.altered, f"{source} alone": other}


def place_title(place: Place, swept: Result) -> str:
    """A place in words: `Layer 3, head 1, at ·to`."""
    parts = [] if place.layer is None else [f"Layer {place.layer}"]
    if place.head is not None:
        parts.append(f"head {place.head}")
    if place.head is None or place.site != "z":
        parts.append(SITE_TABLE[place.site].label)
    if place.neuron is not None:
        parts.append(f"neuron {place.neuron}")
    if place.position is not None:
        parts.append(f"at {_token_at(place.position, swept)}")
    words = ", ".join(parts)
    return words[:1].upper() + words[1:]


def _token_at(position: int, swept: Result) -> str:
    texts = {run: [visible(str(one)) for one in swept.tokens[run]] for run in LETTERS}
    seen = {texts[run][position]: None for run in LETTERS if position < len(texts[run])}
    return "→".join(seen) if len(texts["clean"]) == len(texts["corrupt"]) else f"token {position}"


def ruler_data(source: str, target: str, low: float, high: float, after: float) -> Json | None:
    """Where the altered run stands between both unpatched ones."""
    if not all(map(math.isfinite, (low, high, after))) or low == high:
        return None
    return {
        "low": low,
        "high": high,
        "value": after,
        "from": f"{target} {low:.3g}",
        "to": f"{source} {high:.3g}",
        "said": f"{target} {low:.2f}, changed {after:.2f}, {source} {high:.2f}",
    }


def likeliest_tokens(run: Baseline) -> list[tuple[str, float]]:
    """A run's likeliest next tokens, with their probabilities."""
    return [
        (visible(str(one["token"])), float(one["probability"])) for one in run.top[:TOKENS_SHOWN]
    ]


FactFinder = Callable[[Place, Patch, Model], list[Fact]]


def _empty_if_impossible(ask: FactFinder) -> FactFinder:
    """Nothing about a place of which a method cannot be asked: the rest is still said.

    Prompts of unequal length have different tokens at one position, so that a place with a
    position is another one in the other run.
    """

    def wrapper(place: Place, experiment: Patch, model: Model) -> list[Fact]:
        assert isinstance(experiment.pairs, Pair), "the page has one pair"
        if experiment.pairs.align == "edges" and place.position is not None:
            return []
        try:
            return ask(place, experiment, model)
        except PatchwrightError:
            return []

    return wrapper


@_empty_if_impossible
def attention_facts(place: Place, experiment: Patch, model: Model) -> list[Fact]:
    """Where a head looks from the place's position, in both runs."""
    if place.head is None or place.layer is None or place.site in ("k", "v"):
        return []
    found = result_of(build_experiment.attention_of(experiment, place.layer, place.head), model)
    at = -1 if place.position is None else place.position
    told: list[Fact] = []
    for run, letter in LETTERS.items():
        shares_of = found.array("pattern").sel(run=run).values[at]
        texts = [visible(str(text)) for text in found.tokens[run]]
        best = sorted(range(len(texts)), key=lambda key: -shares_of[key])[:TOKENS_SHOWN]
        seen = ", ".join(
            f"{texts[key]} {percent(float(shares_of[key]))}"
            for key in best
            if shares_of[key] > 0.05
        )
        told.append((f"in {letter} looks from {texts[at]} at", seen or "nothing in particular"))
    return told


@_empty_if_impossible
def ablation_facts(place: Place, experiment: Patch, model: Model) -> list[Fact]:
    """What is lost of the answer in A when the place is set to zero."""
    fields = build_experiment.common_fields(experiment)
    one = result_of(AblateTogether.of({**fields, "places": (str(place),)}), model)
    effect = float(usable_effect(one))
    return (
        [] if math.isnan(effect) else [("set to zero in A", f"{percent(effect)} of the gap lost")]
    )


@_empty_if_impossible
def copy_facts(place: Place, experiment: Patch, model: Model) -> list[Fact]:
    """What comes back of the answer in B when the place is copied from A."""
    asked_for = experiment.model_copy(update={"direction": "denoise"})
    one = result_of(build_experiment.patch_together_of(asked_for, [str(place)]), model)
    effect = float(usable_effect(one))
    return [] if math.isnan(effect) else [("copied from A into B", f"{percent(effect)} of the gap")]


@_empty_if_impossible
def direct_facts(place: Place, experiment: Patch, model: Model) -> list[Fact]:
    """What a head writes toward the answer by itself, at the last position."""
    if place.head is None or place.layer is None or place.site != "z":
        return []
    found = result_of(build_experiment.attribution_of(experiment, "head"), model).array(
        "contribution"
    )
    of_head = found.sel({"layer": place.layer, "head": place.head})
    values = [float(of_head.sel(run=run)) for run in LETTERS]
    said = ", ".join(
        f"{value:+.2f} in {letter}" for value, letter in zip(values, LETTERS.values(), strict=True)
    )
    return [("writes to the answer directly", f"{said} (logits)")]


def logit_facts(one: Result) -> list[Fact]:
    """Both answers' logits, before and after: a difference also grows where one is damaged."""
    before, after = one.base, one.altered
    if after is None or after.wrong_logit is None or before.wrong_logit is None:
        return []
    return [
        ("logit of the answer", f"{before.answer_logit:.2f} → {after.answer_logit:.2f}"),
        ("of the wrong answer", f"{before.wrong_logit:.2f} → {after.wrong_logit:.2f}"),
    ]


def pin_facts(pinned: str, before: float, now: float, run: str = "") -> list[Fact]:
    """The effect of the pinned place, maybe of another `run`, and how far the selected one is from it."""
    if math.isnan(before) or math.isnan(now):
        return []
    where = f"{pinned} ({run})" if run else pinned
    points = f"this one is {100 * (now - before):+.0f} points from it"
    what = "pinned in another run" if run else "pinned"
    return [(what, f"{where}: {percent(before)}; {points}")]


def with_mark(ruler: Json | None, effect: float) -> Json | None:
    """A ruler that also shows where a pinned place of this `effect` leads; by shares, as all runs have them."""
    if ruler is None or math.isnan(effect):
        return ruler
    return {**ruler, "mark": ruler["low"] + effect * (ruler["high"] - ruler["low"])}
