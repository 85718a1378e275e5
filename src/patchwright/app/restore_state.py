"""An experiment as the controls of the page that shows it; no widgets here.

What a page cannot say is found by asking it back: for a stored run controls count only
where the page would make the same experiment of them. A lesson is content with the page
that comes nearest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from patchwright.algorithms.result import Result
from patchwright.app import build_experiment, session_state
from patchwright.app.page_fields import EDGE_ESTIMATES, FORMS
from patchwright.errors import PatchwrightError
from patchwright.experiment.base import Experiment, OnPairs
from patchwright.methods.ablate import Ablate, AblateTogether
from patchwright.methods.attention import Attention, HeadScores
from patchwright.methods.attribute import Attribute
from patchwright.methods.circuit import EdgeAttribution, EvaluateCircuit
from patchwright.methods.diff import Difference
from patchwright.methods.lens import LogitAttribution, LogitLens
from patchwright.methods.patch import Patch, PatchTogether
from patchwright.methods.paths import PathPatch
from patchwright.methods.trace import Trace
from patchwright.prompts.messages import is_chat, user_chat
from patchwright.prompts.pair import Pair, Prompt

Controls = dict[str, Any]

CLEARED: Controls = {
    **dict.fromkeys(("chosen", "edge_chosen"), ""),
    "places": [],
    "subject_tokens": None,
    "subject_cleared": False,
}
"""What a visitor chose on the pages before another experiment comes to them."""


def page_of(experiment: Experiment) -> tuple[str, Controls] | None:
    """The page that shows this experiment, and its controls; None where none does."""
    for page, held in PAGE_EXPERIMENTS.items():
        if not isinstance(experiment, held.kind) or _is_untypable(experiment):
            continue
        controls = held.controls(experiment)
        if controls is not None and can_express(page, controls, experiment):
            return page, controls
    return None


def nearest_page(experiment: Experiment, result: Result) -> tuple[str, Controls] | None:
    """The page that comes nearest to an experiment, and its controls.

    Of several pairs it shows the first; an estimate opens the sweep that it estimates. None
    where prompts or answers are what no text field holds, such as token ids.
    """
    if _is_untypable(experiment):
        return None
    if isinstance(experiment, Trace):
        found = tuple(result.details["subject"])
        return "trace", _controls_of_trace(experiment.model_copy(update={"subject": found})) or {}
    assert isinstance(experiment, OnPairs), "what is no trace is on pairs"
    one = experiment.model_copy(update={"pairs": experiment.pair_list[0]})
    if _is_untypable(one):
        return None
    for kinds, page, controls_of in _NEAREST_PAGES:
        if isinstance(one, kinds):
            return page, controls_of(one) or {}
    return None


def can_express(page: str, controls: Mapping[str, Any], experiment: Experiment) -> bool:
    """Whether the page makes this experiment of these controls."""
    full = {**session_state.FIELDS, **controls}
    try:
        again = _remake_experiment(page, full, experiment)
    except PatchwrightError:
        return False
    return _without_order(again) == _without_order(experiment)


def _without_order(experiment: Experiment) -> Experiment:
    """Without the order of its cells, which the page chooses for speed."""
    if isinstance(experiment, Patch) and experiment.max_exact is None:
        return experiment.model_copy(update={"order": "layers"})
    return experiment


def _is_untypable(experiment: Experiment) -> bool:
    """Whether prompts or answers are what no text field holds: token ids, longer chats.

    In a set, which comes from a file and not from fields, any chat will do.
    """
    if isinstance(experiment, Trace):
        answers = (*_as_tuple(experiment.answer), *_as_tuple(experiment.wrong))
        return not _are_texts(answers) or _prompt_controls(experiment.prompt) is None
    assert isinstance(experiment, OnPairs), "what is no trace is on pairs"
    if isinstance(experiment.pairs, Pair):
        pair = experiment.pairs
        return (
            not _are_texts((*pair.answers, *pair.wrongs))
            or _prompt_controls(pair.clean, pair.corrupt) is None
        )
    return not all(
        _are_texts((*one.answers, *one.wrongs))
        and all(isinstance(prompt, str) or is_chat(prompt) for prompt in (one.clean, one.corrupt))
        for one in experiment.pair_list
    )


def _are_texts(some: Sequence[object]) -> bool:
    return all(isinstance(one, str) for one in some)


def _prompt_controls(*prompts: Prompt) -> Controls | None:
    """The controls of prompts that are typed alike: `chat`, `system`, and the `texts`.

    A chat is what the user says first, behind the same system message in all of them.
    """
    if _are_texts(prompts):
        return {"chat": False, "system": "", "texts": list(prompts)}
    chats = [one for one in prompts if is_chat(one)]
    if len(chats) < len(prompts):
        return None
    system = chats[0][0].content if chats[0][0].role == "system" else ""
    texts = [one[-1].content for one in chats]
    if any(user_chat(text, system) != chat for text, chat in zip(texts, chats, strict=True)):
        return None
    return {"chat": True, "system": system, "texts": texts}


def _as_tuple(answers: Any) -> tuple[Any, ...]:
    return tuple(answers)


def _remake_experiment(page: str, controls: Controls, experiment: Experiment) -> Experiment:
    """What the page would ask for."""
    if isinstance(experiment, Trace):
        return build_experiment.trace_of(controls, experiment.model, experiment.site)
    return make_experiment(page, controls, experiment.model)


def make_experiment(page: str, controls: Controls, model: str) -> Experiment:
    """What a page asks for, of a trace its map of MLPs. Raises InputError where its controls make no experiment."""
    return PAGE_EXPERIMENTS[page].made(controls, model)


def _common_controls(experiment: OnPairs) -> Controls | None:
    """The controls of model, pair, metric and first token; None of a list of pairs."""
    if not isinstance(experiment.pairs, Pair):
        return None
    pair = experiment.pairs
    typed = _prompt_controls(pair.clean, pair.corrupt)
    if typed is None:
        return None
    clean, corrupt = typed.pop("texts")
    return {
        "model": experiment.model,
        "metric": experiment.metric,
        "bos": experiment.bos,
        **typed,
        "clean": clean,
        "corrupt": corrupt,
        "answer": session_state.ANSWER_SEPARATOR.join(map(str, pair.answers)),
        "wrong": session_state.ANSWER_SEPARATOR.join(map(str, pair.wrongs)),
        "align": pair.align,
    }


def _controls_of_page(page: str, one: OnPairs) -> Controls | None:
    """The controls of the pair and of the page's own fields."""
    common = _common_controls(one)
    return None if common is None else common | FORMS[page].controls(one)


