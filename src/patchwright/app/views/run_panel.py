"""The selected runs of the Library: one shown, two compared, any number exported or deleted."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app import restore_state, session_state
from patchwright.app.access import Access
from patchwright.app.results import statistics_of
from patchwright.app.run_list import RunRow, time_in_words
from patchwright.app.text import error_markdown, error_text, escape, escape_typed
from patchwright.app.views import export
from patchwright.app.views.file_button import file_button
from patchwright.app.widgets.heat_map import heat_map, heat_maps
from patchwright.errors import InputError, PatchwrightError
from patchwright.figures.comparison import comparison_grids, run_differences
from patchwright.figures.grid import Grid, grid_of, grids_of, on_one_scale
from patchwright.figures.matplotlib_figures import drawing_of
from patchwright.methods.trace import Trace
from patchwright.spelling import plural

MOST_NOTE = 1000
"""Characters of a note."""


def show(chosen: Sequence[RunRow], kept: Access) -> None:
    """What can be undone, what can be done with the selected runs, and what they show."""
    _show_undo()
    ids = [one for each in chosen for one in each.ids]
    hidden = len(set(st.session_state["picked"]) - set(ids))
    if hidden:
        st.caption(f"{hidden} selected run{'s are' if hidden > 1 else ' is'} not in this list.")
    if not chosen:
        _show_hint(kept)
        return
    try:
        if len(chosen) == 1:
            _show_one(chosen[0], kept)
        elif len(chosen) == 2:
            _show_two(chosen, ids, kept)
        else:
            st.markdown(f"**{len(chosen)} selected**")
            _show_buttons(ids, kept)
            st.caption("Select one run to view it, two to compare them.")
    except PatchwrightError as error:
        st.error(error_markdown(error))


def _show_hint(kept: Access) -> None:
    st.markdown("Select one run to view it, two to compare them, or more to export them.")
    st.caption(
        "Every finished experiment is kept on this machine, and is not computed again when it is asked "
        "for again."
        if kept.own
        else "These are the runs that you have computed or opened since you came here. Others do not "
        "see this list, and nobody can change or delete runs on this server."
    )


def _show_buttons(ids: list[str], kept: Access) -> None:
    file_button(
        "Export",
        lambda: runs_archive(kept, ids),
        "patchwright-runs.zip",
        "application/zip",
        "take-runs",
        icon=":material/archive:",
        help="One archive, to import on another machine or here.",
    )
    if kept.own:
        st.button(
            "Delete",
            key="delete-runs",
            icon=":material/delete:",
            on_click=_delete,
            args=(kept, ids),
        )
    st.button("Clear selection", key="clear-runs", on_click=_deselect, args=(ids,))


def _show_one(one: RunRow, kept: Access) -> None:
    """A run's question, what may be done with it, its map, its note and its files."""
    _show_title(one)
    with st.container(horizontal=True):
        opens = None if one.asked is None else restore_state.page_of(one.asked)
        st.button(
            "Open in Sets" if opens and opens[0] == "many" else "Open in Explore",
            key="open-run",
            type="primary",
            icon=":material/open_in_new:",
            on_click=_open_run,
            args=(opens,),
            disabled=opens is None,
            help="With its prompts and settings, to go on from there.",
        )
        _show_buttons(one.ids, kept)
    if opens is None:
        st.caption("This run uses settings that no page offers, so it is read-only here.")
    results = [_with_statistics(kept.result(run)) for run in one.ids]
    _draw(_maps(results), "run-map")
    st.caption(
        f"Computed in {sum(result.seconds for result in results):.1f} s on "
        f"{escape(str(results[0].model.get('device', 'an unnamed device')))}."
    )
    if kept.own:
        _show_note(one, kept)
    if len(results) == 1:
        export.show_files(results[0])
    else:
        export.show_files(
            export.select_result(results, list(map(_panel_name, results))), [drawing_of(*results)]
        )


def _show_title(one: RunRow, name: str = "") -> None:
    """What it asks, and below in small type when it was computed and what it is in code."""
    st.markdown(f"**{name}{escape_typed(one.title)}**")
    st.caption(
        f"{time_in_words(one.first.created, datetime.now(UTC))} · {escape_typed(one.details_text())}"
    )


def _with_statistics(result: Result) -> Result:
    many = "pair" in result.arrays[result.main].dims and len(result.clean.pairs) > 1
    return statistics_of(result) if many else result


def _maps(results: Sequence[Result]) -> list[Grid]:
    """The panels of a result, or the maps of a trace's sites on one scale."""
    if len(results) == 1:
        return grids_of(results[0])
    return on_one_scale([replace(grid_of(one), title=_panel_name(one)) for one in results])


