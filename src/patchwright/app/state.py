"""What the page remembers, and what its controls mean; no widgets here."""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from patchwright.experiment import (
    Ablate,
    AblateTogether,
    Attention,
    Circuit,
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
    check_direction,
)
from patchwright.methods.metrics import NEEDS_WRONG, check_metric
from patchwright.methods.paths import LOGITS
from patchwright.model.known import KNOWN
from patchwright.places import Place, check_site, parse_place, pers_of
from patchwright.prompts.align import differing
from patchwright.prompts.examples import Example, example, examples
from patchwright.prompts.pair import Pair

FIRST_EXAMPLE = "ioi"
OTHER = "other…"
MODELS = tuple(one.name for one in KNOWN)

SEPARATOR = "|"
"""Between several answers in one text field."""

FIELDS: dict[str, Any] = {
    "model": "demo",
    "model_name": "",
    "clean": "",
    "corrupt": "",
    "answer": "",
    "wrong": "",
    "align": "exact",
    "site": "resid_pre",
    "per": "position",
    "neuron_layer": 0,
    "direction": "denoise",
    "metric": "logit_diff",
    "chosen": "",
    "places": [],
    "seen_site": "resid_post",
    "measure": "relative",
    "lens_measure": "probability",
    "seen_head": "",
    "subject": [],
    "noise": 3.0,
    "samples": 10,
    "window": 1,
    "seed": 0,
    "sever": "nothing",
    "trace_metric": "probability",
    "trace_chosen": "",
    "part": "head",
    "ablated_site": "z",
    "ablated_per": "head",
    "how": "zero",
    "references": "",
    "over": "position",
    "draw_seed": 0,
    "ablated": "",
    "sender": "z",
    "sender_per": "head",
    "receivers": [],
    "mlps": "recompute",
    "norms": "recompute",
    "path": "",
    "edges": 30,
    "edge_estimate": "integrated",
    "edge_order": "connected",
    "edge_share": 80,
    "set_source": "template",
    "task": "indirect-object",
    "set_count": 20,
    "set_seed": 0,
    "template_text": "When {A} and {B} went to the {PLACE}, {S} gave a {OBJECT} to",
    "template_slots": "A=Mary,Alice,Emma\nB=John,David,Tom\nPLACE=store,park,school\n"
    "OBJECT=drink,book,ball\nS={B}",
    "template_swap": "S={A}",
    "template_answer": " {A}",
    "template_wrong": " {B}",
    "sentences": "The keys to the cabinet are on the table\nThe dog near the cars is happy",
    "swap_prompt": "When Mary and John went to the store, John gave a drink to",
    "swap_word": "Mary",
    "swap_answer": " Mary",
    "set_site": "z",
    "set_per": "head",
    "set_roles": [],
    "set_chosen": "",
    "search": "",
}
"""The controls of all pages, by key, with what they start from."""

SOURCES = ("template", "own", "sentences", "swap", "file", "run")
"""Where a set of pairs comes from."""

MOST_PAIRS = 1000
"""Pairs of a set on the page."""

BOUNDS: dict[str, tuple[float, float]] = {
    "noise": (0.0, 20.0),
    "samples": (1, 100),
    "window": (1, 1000),
    "seed": (0, 1_000_000),
    "draw_seed": (0, 1_000_000),
    "set_seed": (0, 1_000_000),
    "set_count": (2, MOST_PAIRS),
}
"""From where to where numbers may go; the model bounds the window of causal tracing too."""

State = MutableMapping[Any, Any]

EDGE_ESTIMATES = {"integrated": 5, "gradient": None}
"""How edges are scored: over so many runs between the prompts, or at the clean run alone."""

OVERS = ("position", "all")
"""What a mean is taken over: the reference prompts at each position, or all their positions."""

EDGE_ORDERS = ("connected", "strongest")

CHECKED_EDGES = 10
"""Of the strongest edges, whose estimates are compared with exact values."""

CURVE = 256
"""Edges up to which the curve of a circuit goes at least."""

MOST_EDGES = 4096
"""Edges that a circuit may have on the page."""


