"""Library: the saved runs, each with its picture and its question; and the examples."""

import re
import tempfile
from base64 import b64encode
from datetime import UTC, datetime
from html import escape as html_escape
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.app import address_bar
from patchwright.app.access import Access
from patchwright.app.page_controls import CONTROLS
from patchwright.app.resources import access
from patchwright.app.run_list import RunRow, dates, run_rows, toggled
from patchwright.app.text import error_markdown, escape_typed
from patchwright.app.views import example_list, fields, run_panel, topbar
from patchwright.errors import ArchiveError, PatchwrightError
from patchwright.figures.grid import unlabelled_grid_of
from patchwright.figures.thumbnail import alt_text, thumbnail
from patchwright.spelling import plural
from patchwright.storage.archive import unpacked_size

ROWS_SHOWN = 20
"""Rows of the list at first, and as many more each time."""

MOST_LISTED = 1000
MOST_UNPACKED = 256 * 2**20
"""Bytes of an archive's arrays when they are unpacked."""

LARGE = 2**20
"""Bytes of a run from which on its picture is drawn after all else: its numbers take long to read."""

SHELF_NAMES = {"runs": "Saved runs", "examples": "Examples"}


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    topbar.show(with_examples=False)
    head = st.container(horizontal=True, vertical_alignment="center", key="library-head")
    head.header("Library", anchor=False, width="content")
    head.segmented_control(
        "Part of the library",
        CONTROLS["shelf"].choices,
        required=True,
        format_func=SHELF_NAMES.__getitem__,
        label_visibility="collapsed",
        **fields.persistent_key("shelf"),
    )
    fields.text_input(
        head.container(width=320),
        "Search",
        "search",
        placeholder="Search: mary z denoise",
        help="Words of the prompts, the method, the model or a note; all must occur.",
        **fields.UNLABELLED,
    )
    try:
        fields.check({"search": "Search"})
        if st.session_state["shelf"] == "examples":
            example_list.show()
        else:
            _show_runs(head)
    except PatchwrightError as error:
        st.error(error_markdown(error))


def _show_runs(head: DeltaGenerator) -> None:
    """The saved runs beside those that are selected."""
    kept = access()
    if kept is None:
        st.info("This page was started without a run store, so nothing is kept.")
        return
    if kept.own:
        with head.popover("Import", icon=":material/upload:"):
            _show_import(kept)
    st.fragment(_show_list)(kept)


def _show_list(kept: Access) -> None:
    now = st.session_state
    if address_bar.is_in_fragment() and {"go_to", "complaint"} & set(now):
        st.rerun()
    count: int = now.setdefault("runs_shown", ROWS_SHOWN)
    picked: list[str] = now["picked"]
    found = kept.entries(now["search"], MOST_LISTED)
    # Three, since the runs of one trace are one row.
    near, far = found[: 3 * count], found[3 * count :]
    near += [one for one in far if one.id in picked]
    rows = run_rows(near, kept.experiments(near))
    left, right = st.columns([6, 7], gap="medium")
    with left.container(key="saved-runs"):
        st.caption(count_text(len(found), now["search"]))
        dated = zip(rows[:count], dates(rows[:count], datetime.now(UTC)), strict=True)
        late = [
            (row, place) for row, date in dated if (place := _show_row(row, date, kept)) is not None
        ]
        if len(rows) > count or len(found) > len(near):
            st.button("Show more", on_click=_show_more)
    with right.container(key="picked-runs"):
        run_panel.show([one for one in rows if set(one.ids) & set(picked)], kept)
    for row, place in late:
        place.html(_picture_html(kept, row.first.id, row.first.created), width="content")
    address_bar.write_in_fragment("runs")


def count_text(found: int, search: str) -> str:
    """How many runs there are, in words."""
    most = "the newest " if found == MOST_LISTED else ""
    runs = f"{most}{plural(found, 'run')}"
    if search.strip():
        return f"{runs} with all these words." if found else "No run has all these words."
    return f"{runs}, the newest first." if found else "Nothing is kept yet: run an experiment."


def _show_more() -> None:
    st.session_state["runs_shown"] += ROWS_SHOWN


def _show_row(row: RunRow, date: str, kept: Access) -> DeltaGenerator | None:
    """One row; where its picture takes long, the place that is left for it."""
    key, first = f"tick-{row.first.id}", row.first
    ticked = any(one in st.session_state["picked"] for one in row.ids)
    if st.session_state.get(key) != ticked:
        st.session_state[key] = ticked
    with st.container(horizontal=True, gap="small", key=f"run-{first.id}"):
        place = st.empty()
        shown = NO_PICTURE if first.size > LARGE else _picture_html(kept, first.id, first.created)
        place.html(shown, width="content")
        with st.container(gap=None):
            # Screen readers are told the label with its escapes: those that Markdown does not need go.
            title = re.sub(r"\\([?,])", r"\1", escape_typed(row.title))
            st.checkbox(f"{title} · {date}", key=key, on_change=_toggle, args=(row.ids,), wrap=True)
            st.caption(escape_typed(row.details_text()))
    return place if first.size > LARGE else None


def _toggle(ids: list[str]) -> None:
    st.session_state["picked"] = toggled(st.session_state["picked"], ids)


NO_PICTURE = '<div class="pw-thumb"></div>'


@st.cache_resource(max_entries=2000, show_spinner=False)
def _picture_html(_kept: Access, run: str, created: str) -> str:
    """The picture of a run that was `created` then, as HTML."""
    try:
        grid = unlabelled_grid_of(_kept.result(run))
    except PatchwrightError:  # what is wrong with it is said when it is selected
        return NO_PICTURE
    source = f"data:image/png;base64,{b64encode(thumbnail(grid)).decode()}"
    return f'<img class="pw-thumb" src="{source}" alt="{html_escape(alt_text(grid))}">'


def _show_import(kept: Access) -> None:
    """Runs out of an archive."""
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
        st.session_state["imported"] = None
        try:
            st.session_state["imported"] = import_runs(kept, given.getvalue())
        except PatchwrightError as error:
            st.error(error_markdown(error))
    if st.session_state.get("imported"):
        st.success(st.session_state["imported"])


def import_runs(kept: Access, content: bytes) -> str:
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
    return f"{plural(fresh, 'new run')}; {there} were here already."