def _panel_name(result: Result) -> str:
    assert isinstance(result.asked, Trace), "only traces are shown together"
    return result.asked.panel_title


def _draw(grids: Sequence[Grid], key: str) -> None:
    if len(grids) == 1:
        heat_map(grids[0], key)
        return
    for at in range(0, len(grids), 3):
        heat_maps(grids[at : at + 3], f"{key}-{at}", numbered=True)


def _show_two(chosen: Sequence[RunRow], ids: list[str], kept: Access) -> None:
    """Two runs and their difference on one scale; the earlier one first."""
    early, late = sorted(chosen, key=lambda one: one.first.created)
    _show_title(early, "First: ")
    _show_title(late, "Second: ")
    with st.container(horizontal=True):
        _show_buttons(ids, kept)
    pairs = result_pairs(
        [kept.result(one) for one in early.ids], [kept.result(one) for one in late.ids]
    )
    said: list[str] = []
    if differences := run_differences(*pairs[0]):
        *others, last = differences
        listed = f"{', '.join(others)} and {last}" if others else last
        said.append(f"These two differ in {listed}.")
    warning = st.empty()
    for i, (one, other) in enumerate(pairs):
        if len(pairs) > 1:
            st.caption(f"**{_panel_name(one)}**")
        try:
            grids = comparison_grids(one, other)
        except InputError as error:
            said.append(error_text(error))
            named = {"first": one, "second": other}
            grids = [replace(grid_of(result), title=name) for name, result in named.items()]
        else:
            st.caption("All on one scale; the third is the second less the first.")
        _draw(grids, f"compared-{i}")
    if said:
        warning.warning(escape(" ".join(dict.fromkeys(said))))


def result_pairs(ours: Sequence[Result], theirs: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Which results of two rows are compared: of two traces those of the same site."""
    sites = {one.experiment.get("site"): one for one in theirs}
    same = [(one, sites[site]) for one in ours if (site := one.experiment.get("site")) in sites]
    return same if len(ours) > 1 and same else [(ours[0], theirs[0])]


def runs_archive(kept: Access, ids: Sequence[str]) -> bytes:
    """An archive of these runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.zip"
        kept.export(path, ids)
        return path.read_bytes()


def _open_run(opens: tuple[str, restore_state.Controls]) -> None:
    """Put a run's experiment into the controls, and go to its tab."""
    page, controls = opens
    session_state.set_controls(st.session_state, restore_state.CLEARED | controls)
    st.session_state["go_to"] = page


def _deselect(ids: Sequence[str]) -> None:
    st.session_state["picked"] = [one for one in st.session_state["picked"] if one not in ids]


def _delete(kept: Access, ids: list[str]) -> None:
    def work() -> None:
        kept.delete(ids)
        _deselect(ids)
        said = f"{plural(len(ids), 'run')} deleted."
        st.session_state["undo"] = said, lambda: kept.restore(ids)

    _try_change(work)


def _show_note(one: RunRow, kept: Access) -> None:
    key = f"note-{one.first.id}"
    st.session_state.setdefault(key, one.first.note)
    st.text_input(
        "Note",
        key=key,
        on_change=_write_note,
        args=(one, key, kept),
        help="Kept beside the run; the search finds its words.",
    )


def _write_note(one: RunRow, key: str, kept: Access) -> None:
    def write(text: str) -> None:
        for run in one.ids:
            kept.note(run, text)

    def undo() -> None:
        write(one.first.note)
        st.session_state[key] = one.first.note

    def work() -> None:
        text = st.session_state[key].strip()
        if len(text) > MOST_NOTE:
            raise InputError(
                f"The note has {len(text):,} characters, and at most {MOST_NOTE:,} are kept: shorten it."
            )
        write(text)
        st.session_state["undo"] = "Note changed.", undo

    _try_change(work)


def _show_undo() -> None:
    """The last change, and its undoing."""
    if (undo := st.session_state.get("undo")) is None:
        return
    said, back = undo
    with st.container(horizontal=True, vertical_alignment="center", key="undo"):
        st.markdown(said, width="content")
        st.button("Undo", key="undo-change", on_click=_undo_change, args=(back,))


def _undo_change(back: Callable[[], None]) -> None:
    def work() -> None:
        back()
        st.session_state["undo"] = None

    _try_change(work)


def _try_change(work: Callable[[], None]) -> None:
    """In a callback: what goes wrong is said above the page."""
    try:
        work()
    except PatchwrightError as error:
        st.session_state["complaint"] = error_markdown(error)
