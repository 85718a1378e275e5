"""Where a set of pairs comes from: the pair on Explore, a template, sentences, a file; and its pairs."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.app import pair_sets
from patchwright.app.page_controls import CONTROLS, MOST_PAIRS
from patchwright.app.text import error_markdown, escape, escape_typed
from patchwright.app.views import fields, pair
from patchwright.app.views.file_button import file_button
from patchwright.errors import FormatError, PatchwrightError
from patchwright.model.load import Model
from patchwright.prompts.builtin_templates import tasks
from patchwright.prompts.datasets import error_sentences, write_items
from patchwright.prompts.formats import FORMATS
from patchwright.prompts.formats.document import SUFFIXES
from patchwright.prompts.formats.format import Reading
from patchwright.prompts.formats.own import PARTS
from patchwright.prompts.pairs_file import PairSet
from patchwright.spelling import plural

SOURCE_NAMES = {
    "pair": "The pair on Explore",
    "template": "A built-in template",
    "own": "A template of your own",
    "sentences": "Sentences: agreement",
    "swap": "Swap a word",
    "file": "A file",
    "run": "From a stored run",
}

LABELS = {
    **pair.PROMPT_NAMES,
    **pair.ANSWER_NAMES,
    "system": "System message",
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

HELP = {
    "template_slots": "`A=Mary,Alice`, or another slot: `S={B}`. Other forms of a word follow it behind "
    "slashes: with `NOUN=key/keys` the slot `{NOUN.1}` is the plural.",
    "template_swap": "What goes into a slot there: `S={A}`.",
    "template_answer": "By its slot, with the leading space.",
    "template_wrong": "By its slot, with the leading space.",
    "sentences": "Each with is/are, was/were, has/have or does/do behind its subject. The verb is asked "
    "for; the corrupted prompt has the subject in the other number.",
    "swap_answer": "With its leading space.",
    "swap_word": "Others of as many tokens stand in its place: those that flip the answer best (at most "
    f"{pair_sets.MOST_SWAPS}). Chosen for what they do, they are no sample: their intervals say nothing of other words.",
}

MOST_REASONS = 10
"""Reasons why rows cannot be used, told one by one."""


def show_source(model: Model) -> None:
    """Where the pairs come from, and what that needs, in a row."""
    stored = st.session_state.get("set_pairs")
    offered = [one for one in CONTROLS["set_source"].choices if one != "run" or stored]
    of_source = {**_ROWS, "file": partial(_show_file, model)}
    first, rest = st.columns([2.3, 9], vertical_alignment="bottom", gap="small")
    source = fields.choice(first, "Pairs from", offered, "set_source", SOURCE_NAMES, "template")
    of_source[source](rest)
    fields.check({key: LABELS[key] for key in pair_sets.SOURCE_FIELDS[source] if key in LABELS})


def _show_pair(row: DeltaGenerator) -> None:
    prompts, count, seed = row.columns([6, 1.5, 1.3], vertical_alignment="bottom")
    now = st.session_state
    prompts.caption(f"A {escape_typed(now['clean'])}  \nB {escape_typed(now['corrupt'])}")
    _show_count(count, seed)


def _show_template(row: DeltaGenerator) -> None:
    chosen, count, seed = row.columns([6, 1.5, 1.3])
    titles = {one.name: f"{one.name}: {one.title}" for one in tasks()}
    fields.choice(
        chosen,
        "Task",
        list(titles),
        "task",
        titles,
        help="Its words are those that are single tokens of the model at hand.",
    )
    _show_count(count, seed)


def _show_own_template(row: DeltaGenerator) -> None:
    text, more, count, seed = row.columns([4.4, 1.6, 1.5, 1.3], vertical_alignment="bottom")
    _field(text, "template_text")
    with more.popover("Slots, answers", width="stretch"):
        here = st.container()
        key = "template_slots"
        fields.text_area(here, LABELS[key], key, height=130, help=HELP[key])
        for key in ("template_swap", "template_answer", "template_wrong"):
            _field(here, key)
    _show_count(count, seed)


def _show_sentences(row: DeltaGenerator) -> None:
    fields.text_area(row, LABELS["sentences"], "sentences", height=80, help=HELP["sentences"])


def _show_swap(row: DeltaGenerator) -> None:
    prompt, word, answer, count = row.columns([4, 1.6, 1.6, 1.5])
    _field(prompt, "swap_prompt")
    _field(word, "swap_word")
    _field(answer, "swap_answer")
    _show_count(count)


def _show_run(row: DeltaGenerator) -> None:
    row.caption(f"{len(st.session_state['set_pairs']):,} pairs, as the run store has them.")


_ROWS: dict[str, Callable[[DeltaGenerator], None]] = {
    "pair": _show_pair,
    "template": _show_template,
    "own": _show_own_template,
    "sentences": _show_sentences,
    "swap": _show_swap,
    "run": _show_run,
}


def _show_file(model: Model, row: DeltaGenerator) -> None:
    upload, how = row.columns([6, 3], vertical_alignment="bottom")
    given = upload.file_uploader(
        "A file of pairs",
        type=list(SUFFIXES),
        key="set_upload",
        help=f"Published data as it is ({', '.join(one.title for one in FORMATS)}), or a table whose columns you name. "
        f"At most 5 MB and {MOST_PAIRS:,} pairs.",
    )
    if given is None:
        return
    of, columns = st.session_state.get("set_columns", ("", ()))
    with how:
        wanted = _reading(model, columns if of == given.file_id else ())
    asked = given.file_id, model.fingerprint, wanted
    if st.session_state.get("set_upload_id") == asked:
        return
    st.session_state["set_file"] = None
    try:
        st.session_state["set_file"] = pair_sets.read_file(
            given.name, given.getvalue(), wanted, model
        )
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
    space = st.checkbox("Put a space before answers that have none", key="set_space")
    own = st.checkbox("Its token ids are those of this model", key="set_own_ids")
    named: dict[str, str] = {}
    for part in PARTS if columns else ():
        chosen = st.selectbox(
            f"Column: {part}", columns, None, format_func=escape, key=f"set_column_{part}"
        )
        named |= {part: chosen} if chosen else {}
    return Reading(columns=named, add_space=space, token_ids=model.name if own else "")


def _field(place: DeltaGenerator, key: str) -> None:
    fields.text_input(place, LABELS[key], key, help=HELP.get(key))


def _show_count(count: DeltaGenerator, seed: DeltaGenerator | None = None) -> None:
    """How many pairs, and where they are drawn with which seed."""
    again = "The same seed gives the same pairs."
    for place, label, key, help in (
        (count, "How many pairs", "set_count", None),
        (seed, "Seed", "set_seed", again),
    ):
        if place is not None:
            low, high = map(int, CONTROLS[key].bounds)
            fields.number_input(place, label, low, high, key, help=help)


def show_set(found: PairSet) -> None:
    """What was understood in a line, beside it the pairs; then the rows that gave none."""
    line, pairs = st.columns([9, 2], vertical_alignment="center")
    line.caption(escape(pair_sets.set_in_words(found)))
    with pairs.popover(f"The {len(found.items):,} pairs", width="stretch"):
        st.dataframe(found.table(), hide_index=True, height=280, width=900)
        file_button(
            "Pairs (JSONL)",
            lambda: "".join(write_items(found.items)),
            "patchwright-pairs.jsonl",
            "application/jsonl",
            "take-pairs",
            help="The set itself, for `--pairs` on the command line or to upload here again.",
        )
    if found.skipped:
        every = error_sentences(found.skipped)
        told = [f"- {escape(one)}" for one in every[:MOST_REASONS]]
        more = len(every) - MOST_REASONS
        told += [f"- and {more} more"] if more > 0 else []
        head = f"{plural(len(found.skipped), 'row')} cannot be used; the others go on."
        st.warning("\n".join([head, *told]))
    if found.more:
        st.warning(
            f"The set goes on, and this page takes at most {MOST_PAIRS:,} pairs: the rows behind "
            "them were not read. The command line has no such bound."
        )
