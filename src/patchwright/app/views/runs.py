"""Runs: what was computed and kept; search, open, compare, note, delete, export, import."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app import restore_state, session_state
from patchwright.app.access import Access
from patchwright.app.resources import access
from patchwright.app.results import statistics_of
from patchwright.app.text import error_markdown, escape, typed
from patchwright.app.views import export, fields, topbar
from patchwright.app.widgets.heat_map import heat_map, panels
from patchwright.errors import ArchiveError, PatchwrightError
from patchwright.figures.comparison import compared
from patchwright.figures.grid import grids_of, title_of
from patchwright.storage.archive import unpacked_size
from patchwright.storage.store import Entry

SHOWN = 20
"""Runs in the list at first, and as many more each time."""

MOST_LISTED = 1000
MOST_UNPACKED = 256 * 2**20
"""Bytes of an archive's arrays when they are unpacked."""

MOST_NOTE = 1000


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    topbar.shown(with_examples=False)
    st.header("Library", anchor=False)
    kept = access()
    if kept is None:
        st.info("This page was started without a run store, so nothing is kept.")
        return
    st.caption(
        "Every finished experiment is kept on this machine, and answered from here when it is asked "
        "for again."
        if kept.own
        else "What you have computed or opened since you came here. Others do not see it in this "
        "list, and nobody can change or delete runs on this server."
    )
    try:
        _undo(kept)
        _listed(kept)
        if kept.own:
            _import(kept)
    except PatchwrightError as error:
        st.error(error_markdown(error))


def _listed(kept: Access) -> None:
    """The search, the runs, and what is to be done with those that are ticked."""
    fields.text_input(
        st.container(),
        "Search",
        "search",
        placeholder="mary z denoise",
        help="Words of the prompts, the method, the model or a note; all must occur.",
    )
    fields.check({"search": "Search"})
    search: str = st.session_state["search"]
    found = kept.entries(search, MOST_LISTED)
    if not found:
        st.info(
            "No run has all these words."
            if search.strip()
            else "Nothing is kept yet: run an experiment."
        )
        return
    chosen_above = st.container()
    count: int = st.session_state.setdefault("runs_shown", SHOWN)
    for entry in found[:count]:
        _row(entry, kept)
    if len(found) > count:
        st.button(f"Show more (of {len(found):,})", on_click=_more)
    ticked = [one for one in found if st.session_state.get(f"tick-{one.id}")]
    with chosen_above:
        if ticked:
            _chosen(ticked, kept)
        else:
            st.caption("Tick one run to see it, two to compare them, or more to export them.")


def _more() -> None:
    st.session_state["runs_shown"] += SHOWN


def _row(entry: Entry, kept: Access) -> None:
    left, right = st.columns([6, 1], vertical_alignment="center")
    stopped = "" if entry.whole else " (stopped before its end)"
    stopped += "" if entry.origin == "computed" else " (imported)"
    with left:
        st.checkbox(typed(entry.about) + stopped, key=f"tick-{entry.id}")
        when = entry.created[:16].replace("T", " ")
        note = f" · note: {typed(entry.note)}" if entry.note else ""
        st.caption(
            f"{escape(entry.method)} · {escape(entry.model)} · {when} UTC · `{entry.id[:8]}`{note}"
        )
    right.button(
        "Open",
        key=f"open-{entry.id}",
        on_click=_open,
        args=(entry, kept),
        width="stretch",
        help="On the page that shows it, to go on from there.",
    )


def _open(entry: Entry, kept: Access) -> None:
    """Put a run's experiment into the controls and go to its page; else tick it, to show it here."""
    try:
        found = restore_state.page_of(kept.experiment(entry.experiment_hash))
    except PatchwrightError as error:
        st.session_state["complaint"] = error_markdown(error)
        return
    if found is None:
        st.session_state[f"tick-{entry.id}"] = True
        st.session_state["complaint"] = (
            "No page's controls can say this run: it is shown here, below the search."
        )
        return
    page, controls = found
    session_state.take(st.session_state, restore_state.CLEARED | controls)
    st.session_state["go_to"] = page


def _chosen(ticked: Sequence[Entry], kept: Access) -> None:
    """What may be done with the ticked runs, then what they show."""
    st.markdown(f"**{len(ticked)} run{'s' if len(ticked) > 1 else ''} chosen**")
    ids = [one.id for one in ticked]
    with st.container(horizontal=True):
        st.download_button(
            "Export",
            lambda: exported(kept, ids),
            "patchwright-runs.zip",
            "application/zip",
            on_click="ignore",
            help="One archive, to import on another machine or here.",
        )
        if kept.own:
            st.button("Delete", key="delete-runs", on_click=_delete, args=(kept, ids))
        st.button("Untick", key="untick-runs", on_click=_untick, args=(ids,))
    if len(ticked) == 1:
        if kept.own:
            _note(ticked[0], kept)
        _shown(kept.result(ticked[0].id))
    elif len(ticked) == 2:
        _compared(ticked, kept)
    else:
        st.caption("Two runs can be compared, one shown.")
    st.divider()


