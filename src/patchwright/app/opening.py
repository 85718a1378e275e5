"""Which page shows an experiment, and the controls that make it do so; no widgets here."""

from collections.abc import Sequence
from typing import Any

from patchwright.app.state import SEPARATOR
from patchwright.experiment import (
    Ablate,
    AblateTogether,
    AnyExperiment,
    Attention,
    Attribute,
    Difference,
    EdgeAttribution,
    EvaluateCircuit,
    HeadScores,
    LogitAttribution,
    Patch,
    PatchTogether,
    PathPatch,
    Trace,
)
from patchwright.methods.paths import LOGITS
from patchwright.methods.result import Result
from patchwright.prompts.pair import Pair

Controls = dict[str, Any]


def opened(experiment: AnyExperiment, result: Result) -> tuple[str, Controls] | None:
    """The page for an experiment, and what its controls are set to.

    Of several pairs it is the first. An estimate opens the sweep that it estimates. None
    where prompts or answers are token ids, which no text field holds.
    """
    if isinstance(experiment, Trace):
        controls = _traced(experiment, result)
        return None if controls is None else ("trace", controls)
    controls = _pair(experiment.pair_list[0])
    if controls is None:
        return None
    controls |= {"model": experiment.model, "metric": experiment.metric}
    if isinstance(experiment, Patch | Attribute):
        swept = {"site": experiment.site, "per": experiment.per, "chosen": "", "places": []}
        return "patch", controls | swept | {"direction": experiment.direction} | _layer(experiment)
    if isinstance(experiment, PatchTogether):
        places = list(experiment.places)
        return "patch", controls | {"direction": experiment.direction, "places": places}
    if isinstance(experiment, Ablate | AblateTogether):
        return "ablation", controls | _ablated(experiment)
    if isinstance(experiment, PathPatch):
        return "paths", controls | _paths(experiment)
    if isinstance(experiment, Attention):
        head = f"L{experiment.layer}H{experiment.head}.z"
        return "activations", controls | {"seen_head": head}
    if isinstance(experiment, Difference):
        return "activations", controls | {"seen_site": experiment.site}
    if isinstance(experiment, HeadScores):
        return "activations", controls
    if isinstance(experiment, EdgeAttribution | EvaluateCircuit):
        return "circuit", controls
    part = {"part": experiment.part} if isinstance(experiment, LogitAttribution) else {}
    return "lens", controls | part


def _pair(pair: Pair) -> Controls | None:
    texts = {
        "clean": _text([pair.clean]),
        "corrupt": _text([pair.corrupt]),
        "answer": _text(pair.answers),
        "wrong": _text(pair.wrongs),
    }
    return None if None in texts.values() else {**texts, "align": pair.align}


def _text(given: Sequence[object]) -> str | None:
    """Prompts or answers as a text field holds them; None where one is no text."""
    texts = [one for one in given if isinstance(one, str)]
    return SEPARATOR.join(texts) if len(texts) == len(given) else None


def _layer(experiment: Patch | Attribute | Ablate) -> Controls:
    return {"neuron_layer": experiment.layers[0]} if experiment.layers else {}


def _traced(experiment: Trace, result: Result) -> Controls | None:
    """The subject as the positions that the trace found it at."""
    prompt = experiment.prompt
    both = {"clean": prompt, "corrupt": prompt, "answer": experiment.answer}
    pair = _pair(Pair.model_validate({**both, "wrong": experiment.wrong}))
    return pair and {
        **pair,
        "model": experiment.model,
        "trace_metric": experiment.metric,
        "subject": list(result.details["subject"]),
        "noise": experiment.noise,
        "samples": experiment.samples,
        "window": experiment.window,
        "seed": experiment.seed,
        "sever": experiment.sever or "nothing",
        "trace_chosen": "",
        "subject_tokens": None,
        "subject_cleared": False,
    }


def _ablated(experiment: Ablate | AblateTogether) -> Controls:
    controls: Controls = {
        "how": experiment.how,
        "references": "\n".join(str(one) for one in experiment.prompts),
        "over": "position" if experiment.by_position else "all",
        "draw_seed": experiment.seed,
    }
    if isinstance(experiment, AblateTogether):
        return controls | {"ablated": experiment.places[0] if experiment.places else ""}
    swept = {"ablated_site": experiment.site, "ablated_per": experiment.per, "ablated": ""}
    return controls | swept | _layer(experiment)


def _paths(experiment: PathPatch) -> Controls:
    receivers = [one for one in experiment.receivers if one != LOGITS]
    return {
        "direction": experiment.direction,
        "sender": experiment.site,
        "sender_per": experiment.per,
        "receivers": receivers,
        "mlps": experiment.mlps,
        "norms": experiment.norms,
        "path": "",
    }