def _controls_of_set(one: Any) -> Controls | None:
    if isinstance(one.pairs, Pair):
        return None
    common = {"model": one.model, "bos": one.bos, "set_source": "run", "set_pairs": one.pairs}
    return common | FORMS["many"].controls(one)


def _controls_of_trace(one: Any) -> Controls | None:
    typed = _prompt_controls(one.prompt)
    if isinstance(one.subject, str) or typed is None:
        return None
    (clean,) = typed.pop("texts")
    found = FORMS["trace"].controls(one)
    if one.site == "resid_post":
        del found["window"]
    return {
        **found,
        "model": one.model,
        "bos": one.bos,
        **typed,
        "clean": clean,
        "answer": session_state.ANSWER_SEPARATOR.join(map(str, _as_tuple(one.answer))),
        "wrong": session_state.ANSWER_SEPARATOR.join(map(str, _as_tuple(one.wrong))),
    }


def _controls_of_ablation(one: Any) -> Controls | None:
    common, prompts = _controls_of_page("ablation", one), _prompt_controls(*one.prompts)
    if common is None or (one.prompts and prompts is None):
        return None
    return common | {"references": "\n".join((prompts or {"texts": []})["texts"])}


def _controls_of_circuit(one: Any) -> Controls | None:
    return _controls_of_page("circuit", one) if one.steps in EDGE_ESTIMATES.values() else None