def prepare(state: State, page: str = "patch") -> bool:
    """Fill in what is not there yet: the first example, so that no page is empty.

    Streamlit forgets controls that are not shown: they are set anew when the page is
    turned, else from what `keep` has kept. Controls on the screen are left alone: to set
    them would undo what is typed meanwhile. Returns whether the visitor is new.
    """
    new = "page" not in state
    if new:
        take_example(state, FIRST_EXAMPLE)
    turned, kept = state.get("page") != page, state.get("kept", {})
    for name, value in FIELDS.items():
        if turned or name not in state:
            usual = list(value) if isinstance(value, list) else value
            state[name] = state.get(name, kept.get(name, usual))
    state["page"] = page
    return new


def keep(state: State) -> None:
    """Remember all controls, those also that the page did not show this time."""
    state["kept"] = {name: state[name] for name in FIELDS}


def take_example(state: State, name: str) -> None:
    """Put an example's prompts, answers and metric into the controls."""
    chosen = example(name)
    state.update(fields_of(chosen))


def take(state: State, fields: Mapping[str, Any]) -> None:
    """Set controls, such as those that an address holds."""
    state.update(fields)
    if fields.get("model", "demo") not in MODELS:
        state["model"], state["model_name"] = OTHER, fields["model"]


def fields_of(chosen: Example) -> dict[str, Any]:
    """The controls that an example sets."""
    pair = chosen.pair
    return {
        "metric": chosen.metric,
        "clean": str(pair.clean),
        "corrupt": str(pair.corrupt),
        "answer": SEPARATOR.join(str(answer) for answer in pair.answers),
        "wrong": SEPARATOR.join(str(wrong) for wrong in pair.wrongs),
        "align": pair.align,
        "subject": [],
        "trace_chosen": "",
        "chosen": "",
        "places": [],
        "references": "",
        "ablated": "",
        "path": "",
    }


PAIR_FIELDS = ("clean", "corrupt", "answer", "wrong", "align")


def example_shown(state: State) -> str | None:
    """The example whose prompts and answers the controls hold, if they hold one's."""
    for one in examples():
        fields = fields_of(one)
        if all(state[name] == fields[name] for name in PAIR_FIELDS):
            return one.id
    return None


def swap(state: State) -> None:
    """Make the clean prompt the corrupted one, and the answers with them."""
    state["clean"], state["corrupt"] = state["corrupt"], state["clean"]
    state["answer"], state["wrong"] = state["wrong"], state["answer"]


def take_usual_per(state: State) -> None:
    """After another site was chosen: sweep it the way it is usually swept."""
    state["per"] = pers_of(check_site(state["site"]))[0]


def choose_place(state: State, place: str) -> None:
    """Look closely at a place."""
    state["chosen"] = place


def add_to_set(state: State, place: str) -> None:
    """Add a place to those that are patched together."""
    if place not in state["places"]:
        state["places"] = [*state["places"], place]


def add_receiver(state: State, place: str) -> None:
    """Add a place to those that paths lead to."""
    if place not in state["receivers"]:
        state["receivers"] = [*state["receivers"], place]


def set_of(state: State) -> list[Place]:
    """The places of the set. Raises UnknownPlaceError for what is not a place."""
    return [parse_place(place) for place in state["places"]]


def answers_of(text: str) -> tuple[str, ...]:
    """The answers in one text field."""
    return tuple(part for part in text.split(SEPARATOR) if part)


def pair_of(state: State) -> Pair:
    """The pair that the controls describe."""
    return Pair(
        clean=state["clean"],
        corrupt=state["corrupt"],
        answer=answers_of(state["answer"]),
        wrong=answers_of(state["wrong"]),
        align="edges" if state["align"] == "edges" else "exact",
    )


def experiment_of(state: State, model: str) -> Patch:
    """The sweep that the controls describe."""
    site = check_site(state["site"])
    per = state["per"] if state["per"] in pers_of(site) else pers_of(site)[0]
    layers = (int(state["neuron_layer"]),) if per == "neuron" else None
    return Patch(
        model=model,
        pairs=pair_of(state),
        direction=check_direction(state["direction"]),
        metric=check_metric(state["metric"]),
        site=site,
        per=per,
        layers=layers,
    )


