"""An experiment as the controls of the page that shows it; no widgets here.

What a page cannot say is found by asking it back: for a stored run controls count only
where the page would make the same experiment of them. A lesson is content with the page
that comes nearest.
"""

from collections.abc import Callable, Mapping
from typing import Any

from patchwright.app import asked, state
from patchwright.errors import PatchwrightError
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
    LogitLens,
    Patch,
    PatchTogether,
    PathPatch,
    Trace,
)
from patchwright.experiment.types import OnPairs
from patchwright.methods.paths import LOGITS
from patchwright.methods.result import Result
from patchwright.prompts.pair import Pair

DIGITS = 12
"""Of an experiment's hash, in an address."""

Controls = dict[str, Any]

HOLDS: dict[str, type[AnyExperiment]] = {
    "patch": Patch,
    "many": Patch,
    "activations": Difference,
    "trace": Trace,
    "lens": LogitLens,
    "ablation": Ablate,
    "paths": PathPatch,
    "circuit": EdgeAttribution,
}
"""What each page is about: of Trace its first panel's, of Circuit the scores."""

CLEARED: Controls = {
    **dict.fromkeys(("chosen", "set_chosen", "trace_chosen", "ablated", "path"), ""),
    "places": [],
    "subject_tokens": None,
    "subject_cleared": False,
}
"""What a visitor chose on the pages before another experiment comes to them."""


def page_of(experiment: AnyExperiment) -> tuple[str, Controls] | None:
    """The page that shows this experiment, and its controls; None where none does."""
    for page, kind in HOLDS.items():
        if not isinstance(experiment, kind) or _has_ids(experiment):
            continue
        controls = _CONTROLS[page](experiment)
        if controls is not None and holds(page, controls, experiment):
            return page, controls
    return None


def nearest(experiment: AnyExperiment, result: Result) -> tuple[str, Controls] | None:
    """The page that comes nearest to an experiment, and its controls.

    Of several pairs it shows the first; an estimate opens the sweep that it estimates. None
    where prompts or answers are token ids, which no text field holds.
    """
    if _has_ids(experiment):
        return None
    if isinstance(experiment, Trace):
        found = tuple(result.details["subject"])
        return "trace", _of_trace(experiment.model_copy(update={"subject": found})) or {}
    one = experiment.model_copy(update={"pairs": experiment.pair_list[0]})
    for kinds, page, controls_of in _NEAREST:
        if isinstance(one, kinds):
            return page, controls_of(one) or {}
    return None


def holds(page: str, controls: Mapping[str, Any], experiment: AnyExperiment) -> bool:
    """Whether the page makes this experiment of these controls."""
    full = {**state.FIELDS, **controls}
    try:
        again = _asked(page, full, experiment)
    except PatchwrightError:
        return False
    return again is not None and _plain(again) == _plain(experiment)


def _plain(experiment: AnyExperiment) -> AnyExperiment:
    """Without the order of its cells, which the page chooses for speed."""
    if isinstance(experiment, Patch) and experiment.most is None:
        return experiment.model_copy(update={"order": "layers"})
    return experiment


def _has_ids(experiment: AnyExperiment) -> bool:
    """Whether prompts or answers are token ids, which no text field holds."""
    if isinstance(experiment, Trace):
        texts: tuple[Any, ...] = (experiment.prompt, *_listed(experiment.answer))
        texts += _listed(experiment.wrong)
    else:
        texts = tuple(
            text
            for pair in experiment.pair_list
            for text in (pair.clean, pair.corrupt, *pair.answers, *pair.wrongs)
        )
    return not all(isinstance(text, str) for text in texts)


def _listed(answers: Any) -> tuple[Any, ...]:
    return tuple(answers)


def _asked(page: str, controls: Controls, experiment: AnyExperiment) -> AnyExperiment | None:
    """What the page would ask for."""
    model = experiment.model
    if isinstance(experiment, Trace):
        return asked.trace_of(controls, model, experiment.site)
    if page == "many":
        return asked.set_experiment_of(controls, model, experiment.pair_list)
    swept = asked.experiment_of(controls, model)
    if page == "patch":
        return swept
    if page == "activations":
        return asked.difference_of(swept, controls["seen_site"])
    if page == "lens":
        return asked.lens_of(swept, [])
    if page == "ablation":
        return asked.ablate_of(controls, swept)
    if page == "paths":
        return asked.path_patch_of(controls, swept)
    return asked.edges_of(controls, swept)