def _controls_of_attention(one: Any) -> Controls | None:
    common = _common_controls(one)
    return None if common is None else common | {"chosen": f"L{one.layer}H{one.head}.z"}


@dataclass(frozen=True)
class PageExperiment:
    """The kind of experiment that a page shows, and how it is turned into the page's controls and back."""

    kind: type[Experiment]
    controls: Callable[[Any], Controls | None]
    """Returns the controls that show an experiment; None if the page cannot show it."""
    made: Callable[[Controls, str], Experiment]
    """Returns the experiment that the controls describe, on the named model."""


def _with_sweep(
    make: Callable[[Controls, Patch], Experiment],
) -> Callable[[Controls, str], Experiment]:
    """Make an experiment of the controls and of the sweep over their pair."""
    return lambda controls, model: make(controls, build_experiment.patch_of(controls, model))


PAGE_EXPERIMENTS: dict[str, PageExperiment] = {
    "patch": PageExperiment(Patch, partial(_controls_of_page, "patch"), build_experiment.patch_of),
    "many": PageExperiment(
        Patch,
        _controls_of_set,
        lambda now, model: build_experiment.patch_of_set(now, model, now["set_pairs"]),
    ),
    "activations": PageExperiment(
        Difference,
        partial(_controls_of_page, "activations"),
        _with_sweep(lambda now, swept: build_experiment.difference_of(swept, now["seen_site"])),
    ),
    "attention": PageExperiment(
        Attention,
        _controls_of_attention,
        _with_sweep(lambda now, swept: build_experiment.attention_at(swept, now["chosen"])),
    ),
    "trace": PageExperiment(
        Trace,
        _controls_of_trace,
        lambda now, model: build_experiment.trace_of(now, model, "mlp_out"),
    ),
    "lens": PageExperiment(
        LogitLens,
        _common_controls,
        _with_sweep(lambda _, swept: build_experiment.lens_of(swept, [])),
    ),
    "ablation": PageExperiment(
        Ablate, _controls_of_ablation, _with_sweep(build_experiment.ablate_of)
    ),
    "paths": PageExperiment(
        PathPatch, partial(_controls_of_page, "paths"), _with_sweep(build_experiment.path_patch_of)
    ),
    "circuit": PageExperiment(
        EdgeAttribution, _controls_of_circuit, _with_sweep(build_experiment.edge_attribution_of)
    ),
}
"""The experiment of each page: of Causal trace its first map, of Circuit the scores of its edges."""


def _controls_of_together(one: Any) -> Controls:
    return {**(_controls_of_page("patch", one) or {}), "places": list(one.places)}


def _controls_of_ablation_together(one: Any) -> Controls:
    place = one.places[0] if one.places else ""
    return {**(_controls_of_ablation(one) or {}), "chosen": place}


def _controls_of_attribution(one: Any) -> Controls:
    return {**(_common_controls(one) or {}), "part": one.part}


_NEAREST_PAGES: tuple[tuple[Any, str, Callable[[Any], Controls | None]], ...] = (
    (Attribute, "patch", partial(_controls_of_page, "patch")),
    (PatchTogether, "patch", _controls_of_together),
    (AblateTogether, "ablation", _controls_of_ablation_together),
    (HeadScores, "attention", _common_controls),
    (EdgeAttribution | EvaluateCircuit, "circuit", _common_controls),
    (LogitAttribution, "lens", _controls_of_attribution),
    *(
        (held.kind, page, held.controls)
        for page, held in PAGE_EXPERIMENTS.items()
        if page != "many"
    ),
)
"""Kinds of experiments, the page for each, and its controls."""