def swept_as(swept: Patch, site: str) -> Patch:
    """The same question asked of another site, swept the usual way."""
    checked = check_site(site)
    usual = {"site": checked, "per": pers_of(checked)[0], "layers": None}
    return swept.model_copy(update={**usual, "order": "layers"})


def together_of(swept: Patch, places: list[str]) -> PatchTogether:
    """The same experiment with some places patched in one run."""
    return PatchTogether(
        model=swept.model,
        pairs=swept.pairs,
        direction=swept.direction,
        metric=swept.metric,
        places=tuple(places),
    )


def lens_of(swept: Patch, places: list[str]) -> LogitLens:
    """The logit lens of both runs, and of the one with `places` patched."""
    return LogitLens(
        model=swept.model,
        pairs=swept.pairs,
        direction=swept.direction,
        metric=swept.metric,
        places=tuple(places),
    )


def attention_of(swept: Patch, layer: int, head: int) -> Attention:
    """The pattern of one head in both runs."""
    return Attention(
        model=swept.model, pairs=swept.pairs, metric=swept.metric, layer=layer, head=head
    )


def scores_of(swept: Patch, different: int) -> HeadScores:
    """What every head attends to, on the clean prompt's words repeated in a random order.

    `different` tokens are there to draw from.
    """
    pair = swept.pairs if isinstance(swept.pairs, Pair) else swept.pairs[0]
    return HeadScores(
        model=swept.model,
        pairs=swept.pairs,
        metric=swept.metric,
        words=pair.clean,
        length=min(10, different),
    )


def difference_of(swept: Patch, site: str) -> Difference:
    """How far the two runs' activations of a site lie apart."""
    checked = check_site(site)
    return Difference(
        model=swept.model,
        pairs=swept.pairs,
        metric=swept.metric,
        site=checked,
        per="neuron" if checked == "mlp_act" else pers_of(checked)[0],
    )


def attribution_of(swept: Patch, part: str) -> LogitAttribution:
    """What the parts of the model add to the answer directly."""
    document = {"part": part, "model": swept.model, "metric": swept.metric}
    return LogitAttribution.of({**document, "pairs": swept.pairs})


def settle_subject(
    state: State, clean: Sequence[str], corrupt: Sequence[str], first: int
) -> str | None:
    """Make the subject fit the prompt's tokens; a sentence where what an address named does not.

    A subject stays as long as its tokens stay where they were. Where none was chosen
    yet, it becomes the stretch in which the two prompts differ. `first` is the first
    position that may be chosen: not that of the beginning-of-text token.
    """
    before, state["subject_tokens"] = state.get("subject_tokens"), clean
    subject: list[int] = state["subject"]
    fits = all(first <= position < len(clean) for position in subject)
    if before is not None and before != clean:
        state["subject_cleared"], state["subject_complaint"] = False, None
        fits = fits and all(before[one : one + 1] == clean[one : one + 1] for one in subject)
    if not fits:
        state["subject"] = []
    if not state["subject"] and not state.get("subject_cleared"):
        state["subject"] = proposed_subject(clean, corrupt, first)
    if not fits and before is None:
        state["subject_complaint"] = (
            f"The address has a subject outside positions {first}-{len(clean) - 1}, which are all "
            "that this prompt has: choose it anew."
        )
    return state.get("subject_complaint")


def proposed_subject(clean: Sequence[str], corrupt: Sequence[str], first: int) -> list[int]:
    """The stretch in which two prompts, as token texts, differ; nothing where it is the end."""
    span = differing(clean, corrupt)
    return [one for one in span if one >= first] if span.stop < len(clean) else []


def edges_of(state: State, swept: Patch) -> EdgeAttribution:
    """The scores of every edge, and of the strongest what they estimate."""
    return EdgeAttribution(
        model=swept.model,
        pairs=swept.pairs,
        metric=swept.metric,
        steps=EDGE_ESTIMATES[state["edge_estimate"]],
        exact=CHECKED_EDGES,
    )


def evaluation_of(swept: Patch, circuit: Circuit, chosen: int) -> EvaluateCircuit:
    """What the first edges of a circuit keep: `chosen` of them, and fewer and more."""
    sizes = sizes_of(chosen, len(circuit.edges))
    return EvaluateCircuit(
        model=swept.model,
        pairs=swept.pairs,
        metric=swept.metric,
        edges=circuit.edges[: sizes[-1]],
        sizes=sizes,
    )


