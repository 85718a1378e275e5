"""What the page remembers of its controls; `build_experiment` makes experiments of it."""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

from patchwright.app.page_controls import CONTROLS
from patchwright.app.page_fields import place_lists
from patchwright.errors import PromptError, UnknownPlaceError
from patchwright.model.catalog import CATALOG
from patchwright.places import parse_place
from patchwright.prompts.align import differing_range
from patchwright.prompts.examples import Example, default_bos, example, example_of_model, examples

FIRST_EXAMPLE = "ioi"
_FIRST_EXAMPLES = {"trace": "capital"}
"""Causal tracing asks where a fact is looked up, so its page opens on one."""

OTHER = "other…"
MODELS = tuple(one.name for one in CATALOG)

ANSWER_SEPARATOR = "|"
"""Between several answers in one text field."""

FIELDS: dict[str, Any] = {name: control.usual for name, control in CONTROLS.items()}
"""What the controls of all pages start from, by key."""

SIMILAR_COUNT = 50
"""Pairs like one pair, unless a person asks for another number."""

State = MutableMapping[Any, Any]


def check_lengths(state: Mapping[Any, Any], labels: Mapping[str, str]) -> None:
    """Raise PromptError for the first field, by its key, with more text than the page takes."""
    for key, label in labels.items():
        length, most = len(state[key]), CONTROLS[key].most
        if length > most:
            raise PromptError(
                f"The field {label} has {length:,} characters, and this page takes at most {most:,}: "
                "shorten it."
            )


def first_example(page: str) -> str:
    """The example that a page opens on."""
    return _FIRST_EXAMPLES.get(page, FIRST_EXAMPLE)


def model_of(state: State) -> str:
    """The name of the model that is asked for."""
    return state["model_name"].strip() if state["model"] == OTHER else state["model"]


def prepare(state: State, page: str = "patch") -> bool:
    """Fill in what is not there yet: the page's first example, so that no page is empty.

    An example that another page opened on, and that nobody touched, gives way to this page's.

    Streamlit forgets controls that are not shown: they are set again when the page is
    turned, else from what `keep` has kept. Controls on the screen are left alone: to set
    them would undo what is typed meanwhile. Returns whether the visitor is new.
    """
    new = "page" not in state
    turned, kept = state.get("page") != page, state.get("kept", {})
    for name, value in FIELDS.items():
        if turned or name not in state:
            usual = list(value) if isinstance(value, list) else value
            state[name] = state.get(name, kept.get(name, usual))
    if new or (turned and _is_untouched(state)):
        take_example(state, first_example(page))
        state["opened_on"] = first_example(page)
    state["page"] = page
    return new


def _is_untouched(state: State) -> bool:
    """Whether the controls still are as the page opened on its first example."""
    name = state.get("opened_on")
    if name is None:
        return False
    # The page of causal tracing chooses the subject by itself.
    usual = {**example_fields(example(name)), "bos": default_bos(model_of(state))}
    return all(state[field] == usual[field] for field in usual if field != "subject")


def keep(state: State) -> None:
    """Remember all controls, those also that the page did not show this time."""
    now = {name: state[name] for name in FIELDS if name in state}
    state["kept"] = {**state.get("kept", {}), **now}


def take_example(state: State, name: str) -> None:
    """Put an example's prompts, answers and metric into the controls."""
    state.update(example_fields(example(name)), opened_on=None)
    take_usual_bos(state)


def take_model(state: State) -> None:
    """After another model was chosen: an example gives way where only one of the two suits it."""
    own, shown = example_of_model(model_of(state)), current_example(state)
    if shown is not None and (own or example_of_model(shown)):
        take_example(state, own or FIRST_EXAMPLE)
    else:
        take_usual_bos(state)


def take_usual_bos(state: State) -> None:
    """After another model or example was chosen: begin the prompts as is usual on the model."""
    usual = default_bos(model_of(state))
    if state["bos"] != usual:
        state["bos"] = usual
        move_places(state)


def move_places(state: State) -> None:
    """After the prompts' first token was put there or left out: places keep their own tokens."""
    by = 1 if state["bos"] else -1
    state["chosen"] = _moved_place(state["chosen"], by)
    for name in place_lists():
        state[name] = [moved for one in state[name] if (moved := _moved_place(one, by))]


