"""Where a set of pairs comes from: a template, sentences, a swapped word, a file; and its pairs."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.app import pair_sets, session_state
from patchwright.app.pair_sets import LoadedSet
from patchwright.app.text import error_markdown, escape
from patchwright.app.views import fields
from patchwright.errors import FormatError, PatchwrightError
from patchwright.model.load import Model
from patchwright.prompts.builtin_templates import tasks
from patchwright.prompts.datasets import sentences, write_items
from patchwright.prompts.formats import FORMATS
from patchwright.prompts.formats.document import ENDINGS
from patchwright.prompts.formats.format import Reading
from patchwright.prompts.formats.own import PARTS
from patchwright.prompts.messages import prompt_text

SOURCE_NAMES = {
    "template": "A built-in template",
    "own": "A template of your own",
    "sentences": "Sentences: agreement",
    "swap": "Swap a word",
    "file": "A file",
    "run": "From a stored run",
}

LABELS = {
    "template_text": "Text with slots",
    "template_slots": "Words of the slots, a slot a line",
    "template_swap": "In the corrupted prompt",
    "template_answer": "Answer",
    "template_wrong": "Wrong answer",
    "sentences": "Sentences, one a line",
    "swap_prompt": "Prompt",
    "swap_word": "Word to swap",
    "swap_answer": "Answer",
}
"""Of the fields to type into."""

MOST_TOLD = 10
"""Reasons why rows cannot be used, told one by one."""


def choices(model: Model) -> None:
    """Where the pairs come from, and what that needs."""
    offered = [
        one for one in session_state.SOURCES if one != "run" or st.session_state.get("set_pairs")
    ]
    source = fields.choice(st.container(), "Pairs from", offered, "set_source", SOURCE_NAMES)
    if source == "file":
        _file(model)
    else:
        _CHOICES[source]()
    fields.check({key: LABELS[key] for key in pair_sets.FIELDS[source] if key in LABELS})


def _template() -> None:
    columns = st.columns([3, 1, 1])
    titles = {one.name: f"{one.name}: {one.title}" for one in tasks()}
    fields.choice(
        columns[0],
        "Task",
        list(titles),
        "task",
        titles,
        help="Its words are those that are single tokens of the model at hand.",
    )
    _count(columns[1])
    _seed(columns[2])


def _own() -> None:
    _field("template_text")
    left, right = st.columns(2)
    fields.text_area(
        left,
        LABELS["template_slots"],
        "template_slots",
        height=130,
        help="`A=Mary,Alice`, or another slot: `S={B}`. Other forms of a word follow it behind "
        "slashes: with `NOUN=key/keys` the slot `{NOUN.1}` is the plural.",
    )
    with right:
        _field("template_swap", "What goes into a slot there: `S={A}`.")
        _field("template_answer", "By its slot, with the leading space.")
        _field("template_wrong", "By its slot, with the leading space.")
    columns = st.columns(2)
    _count(columns[0])
    _seed(columns[1])


def _sentences() -> None:
    fields.text_area(
        st.container(),
        LABELS["sentences"],
        "sentences",
        height=110,
        help="Each with is/are, was/were, has/have or does/do behind its subject. The verb is asked "
        "for; the corrupted prompt has the subject in the other number.",
    )


def _swap() -> None:
    _field("swap_prompt")
    columns = st.columns(3)
    with columns[0]:
        _field("swap_word")
    with columns[1]:
        _field("swap_answer", "With its leading space.")
    _count(columns[2])
    st.caption(
        "The word is replaced by others of as many tokens, those that flip the answer best "
        f"(at most {pair_sets.MOST_SWAPS}). Chosen for what they do, they are no sample: their intervals say nothing of "
        "other words."
    )


def _file(model: Model) -> None:
    given = st.file_uploader(
        "A file of pairs",
        type=list(ENDINGS),
        key="set_upload",
        help=f"Published data as it is ({', '.join(one.title for one in FORMATS)}), or a table whose columns you name. "
        f"At most 5 MB and {session_state.MOST_PAIRS:,} pairs.",
    )
    if given is None:
        return
    of, columns = st.session_state.get("set_columns", ("", ()))
    how = _reading(model, columns if of == given.file_id else ())
    asked = given.file_id, model.fingerprint, how
    if st.session_state.get("set_upload_id") == asked:
        return
    st.session_state["set_file"] = None
    try:
        st.session_state["set_file"] = pair_sets.read_file(given.name, given.getvalue(), how, model)
        st.session_state["set_upload_id"] = asked
    except FormatError as error:
        st.session_state["set_columns"] = given.file_id, error.columns
        if of != given.file_id and error.columns:
            st.rerun()
        st.error(error_markdown(error))
    except PatchwrightError as error:
        st.error(error_markdown(error))


def _reading(model: Model, columns: Sequence[str]) -> Reading:
    """How the file is read; its `columns` are asked for where its format is not known."""
    left, right = st.columns(2)
    space = left.checkbox("Put a space before answers that have none", key="set_space")
    own = right.checkbox("Its token ids are those of this model", key="set_own_ids")
    named: dict[str, str] = {}
    if columns:
        for place, part in zip(st.columns(len(PARTS)), PARTS, strict=True):
            chosen = place.selectbox(
                f"Column: {part}", columns, None, format_func=escape, key=f"set_column_{part}"
            )
            named |= {part: chosen} if chosen else {}
    return Reading(columns=named, add_space=space, token_ids=model.name if own else "")


def _run() -> None:
    st.caption(f"{len(st.session_state['set_pairs']):,} pairs, as the run store has them.")


_CHOICES = {
    "template": _template,
    "own": _own,
    "sentences": _sentences,
    "swap": _swap,
    "run": _run,
}


def _field(key: str, help: str | None = None) -> None:
    fields.text_input(st.container(), LABELS[key], key, help=help)


def _count(place: DeltaGenerator) -> None:
    low, high = session_state.BOUNDS["set_count"]
    fields.number_input(place, "How many pairs", int(low), int(high), "set_count")


def _seed(place: DeltaGenerator) -> None:
    low, high = session_state.BOUNDS["set_seed"]
    fields.number_input(
        place, "Seed", int(low), int(high), "set_seed", help="The same seed gives the same pairs."
    )


def listed(found: LoadedSet) -> None:
    """The pairs, and the rows that gave none."""
    if found.errors:
        every = sentences(found.errors)
        told = [f"- {escape(one)}" for one in every[:MOST_TOLD]]
        more = len(every) - MOST_TOLD
        told += [f"- and {more} more"] if more > 0 else []
        rows = f"{len(found.errors)} row{'s' if len(found.errors) > 1 else ''}"
        st.warning("\n".join([f"{rows} cannot be used; the others go on.", *told]))
    if found.summary:
        st.caption(escape(found.summary))
    if found.more:
        st.warning(
            f"The set goes on, and this page takes at most {session_state.MOST_PAIRS:,} pairs: the rows behind "
            "them were not read. The command line has no such bound."
        )
    with st.expander(f"The {len(found.items):,} pairs"):
        st.dataframe(table_of(found), hide_index=True, height=280)
        st.download_button(
            "Pairs (JSONL)",
            lambda: "".join(write_items(found.items)),
            "patchwright-pairs.jsonl",
            "application/jsonl",
            key="take-pairs",
            on_click="ignore",
            help="The set itself, for `--pairs` on the command line or to upload here again.",
        )


def table_of(found: LoadedSet) -> pd.DataFrame:
    """One row a pair, counted from 1, and its line in the file where that is another number."""
    numbers = list(range(1, len(found.items) + 1))
    lines = [item.line for item in found.items]
    return pd.DataFrame(
        {
            "pair": numbers,
            **({} if lines == numbers or None in lines else {"line": lines}),
            "clean": [prompt_text(pair.clean) for pair in found.pairs],
            "corrupted": [prompt_text(pair.corrupt) for pair in found.pairs],
            "answer": [
                session_state.SEPARATOR.join(map(str, pair.answers)) for pair in found.pairs
            ],
            "wrong": [session_state.SEPARATOR.join(map(str, pair.wrongs)) for pair in found.pairs],
            "tokens": list(found.lengths),
        }
    )