def sizes_of(chosen: int, n_edges: int) -> tuple[int, ...]:
    """Powers of two to at least `CURVE` and beyond `chosen`, as far as there are edges."""
    last = min(max(CURVE, 2 * chosen), n_edges)
    powers = {2**power for power in range(last.bit_length())}
    return tuple(sorted(powers | {chosen, last} - {0}))


def trace_of(state: State, model: str, site: str) -> Trace:
    """Causal tracing of the clean prompt, its subject chosen by position."""
    sever = None if state["sever"] == "nothing" else state["sever"]
    metric = check_metric(state["trace_metric"])
    return Trace.of(
        {
            "model": model,
            "metric": metric,
            "prompt": state["clean"],
            "subject": tuple(sorted(state["subject"])),
            "answer": answers_of(state["answer"]),
            "wrong": answers_of(state["wrong"]) if metric in NEEDS_WRONG else (),
            "noise": float(state["noise"]),
            "samples": int(state["samples"]),
            "window": 1 if site == "resid_post" else int(state["window"]),
            "seed": int(state["seed"]),
            "sever": None if sever == site else sever,
            "site": site,
        }
    )


def set_experiment_of(state: State, model: str, pairs: tuple[Pair, ...]) -> Patch:
    """The sweep over a set of pairs that the controls describe; by roles where some are chosen."""
    site = check_site(state["set_site"])
    per = state["set_per"] if state["set_per"] in pers_of(site) else pers_of(site)[0]
    roles = tuple(state["set_roles"]) if per in ("position", "head_position") else ()
    return Patch(
        model=model,
        pairs=pairs,
        direction=check_direction(state["direction"]),
        metric=check_metric(state["metric"]),
        site=site,
        per=per,
        layers=(int(state["neuron_layer"]),) if per == "neuron" else None,
        roles=roles or None,
    )


def references_of(state: State) -> tuple[str, ...]:
    """The prompts that a mean or a draw takes activations from: those typed, a line each.

    Where none are typed, the pair's own: both for a mean, for a draw the corrupted one,
    since to draw the clean one would change nothing.
    """
    typed = tuple(line for line in state["references"].splitlines() if line.strip())
    if state["how"] == "zero" or typed:
        return () if state["how"] == "zero" else typed
    return (state["corrupt"],) if state["how"] == "resample" else (state["clean"], state["corrupt"])


def ablate_of(state: State, swept: Patch) -> Ablate:
    """Every place of one kind ablated, one at a time."""
    site = check_site(state["ablated_site"])
    per = state["ablated_per"] if state["ablated_per"] in pers_of(site) else pers_of(site)[0]
    return Ablate.of(
        {
            **_ablating(state, swept),
            "site": site,
            "per": per,
            "layers": (int(state["neuron_layer"]),) if per == "neuron" else None,
        }
    )


def ablate_together_of(state: State, swept: Patch, place: str) -> AblateTogether:
    """One place ablated in the same way, for what the model then predicts."""
    return AblateTogether.of({**_ablating(state, swept), "places": (place,)})


def _ablating(state: State, swept: Patch) -> dict[str, Any]:
    """What ablations say besides the place; what changes nothing stands at its usual value."""
    return {
        "model": swept.model,
        "pairs": swept.pairs,
        "metric": check_metric(state["metric"]),
        "how": state["how"],
        "prompts": references_of(state),
        "by_position": state["how"] != "mean" or state["over"] == "position",
        "seed": int(state["draw_seed"]) if state["how"] == "resample" else 0,
    }


def path_patch_of(state: State, swept: Patch) -> PathPatch:
    """Paths from every sender of one kind to the receivers, or to the logits."""
    site = check_site(state["sender"])
    per = state["sender_per"] if state["sender_per"] in pers_of(site) else pers_of(site)[0]
    return PathPatch.of(
        {
            "model": swept.model,
            "pairs": swept.pairs,
            "metric": check_metric(state["metric"]),
            "direction": check_direction(state["direction"]),
            "site": site,
            "per": per,
            "receivers": tuple(state["receivers"]) or (LOGITS,),
            "mlps": state["mlps"],
            "norms": state["norms"],
        }
    )
