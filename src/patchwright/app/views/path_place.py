"""What path patching says of one sender, and what of a cell can receive."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from patchwright.algorithms.paths import RECEIVERS
from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import usable_effect
from patchwright.app import build_experiment
from patchwright.app.results import result_of
from patchwright.app.views import controls, inspector
from patchwright.figures.grid import Grid, grid_of
from patchwright.methods import METHODS
from patchwright.methods.patch import Patch
from patchwright.methods.paths import LOGITS, PathPatch
from patchwright.model.load import Model
from patchwright.places import check_site, n_heads_of, parse_place
from patchwright.spelling import percent

ON_THE_WAY_NAMES = {"recompute": "recomputed", "freeze": "frozen"}


def receiver_at(place: str, kind: str, result: Result, model: Model) -> str:
    """What of a cell's head or MLP would receive; nothing where no sender lies below it."""
    receiver = named_receiver(place, kind, model)
    if not receiver:
        return ""
    followed = path_experiment(result).model_copy(update={"receivers": (receiver,)})
    reached = any(
        followed.can_have_effect(layer, model.spec.parallel) for layer in row_layers(result)
    )
    return receiver if reached else ""


def named_receiver(place: str, kind: str, model: Model) -> str:
    """The queries, keys, values or MLP (`kind`) at a cell; of an MLP itself, of embeddings nothing."""
    one = parse_place(place)
    if one.site == "embed":
        return ""
    site = check_site("mlp_out" if one.site == "mlp_out" else kind)
    head = None
    if one.head is not None and site != "mlp_out":
        head = one.head * n_heads_of(site, model.spec) // model.spec.n_heads
    return str(replace(one, site=site, head=head))


def receiving_places(receivers: Sequence[str], grid: Grid, model: Model) -> list[str]:
    """The cells of the map that receive."""
    layers = {parse_place(one).layer for one in receivers}
    return [
        place
        for row in grid.places
        if parse_place(row[0]).layer in layers
        for place in row
        if any(named_receiver(place, kind, model) in receivers for kind in RECEIVERS)
    ]


def path_experiment(result: Result) -> PathPatch:
    """The experiment of a result."""
    found = METHODS.experiment_of_result(result)
    assert isinstance(found, PathPatch), "the tab shows no other results"
    return found


def row_layers(result: Result) -> list[int]:
    """The layer of each row of the map."""
    return [parse_place(row[0]).layer or 0 for row in grid_of(result).places]


def unreached_senders(result: Result, model: Model) -> set[str]:
    """The senders from which nothing reaches a receiver."""
    reaches = partial(path_experiment(result).can_have_effect, parallel=model.spec.parallel)
    rows = zip(row_layers(result), grid_of(result).places, strict=True)
    return {place for layer, row in rows if not reaches(layer) for place in row}


def legend(result: Result, centred: bool) -> str:
    """What the colour bar's numbers are."""
    if not centred:
        return f"{controls.METRIC_NAMES[result.experiment['metric']]} (A and B are too close for shares)"
    source, target = source_and_target(result)
    return f"share of the way from {target} to {source} through the receivers alone"


def source_and_target(result: Result) -> tuple[str, str]:
    """The letters of the run that is copied from, and of the one that is copied into."""
    return ("A", "B") if result.experiment["direction"] == "denoise" else ("B", "A")


def inspector_data(
    chosen: str, result: Result, cut_off: bool, swept: Patch, model: Model
) -> inspector.Json:
    """A sender for the inspector: what it does through the receivers, and by all ways at once."""
    source, target = source_and_target(result)
    base, other = (
        (result.corrupt, result.clean) if target == "B" else (result.clean, result.corrupt)
    )
    after = math.nan if cut_off else controls.metric_and_effect(result, chosen)[0]
    whole = result_of(build_experiment.patch_together_of(swept, [chosen]), model)
    assert whole.altered is not None, "places changed together are one altered run"
    runs = {f"{target} alone": base, "copied, by all ways": whole.altered, f"{source} alone": other}
    place = parse_place(chosen)
    return {
        "place": chosen,
        "title": inspector.place_title(place, result),
        "sentence": sentence(chosen, result, cut_off),
        "ruler": inspector.ruler_data(source, target, base.metric, other.metric, after),
        "runs": [
            {"name": name, "tokens": inspector.likeliest_tokens(run)} for name, run in runs.items()
        ],
        "facts": [
            ("by all ways at once", all_ways_text(whole)),
            *_frozen_facts(result),
            *inspector.attention_facts(place, swept, model),
            *inspector.ablation_facts(place, swept, model),
        ],
    }


def sentence(chosen: str, result: Result, cut_off: bool) -> str:
    """What a sender does by way of the receivers, with its numbers."""
    done, to = result.experiment, receivers_text(result.experiment["receivers"])
    if cut_off:
        return (
            f"{chosen} lies above every receiver ({to}): what it writes never gets there, so there "
            "is no path and nothing to measure."
        )
    after, effect = controls.metric_and_effect(result, chosen)
    if math.isnan(after):
        return controls.NOT_COMPUTED
    source, target = source_and_target(result)
    share = "" if math.isnan(effect) else f": {percent(effect)} of the way to {source}"
    return (
        f"Copied from {source} into {target}, seen by {to} and nothing else, it moves "
        f"the {controls.METRIC_NAMES[done['metric']]} from {result.base.metric:.2f} to {after:.2f}{share}."
    )


def _frozen_facts(result: Result) -> list[inspector.Fact]:
    done = result.experiment
    mlps, norms = ON_THE_WAY_NAMES[done["mlps"]], ON_THE_WAY_NAMES[done["norms"]]
    return [("on the way", f"heads frozen, MLPs {mlps}, norms {norms}")]


def all_ways_text(whole: Result) -> str:
    """What the same place does when nothing is held."""
    effect = float(usable_effect(whole))
    share = "" if math.isnan(effect) else f", {percent(effect)} of the gap"
    return f"to {float(whole.patched):.2f}{share} (as on Patch)"


def receivers_text(receivers: list[str]) -> str:
    """The receivers in words."""
    return "the logits" if LOGITS in receivers else " and ".join(receivers)