def forget_places(state: State) -> None:
    """After the prompts became a chat, or text again: what was chosen stands elsewhere now."""
    state["chosen"] = ""
    state.update({name: [] for name in place_lists()}, subject=[], subject_cleared=False)


def _moved_place(text: str, by: int) -> str:
    """A place `by` positions further on; nothing of one that was at the token that is gone."""
    try:
        place = parse_place(text)
    except UnknownPlaceError:
        return text
    if place.position is None or place.position < 0:
        return text
    position = place.position + by
    return str(replace(place, position=position)) if position >= 0 else ""


def set_controls(state: State, fields: Mapping[str, Any]) -> None:
    """Set controls, such as those that an address holds."""
    if "clean" in fields:
        state["opened_on"] = None
    state.update(fields)
    if fields.get("model", "demo") not in MODELS:
        state["model"], state["model_name"] = OTHER, fields["model"]
    if "model" in fields and "bos" not in fields:
        state["bos"] = default_bos(model_of(state))


def fields_for_model(model: str) -> dict[str, Any]:
    """The controls of a page that opens on a model: with its own example, where it has one."""
    own = example_of_model(model)
    return {"model": model, **({} if own is None else example_fields(example(own)))}


def example_fields(chosen: Example) -> dict[str, Any]:
    """The controls that an example sets."""
    pair = chosen.pair
    return {
        "metric": chosen.metric,
        "clean": str(pair.clean),
        "corrupt": str(pair.corrupt),
        "answer": ANSWER_SEPARATOR.join(str(answer) for answer in pair.answers),
        "wrong": ANSWER_SEPARATOR.join(str(wrong) for wrong in pair.wrongs),
        "align": pair.align,
        "chat": False,
        "system": "",
        "subject": [],
        "chosen": "",
        "places": [],
        "references": "",
    }


PAIR_FIELDS = ("clean", "corrupt", "answer", "wrong", "align", "chat", "system")


def current_example(state: State) -> str | None:
    """The example whose prompts and answers the controls hold, if they hold one's."""
    for one in examples():
        fields = example_fields(one)
        if all(state[name] == fields[name] for name in PAIR_FIELDS):
            return one.id
    return None


def swap(state: State) -> None:
    """Make the clean prompt the corrupted one, and the answers with them."""
    state["clean"], state["corrupt"] = state["corrupt"], state["clean"]
    state["answer"], state["wrong"] = state["wrong"], state["answer"]


def empty_prompts(state: State) -> None:
    """Make room for prompts of the visitor's own."""
    forget_places(state)
    state.update({name: FIELDS[name] for name in PAIR_FIELDS}, opened_on=None)


def make_set(state: State) -> None:
    """Ask of many pairs like the one on Explore what is asked of it there."""
    asked = {"set_site": state["site"], "set_per": state["per"], "set_roles": []}
    state.update(asked, set_source="pair", set_count=SIMILAR_COUNT, go_to="many")


def choose_place(state: State, place: str) -> None:
    """Look closely at a place."""
    state["chosen"] = place


def add_to_set(state: State, place: str, name: str = "places") -> None:
    """Add a place to those that are patched together, or to another of `place_lists`."""
    if place not in state[name]:
        state[name] = [*state[name], place]


def drop_from_set(state: State, place: str) -> None:
    """Take a place out of those that are patched together."""
    state["places"] = [one for one in state["places"] if one != place]


def settle_subject(
    state: State, clean: Sequence[str], corrupt: Sequence[str], first: int
) -> str | None:
    """Make the subject fit the prompt's tokens; a sentence where what an address named does not.

    A subject stays as long as its tokens stay where they were. Where none was chosen
    yet, it becomes the stretch in which the two prompts differ. `first` is the first
    position that may be chosen: not that of the beginning-of-text token.
    """
    before, state["subject_tokens"] = state.get("subject_tokens"), clean
    # Of another prompt's token Streamlit gives the label, which is no position.
    subject = [one for one in state["subject"] if isinstance(one, int)]
    if len(subject) < len(state["subject"]):
        state["subject"] = subject
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
            "that this prompt has: choose it again."
        )
    return state.get("subject_complaint")


def proposed_subject(clean: Sequence[str], corrupt: Sequence[str], first: int) -> list[int]:
    """The stretch in which two prompts, as token texts, differ; nothing where it is the end."""
    span = differing_range(clean, corrupt)
    return [one for one in span if one >= first] if span.stop < len(clean) else []
