"""What path patching says of one sender, and what of a cell can receive."""

import math
from dataclasses import replace

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import shares
from patchwright.app import build_experiment
from patchwright.app.results import result_of
from patchwright.app.views import controls, inspector
from patchwright.figures.grid import grid_of
from patchwright.methods import METHODS
from patchwright.methods.patch import Patch
from patchwright.methods.paths import LOGITS, PathPatch
from patchwright.model.load import Model
from patchwright.places import check_site, n_heads_of, parse_place
from patchwright.spelling import percent

ON_THE_WAY = {"recompute": "recomputed", "freeze": "frozen"}


def receiver_at(place: str, kind: str, result: Result, model: Model) -> str:
    """What of a cell's head or MLP would receive; nothing where no sender lies below it."""
    one = parse_place(place)
    if one.site == "embed":
        return ""
    site = check_site("mlp_out" if one.site == "mlp_out" else kind)
    head = None
    if one.head is not None and site != "mlp_out":
        head = one.head * n_heads_of(site, model.spec) // model.spec.n_heads
    receiver = str(replace(one, site=site, head=head))
    followed = _asked(result).model_copy(update={"receivers": (receiver,)})
    layers = {parse_place(row[0]).layer or 0 for row in grid_of(result).places}
    return receiver if any(followed.reaches(one, model.spec.parallel) for one in layers) else ""


def _asked(result: Result) -> PathPatch:
    asked = METHODS.asked(result)
    assert isinstance(asked, PathPatch), "the page shows no other results"
    return asked


def without_path(result: Result, model: Model) -> set[str]:
    """The senders from which nothing reaches a receiver."""
    asked, parallel = _asked(result), model.spec.parallel
    return {
        place
        for row in grid_of(result).places
        for place in row
        if not asked.reaches(parse_place(place).layer or 0, parallel)
    }


def legend(result: Result, centred: bool) -> str:
    """What the colour bar's numbers are."""
    if not centred:
        return f"{result.experiment['metric']} (A and B are too close for shares)"
    source, target = ends(result)
    return f"share of the way from {target} to {source} through the receivers alone"


def ends(result: Result) -> tuple[str, str]:
    """The letters of the run that is copied from, and of the one that is copied into."""
    return ("A", "B") if result.experiment["direction"] == "denoise" else ("B", "A")


def said(chosen: str, result: Result, cut_off: bool, swept: Patch, model: Model) -> inspector.Json:
    """A sender for the inspector: what it does through the receivers, and by all ways at once."""
    source, target = ends(result)
    base, other = (
        (result.corrupt, result.clean) if target == "B" else (result.clean, result.corrupt)
    )
    after = math.nan if cut_off else controls.at_place(result, chosen)[0]
    whole = result_of(build_experiment.together_of(swept, [chosen]), model)
    assert whole.altered is not None, "places changed together are one altered run"
    runs = {f"{target} alone": base, "copied, by all ways": whole.altered, f"{source} alone": other}
    place = parse_place(chosen)
    return {
        "place": chosen,
        "title": inspector.title(place, result),
        "sentence": sentence(chosen, result, cut_off),
        "ruler": inspector.ruler(source, target, base.metric, other.metric, after),
        "runs": [{"name": name, "tokens": inspector.likeliest(run)} for name, run in runs.items()],
        "facts": [
            ("by all ways at once", by_all_ways(whole)),
            *_on_its_way(result),
            *inspector.attention(place, swept, model),
            *inspector.ablated(place, swept, model),
        ],
    }


def sentence(chosen: str, result: Result, cut_off: bool) -> str:
    """What a sender does by way of the receivers, with its numbers."""
    done, to = result.experiment, to_whom(result.experiment["receivers"])
    if cut_off:
        return (
            f"{chosen} lies above every receiver ({to}): what it writes never gets there, so there "
            "is no path and nothing to measure."
        )
    after, effect = controls.at_place(result, chosen)
    if math.isnan(after):
        return controls.NOT_COMPUTED
    source, target = ends(result)
    share = "" if math.isnan(effect) else f": {percent(effect)} of the way to {source}"
    return (
        f"Copied from {source} into {target}, seen by {to} and nothing else, it moves "
        f"{done['metric']} from {result.base.metric:.2f} to {after:.2f}{share}."
    )


def _on_its_way(result: Result) -> list[inspector.Fact]:
    done = result.experiment
    mlps, norms = ON_THE_WAY[done["mlps"]], ON_THE_WAY[done["norms"]]
    return [("on the way", f"heads frozen, MLPs {mlps}, norms {norms}")]


def by_all_ways(whole: Result) -> str:
    """What the same place does when nothing is held."""
    effect = float(shares(whole))
    share = "" if math.isnan(effect) else f", {percent(effect)} of the gap"
    return f"to {float(whole.patched):.2f}{share} (as on Patch)"


def to_whom(receivers: list[str]) -> str:
    """The receivers in words."""
    return "the logits" if LOGITS in receivers else " and ".join(receivers)