def _common(experiment: OnPairs) -> Controls | None:
    """The controls of model, pair, metric and first token; None of a list of pairs."""
    if not isinstance(experiment.pairs, Pair):
        return None
    pair = experiment.pairs
    return {
        "model": experiment.model,
        "metric": experiment.metric,
        "bos": experiment.bos,
        "clean": pair.clean,
        "corrupt": pair.corrupt,
        "answer": state.SEPARATOR.join(map(str, pair.answers)),
        "wrong": state.SEPARATOR.join(map(str, pair.wrongs)),
        "align": pair.align,
    }


def _layer(experiment: Any) -> Controls:
    return {} if experiment.layers is None else {"neuron_layer": experiment.layers[0]}


def _of_patch(one: Any) -> Controls | None:
    common = _common(one)
    if common is None:
        return None
    return common | {"site": one.site, "per": one.per, "direction": one.direction} | _layer(one)


def _of_set(one: Any) -> Controls | None:
    if isinstance(one.pairs, Pair):
        return None
    return {
        "model": one.model,
        "metric": one.metric,
        "bos": one.bos,
        "direction": one.direction,
        "set_source": "run",
        "set_site": one.site,
        "set_per": one.per,
        "set_roles": list(one.roles or ()),
        "set_pairs": one.pairs,
    } | _layer(one)


def _of_difference(one: Any) -> Controls | None:
    common = _common(one)
    return None if common is None else common | {"seen_site": one.site}


def _of_trace(one: Any) -> Controls | None:
    if isinstance(one.subject, str):
        return None
    return {
        "model": one.model,
        "trace_metric": one.metric,
        "bos": one.bos,
        "clean": one.prompt,
        "subject": list(one.subject),
        "answer": state.SEPARATOR.join(map(str, _listed(one.answer))),
        "wrong": state.SEPARATOR.join(map(str, _listed(one.wrong))),
        "noise": one.noise,
        "samples": one.samples,
        "seed": one.seed,
        "sever": one.sever or "nothing",
    } | ({} if one.site == "resid_post" else {"window": one.window})


def _of_ablation(one: Any) -> Controls | None:
    common = _common(one)
    if common is None or not all(isinstance(text, str) for text in one.prompts):
        return None
    swept = {"ablated_site": one.site, "ablated_per": one.per}
    return common | swept | _ablating(one) | _layer(one)


def _ablating(one: Any) -> Controls:
    return {
        "how": one.how,
        "references": "\n".join(str(prompt) for prompt in one.prompts),
        "over": "position" if one.by_position else "all",
        "draw_seed": one.seed,
    }


def _of_paths(one: Any) -> Controls | None:
    common = _common(one)
    if common is None:
        return None
    return common | {
        "direction": one.direction,
        "sender": one.site,
        "sender_per": one.per,
        "receivers": [] if one.receivers == (LOGITS,) else list(one.receivers),
        "mlps": one.mlps,
        "norms": one.norms,
    }


def _of_circuit(one: Any) -> Controls | None:
    common = _common(one)
    steps = {value: name for name, value in state.EDGE_ESTIMATES.items()}
    if common is None or one.steps not in steps:
        return None
    return common | {"edge_estimate": steps[one.steps]}


_CONTROLS: dict[str, Callable[[Any], Controls | None]] = {
    "patch": _of_patch,
    "many": _of_set,
    "activations": _of_difference,
    "trace": _of_trace,
    "lens": _common,
    "ablation": _of_ablation,
    "paths": _of_paths,
    "circuit": _of_circuit,
}


def _of_together(one: Any) -> Controls:
    return {**(_common(one) or {}), "direction": one.direction, "places": list(one.places)}


def _of_ablation_together(one: Any) -> Controls:
    place = one.places[0] if one.places else ""
    return {**(_common(one) or {}), **_ablating(one), "ablated": place}


def _of_attention(one: Any) -> Controls:
    return {**(_common(one) or {}), "seen_head": f"L{one.layer}H{one.head}.z"}


def _of_attribution(one: Any) -> Controls:
    return {**(_common(one) or {}), "part": one.part}


_NEAREST: tuple[tuple[Any, str, Callable[[Any], Controls | None]], ...] = (
    (Patch | Attribute, "patch", _of_patch),
    (PatchTogether, "patch", _of_together),
    (Ablate, "ablation", _of_ablation),
    (AblateTogether, "ablation", _of_ablation_together),
    (PathPatch, "paths", _of_paths),
    (Attention, "activations", _of_attention),
    (Difference, "activations", _of_difference),
    (HeadScores, "activations", _common),
    (EdgeAttribution | EvaluateCircuit, "circuit", _common),
    (LogitAttribution, "lens", _of_attribution),
    (LogitLens, "lens", _common),
)
"""Kinds of experiments, the page for each, and its controls."""
