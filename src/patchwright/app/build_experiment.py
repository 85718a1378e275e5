"""The experiments that the controls ask for."""

from typing import Any

from patchwright.algorithms.metrics import METRIC_TABLE, check_metric
from patchwright.app.page_fields import EDGE_ESTIMATES, FORMS
from patchwright.app.session_state import ANSWER_SEPARATOR, State
from patchwright.experiment.circuit import Circuit
from patchwright.methods.ablate import UNUSED_FIELDS, Ablate, AblateTogether
from patchwright.methods.attention import Attention, HeadScores
from patchwright.methods.circuit import EdgeAttribution, EvaluateCircuit
from patchwright.methods.diff import Difference
from patchwright.methods.lens import LogitAttribution, LogitLens
from patchwright.methods.patch import Patch, PatchTogether
from patchwright.methods.paths import PathPatch
from patchwright.methods.trace import Trace
from patchwright.places import check_site, parse_place, pers_of
from patchwright.prompts.messages import Messages, contents_text, is_chat, user_chat
from patchwright.prompts.pair import Pair

CHECKED_EDGES = 10
"""Of the strongest edges, whose estimates are compared with exact values."""

CURVE_EDGES = 256
"""Edges up to which the curve of a circuit goes at least."""


def answers_of(text: str) -> tuple[str, ...]:
    """The answers in one text field."""
    return tuple(part for part in text.split(ANSWER_SEPARATOR) if part)


def prompt_of(state: State, text: str) -> str | Messages:
    """What was typed as the prompt that it is: a text, or what a user says in a chat."""
    return user_chat(text, state["system"]) if state["chat"] and text else text


def pair_of(state: State) -> Pair:
    """The pair that the controls describe."""
    return Pair(
        clean=prompt_of(state, state["clean"]),
        corrupt=prompt_of(state, state["corrupt"]),
        answer=answers_of(state["answer"]),
        wrong=answers_of(state["wrong"]),
        align="edges" if state["align"] == "edges" else "exact",
    )


def patch_of(state: State, model: str) -> Patch:
    """The sweep that the controls describe."""
    common = {"model": model, "pairs": pair_of(state), "bos": state["bos"]}
    return Patch.of({**common, **FORMS["patch"].fields(state)})


def sweep_of_site(swept: Patch, site: str) -> Patch:
    """The same question asked of another site, swept the usual way."""
    checked = check_site(site)
    usual = {"site": checked, "per": pers_of(checked)[0], "layers": None}
    return swept.model_copy(update={**usual, "order": "layers"})


def common_fields(swept: Patch) -> dict[str, Any]:
    """The model, the pair and the metric of a sweep, for another method that is asked of them."""
    return {name: getattr(swept, name) for name in ("model", "pairs", "metric", "bos")}


def patch_together_of(swept: Patch, places: list[str]) -> PatchTogether:
    """The same experiment with some places patched in one run."""
    fields = {"direction": swept.direction, "places": tuple(places)}
    return PatchTogether.of({**common_fields(swept), **fields})


def lens_of(swept: Patch, places: list[str]) -> LogitLens:
    """The logit lens of both runs, and of the one with `places` patched."""
    fields = {"direction": swept.direction, "places": tuple(places)}
    return LogitLens.of({**common_fields(swept), **fields})


def attention_of(swept: Patch, layer: int, head: int) -> Attention:
    """The pattern of one head in both runs."""
    return Attention.of({**common_fields(swept), "layer": layer, "head": head})


def attention_at(swept: Patch, place: str) -> Attention:
    """The pattern of the head that a place is of, or of the first one of its layer or of all."""
    head = parse_place(place or "L0H0.z")
    return attention_of(swept, head.layer or 0, head.head or 0)


def head_scores_of(swept: Patch, different: int) -> HeadScores:
    """What every head attends to, on the clean prompt's words repeated in a random order.

    `different` tokens are there to draw from.
    """
    pair = swept.pairs if isinstance(swept.pairs, Pair) else swept.pairs[0]
    words = contents_text(pair.clean) if is_chat(pair.clean) else str(pair.clean)
    return HeadScores.of({**common_fields(swept), "words": words, "length": min(10, different)})


def difference_of(swept: Patch, site: str) -> Difference:
    """How far the two runs' activations of a site lie apart."""
    checked = check_site(site)
    per = "neuron" if checked == "mlp_act" else pers_of(checked)[0]
    return Difference.of({**common_fields(swept), "site": checked, "per": per})


