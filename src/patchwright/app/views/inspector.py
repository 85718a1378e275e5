"""What the workbench says of its selected place: words and numbers for the browser, no widgets."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from patchwright.algorithms.result import Baseline, Result
from patchwright.algorithms.scale import shares
from patchwright.app import asked
from patchwright.app.views import kinds
from patchwright.app.work import result_of
from patchwright.errors import PatchwrightError
from patchwright.methods.ablate import AblateTogether
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import SITE_TABLE, Place, parse_place
from patchwright.prompts.tokens import visible
from patchwright.spelling import percent

SHOWN = 3
"""Next tokens of each run, and tokens that a head looks at."""

LETTERS = {"clean": "A", "corrupt": "B"}

Json = dict[str, Any]
Fact = tuple[str, str]


def inspected(place: str, pinned: str, experiment: Patch, swept: Result, model: Model) -> Json:
    """A place: what copying it does, beside both unpatched runs, and what other methods say of it."""
    one = result_of(asked.together_of(experiment, [place]), model)
    assert one.altered is not None, "places patched together are one altered run"
    after, effect = one.altered.metric, float(shares(one))
    if kinds.is_exact(swept, place):
        after, effect = kinds.at_place(swept, place)
    source, target = ("A", "B") if experiment.direction == "denoise" else ("B", "A")
    runs = {
        f"{target} alone": one.base,
        f"{target} with the copy": one.altered,
        f"{source} alone": one.clean if source == "A" else one.corrupt,
    }
    return {
        "place": place,
        "title": title(parse_place(place), swept),
        "sentence": _sentence(source, target, one, after, effect),
        "ruler": _ruler(source, target, one, after),
        "runs": [
            {"name": name, "tokens": _tokens(run), "strong": run is one.altered}
            for name, run in runs.items()
        ],
        "facts": [
            *facts(place, experiment, one, model),
            *_beside(pinned, place, experiment, swept, model),
        ],
        "isPinned": place == pinned,
    }


def title(place: Place, swept: Result) -> str:
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


def _sentence(source: str, target: str, one: Result, after: float, effect: float) -> str:
    """What the copy did, with its numbers."""
    metric = one.experiment["metric"]
    moved = f"moves {metric} from {one.base.metric:.2f} to {after:.2f}"
    share = "" if math.isnan(effect) else f": {percent(effect)} of the way to {source}"
    return f"Copied from {source} into {target}, it {moved}{share}."


def _ruler(source: str, target: str, one: Result, after: float) -> Json | None:
    """Where the altered run stands between both unpatched ones."""
    low, high = one.base.metric, (one.clean if source == "A" else one.corrupt).metric
    if not all(map(math.isfinite, (low, high, after))) or low == high:
        return None
    return {
        "low": low,
        "high": high,
        "value": after,
        "from": f"{target} {low:.1f}",
        "to": f"{source} {high:.1f}",
        "said": f"{target} {low:.2f}, with the copy {after:.2f}, {source} {high:.2f}",
    }


def _tokens(run: Baseline) -> list[tuple[str, float]]:
    return [(visible(str(one["token"])), float(one["probability"])) for one in run.top[:SHOWN]]


def facts(place: str, experiment: Patch, one: Result, model: Model) -> list[Fact]:
    """What other methods say of the place; one that cannot be asked says nothing."""
    parsed = parse_place(place)
    told: list[Fact] = []
    ways: Sequence[Callable[[], list[Fact]]] = (
        lambda: _attention(parsed, experiment, model),
        lambda: _ablated(place, experiment, model),
        lambda: _direct(parsed, experiment, model),
        lambda: _logits(one),
    )
    for way in ways:
        try:
            told += way()
        except PatchwrightError:
            continue
    return told


def _attention(place: Place, experiment: Patch, model: Model) -> list[Fact]:
    """Where a head looks from the place's position, in both runs."""
    if place.head is None or place.layer is None or place.site in ("k", "v"):
        return []
    found = result_of(asked.attention_of(experiment, place.layer, place.head), model)
    at = -1 if place.position is None else place.position
    told: list[Fact] = []
    for run, letter in LETTERS.items():
        shares_of = found.array("pattern").sel(run=run).values[at]
        texts = [visible(str(text)) for text in found.tokens[run]]
        best = sorted(range(len(texts)), key=lambda key: -shares_of[key])[:SHOWN]
        seen = ", ".join(
            f"{texts[key]} {percent(float(shares_of[key]))}"
            for key in best
            if shares_of[key] > 0.05
        )
        told.append((f"in {letter} looks from {texts[at]} at", seen or "nothing in particular"))
    return told


def _ablated(place: str, experiment: Patch, model: Model) -> list[Fact]:
    """What is lost of the answer in A when the place is set to zero."""
    fields = {name: getattr(experiment, name) for name in ("model", "pairs", "metric", "bos")}
    one = result_of(AblateTogether.of({**fields, "places": (place,)}), model)
    effect = float(shares(one))
    return (
        [] if math.isnan(effect) else [("set to zero in A", f"{percent(effect)} of the gap lost")]
    )


def _direct(place: Place, experiment: Patch, model: Model) -> list[Fact]:
    """What a head writes toward the answer by itself, at the last position."""
    if place.head is None or place.layer is None or place.site != "z":
        return []
    found = result_of(asked.attribution_of(experiment, "head"), model).array("contribution")
    of_head = found.sel({"layer": place.layer, "head": place.head})
    values = [float(of_head.sel(run=run)) for run in LETTERS]
    said = ", ".join(
        f"{value:+.2f} in {letter}" for value, letter in zip(values, LETTERS.values(), strict=True)
    )
    return [("writes to the answer directly", f"{said} (logits)")]


def _logits(one: Result) -> list[Fact]:
    """Both answers' logits, before and after: a difference also grows where one is damaged."""
    before, after = one.base, one.altered
    if after is None or after.wrong_logit is None or before.wrong_logit is None:
        return []
    return [
        ("logit of the answer", f"{before.answer_logit:.2f} → {after.answer_logit:.2f}"),
        ("of the wrong answer", f"{before.wrong_logit:.2f} → {after.wrong_logit:.2f}"),
    ]


def _beside(pinned: str, place: str, experiment: Patch, swept: Result, model: Model) -> list[Fact]:
    """The pinned place's effect, and how far the selected one is from it."""
    if not pinned or pinned == place:
        return []
    try:
        effects = [_effect(one, experiment, swept, model) for one in (pinned, place)]
    except PatchwrightError:
        return []
    if any(map(math.isnan, effects)):
        return []
    apart = 100 * (effects[1] - effects[0])
    return [("pinned", f"{pinned}: {percent(effects[0])}; this one is {apart:+.0f} points from it")]


def _effect(place: str, experiment: Patch, swept: Result, model: Model) -> float:
    if kinds.is_exact(swept, place):
        return kinds.at_place(swept, place)[1]
    return float(shares(result_of(asked.together_of(experiment, [place]), model)))