def _note(entry: Entry, kept: Access) -> None:
    key = f"note-{entry.id}"
    st.session_state.setdefault(key, entry.note)
    st.text_input(
        "Note",
        key=key,
        max_chars=MOST_NOTE,
        on_change=_write_note,
        args=(entry.id, key, kept),
        help="Kept beside the run; the search finds its words.",
    )


def _write_note(run: str, key: str, kept: Access) -> None:
    _try(lambda: kept.note(run, st.session_state[key].strip()))


def _shown(result: Result) -> None:
    """A run's figure, whatever it is of, and its files."""
    many = "pair" in result.arrays[result.main].dims and len(result.clean.pairs) > 1
    result = statistics_of(result) if many else result
    st.markdown(f"#### {escape(title_of(result))}")
    grids = grids_of(result)
    if len(grids) == 1:
        heat_map(grids[0], "run-map")
    else:
        panels(grids, "run-map")
    st.caption(f"Computed in {result.seconds:.1f} s on {escape(_device(result))}.")
    export.files(result)


def _device(result: Result) -> str:
    return str(result.model.get("device", "an unnamed device"))


def _compared(ticked: Sequence[Entry], kept: Access) -> None:
    """Two runs and their difference on one scale; the earlier one first."""
    early, late = sorted(ticked, key=lambda one: one.created)
    st.markdown(
        f"First: {typed(early.about)} (`{early.id[:8]}`)  \nSecond: {typed(late.about)} "
        f"(`{late.id[:8]}`)"
    )
    try:
        grids = compared(kept.result(early.id), kept.result(late.id))
    except PatchwrightError as error:
        st.warning(error_markdown(error))
        return
    for at in range(0, len(grids), 3):
        panels(grids[at : at + 3], f"compared-{at}")
    st.caption("All on one scale; the third is the second less the first.")


def exported(kept: Access, ids: Sequence[str]) -> bytes:
    """An archive of these runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.zip"
        kept.export(path, ids)
        return path.read_bytes()


def _delete(kept: Access, ids: list[str]) -> None:
    def work() -> None:
        st.session_state["deleted_runs"] = kept.delete(ids)

    _untick(ids)
    _try(work)


def _untick(ids: Sequence[str]) -> None:
    for one in ids:
        st.session_state[f"tick-{one}"] = False


def _undo(kept: Access) -> None:
    """The last deletion, and its undoing."""
    gone: list[str] = st.session_state.get("deleted_runs", [])
    if not gone:
        return
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.info(
        f"{len(gone)} run{'s' if len(gone) > 1 else ''} deleted: in no list and no answer any more. "
        "`patchwright runs prune` gives their room back."
    )
    right.button("Undo", key="undo-delete", on_click=_restore, args=(kept, gone), width="stretch")


def _restore(kept: Access, gone: list[str]) -> None:
    def work() -> None:
        kept.restore(gone)
        st.session_state["deleted_runs"] = []

    _try(work)


def _import(kept: Access) -> None:
    """Runs out of an archive."""
    with st.expander("Import an archive"):
        given = st.file_uploader(
            "Archive of runs",
            type=["zip"],
            key="runs_upload",
            help="A file that Export here or `patchwright runs export` wrote, at most 5 MB.",
        )
        if given is None:
            return
        if st.session_state.get("runs_upload_id") != given.file_id:
            st.session_state["runs_upload_id"] = given.file_id
            try:
                said = imported(kept, given.getvalue())
            except PatchwrightError as error:
                st.session_state["imported"] = None
                st.error(error_markdown(error))
                return
            st.session_state["imported"] = said
            st.rerun()
        if st.session_state.get("imported"):
            st.success(st.session_state["imported"])


def imported(kept: Access, content: bytes) -> str:
    """Take the runs of an archive in, all or none; what came of it. Raises ArchiveError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "the archive"
        path.write_bytes(content)
        size = unpacked_size(path)
        if size > MOST_UNPACKED:
            raise ArchiveError(
                f"The archive's numbers take {size >> 20:,} MiB when unpacked, and this page takes at "
                f"most {MOST_UNPACKED >> 20:,} MiB: import it with `patchwright runs import`."
            )
        try:
            fresh, there = kept.import_archive(path)
        except ArchiveError as error:
            raise ArchiveError(str(error).replace(f"'{path}'", "The file")) from error
    return f"{fresh} new run{'' if fresh == 1 else 's'}; {there} were here already."


def _try(work: Callable[[], None]) -> None:
    """In a callback: what goes wrong is said above the page."""
    try:
        work()
    except PatchwrightError as error:
        st.session_state["complaint"] = error_markdown(error)