def attribution_of(swept: Patch, part: str) -> LogitAttribution:
    """What the parts of the model add to the answer directly."""
    return LogitAttribution.of({**common_fields(swept), "part": part})


def edge_attribution_of(state: State, swept: Patch) -> EdgeAttribution:
    """The scores of every edge, and of the strongest what they estimate."""
    steps = EDGE_ESTIMATES[state["edge_estimate"]]
    return EdgeAttribution.of({**common_fields(swept), "steps": steps, "exact": CHECKED_EDGES})


def evaluation_of(swept: Patch, circuit: Circuit, chosen: int) -> EvaluateCircuit:
    """What the first edges of a circuit keep: `chosen` of them, and fewer and more."""
    sizes = sizes_of(chosen, len(circuit.edges))
    edges = circuit.edges[: sizes[-1]]
    return EvaluateCircuit.of({**common_fields(swept), "edges": edges, "sizes": sizes})


def sizes_of(chosen: int, n_edges: int) -> tuple[int, ...]:
    """Powers of two to at least `CURVE_EDGES` and beyond `chosen`, as far as there are edges."""
    last = min(max(CURVE_EDGES, 2 * chosen), n_edges)
    powers = {2**power for power in range(last.bit_length())}
    return tuple(sorted(powers | {chosen, last} - {0}))


def trace_of(state: State, model: str, site: str) -> Trace:
    """Causal tracing of the clean prompt, its subject chosen by position."""
    fields = FORMS["trace"].fields(state)
    compared = METRIC_TABLE[check_metric(fields["metric"])].needs_wrong
    asked = Trace.of(
        {
            **fields,
            "model": model,
            "bos": state["bos"],
            "prompt": prompt_of(state, state["clean"]),
            "answer": answers_of(state["answer"]),
            "wrong": answers_of(state["wrong"]) if compared else (),
        }
    )
    return asked.for_site(site)


def patch_of_set(state: State, model: str, pairs: tuple[Pair, ...]) -> Patch:
    """The sweep over a set of pairs that the controls describe; by roles where some are chosen."""
    fields = FORMS["many"].fields(state)
    if fields["per"] not in ("position", "head_position"):
        fields["roles"] = None
    return Patch.of({**fields, "model": model, "pairs": pairs, "bos": state["bos"]})


def references_of(state: State) -> tuple[str | Messages, ...]:
    """The prompts that a mean or a draw takes activations from: those typed, a line each.

    Where none are typed, the pair's own: both for a mean, for a draw the corrupted one,
    since to draw the clean one would change nothing.
    """
    if state["ablation"] == "zero":
        return ()
    typed = [line for line in state["references"].splitlines() if line.strip()]
    own = (
        [state["corrupt"]]
        if state["ablation"] == "resample"
        else [state["clean"], state["corrupt"]]
    )
    return tuple(prompt_of(state, text) for text in typed or own)


def ablate_of(state: State, swept: Patch) -> Ablate:
    """Every place of one kind ablated, one at a time; what changes nothing has its usual value."""
    fields = FORMS["ablation"].fields(state)
    for name in UNUSED_FIELDS[fields["ablation"]]:
        fields[name] = Ablate.model_fields[name].default
    common = {"model": swept.model, "pairs": swept.pairs, "bos": swept.bos}
    return Ablate.of({**fields, **common, "prompts": references_of(state)})


def ablate_together_of(swept: Ablate, places: list[str]) -> AblateTogether:
    """Places ablated in the same way in one run."""
    names = set(AblateTogether.model_fields) & set(Ablate.model_fields) - {"method"}
    given = {name: getattr(swept, name) for name in names}
    return AblateTogether.of({**given, "places": tuple(places)})


def joint_change_of(swept: Patch | Ablate, places: list[str]) -> PatchTogether | AblateTogether:
    """Some places changed in one run, as a sweep changes each of its own."""
    if isinstance(swept, Patch):
        return patch_together_of(swept, places)
    return ablate_together_of(swept, places)


def path_patch_of(state: State, swept: Patch) -> PathPatch:
    """Paths from every sender of one kind to those that receive, or to the logits."""
    common = {"model": swept.model, "pairs": swept.pairs, "bos": swept.bos}
    return PathPatch.of({**common, **FORMS["paths"].fields(state)})
