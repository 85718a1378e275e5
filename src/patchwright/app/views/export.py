"""Take it away: figures, tables, and programs that give the same numbers again."""

from collections.abc import Callable, Sequence
from urllib.parse import urlencode

import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.app import url_state
from patchwright.app.results import origin
from patchwright.app.views import ask, fields, figure_dialog, projector
from patchwright.app.views.file_button import file_button
from patchwright.app.views.topbar import Bar
from patchwright.figures.grid import title_of
from patchwright.figures.matplotlib_figures import Drawing, drawings_of
from patchwright.methods import METHODS
from patchwright.storage.export import Notes, csv_text, notebook_text, script_text


def show(
    bar: Bar,
    *results: Result,
    linked: Result | None = None,
    asked: Result | None = None,
    sharable: bool = True,
    drawings: Sequence[Drawing] = (),
    notes: Notes = (),
) -> None:
    """Fill the bar: what shares the page, and one button a format, whose file is made when asked for.

    The figure is one of `drawings`, or where none are named of the result's own; of several
    results a person chooses whose numbers the files have. The address names `linked` where a
    page rests on several results; where no fields say what the page shows, it is not `sharable`
    beyond this run store. A question is made of the map of `asked`, or of the same. `notes` are
    what a file says of the pairs.
    """
    with bar.export.popover("Export", icon=":material/download:"):
        show_files(select_result(results), drawings, notes)
    with bar.share.popover("Share", icon=":material/share:"):
        _show_link(results[0] if linked is None else linked, sharable)
        _show_note()
        _show_teaching_buttons(asked or linked or results[0])


def _show_teaching_buttons(result: Result) -> None:
    """What a teacher does with a map."""
    with st.container(horizontal=True):
        ask.show_button(result)
        if "view" in url_state.PAGES[st.session_state["page"]]:
            projector.show_button()


def select_result(results: Sequence[Result], names: Sequence[str] = ()) -> Result:
    """The result whose numbers are taken away; they are called by short `names`, else by their titles."""
    if len(results) == 1:
        return results[0]
    titles = names or [title_of(one) for one in results]
    index = st.radio(
        "Numbers of",
        range(len(results)),
        format_func=titles.__getitem__,
        key="taken",
        horizontal=bool(names),
    )
    return results[index]


def _show_note() -> None:
    """A line of the person's own, which the address keeps."""
    if "note" in url_state.PAGES[st.session_state["page"]]:
        fields.text_input(st.container(), "Note", "note", placeholder="What to look at here")


def show_files(result: Result, drawings: Sequence[Drawing] = (), notes: Notes = ()) -> None:
    """The buttons alone: the figure, which a dialog draws, and one for each other format."""
    offered: dict[str, tuple[str, str, Callable[[], str | bytes]]] = {
        "CSV": ("cells.csv", "text/csv", lambda: csv_text(result, notes=notes)),
        "JSON": ("result.json", "application/json", lambda: result.to_json()),
        "Python": ("experiment.py", "text/x-python", lambda: script_text(result)),
        "Notebook": (
            "experiment.ipynb",
            "application/x-ipynb+json",
            lambda: notebook_text(result),
        ),
    }
    with st.container(horizontal=True):
        figure_dialog.show_button(drawings or drawings_of(result), result.method)
        for name, (file, kind, content) in offered.items():
            file_button(name, content, f"patchwright-{result.method}-{file}", kind, f"take-{name}")


def _show_link(result: Result, sharable: bool) -> None:
    """What the address holds, and the link that needs no run store; notes the run for the address."""
    came = origin(result)
    if came is not None:
        st.session_state["run"] = METHODS.parse(result.experiment)
    if came == "from the store":
        st.caption("Loaded from saved runs.")
    if came is None and not sharable:
        st.caption("This set is in no run store, so the address of this page does not hold it.")
        return
    long = url_state.query_parameters(st.session_state["page"], st.session_state)
    if came is None and not url_state.is_short_enough(long):
        st.caption(
            "This experiment is too long for an address: the files above hold it, the address of this "
            "page does not."
        )
        return
    st.caption("The address of this page holds the experiment: copy it to share what you see.")
    if came is not None and sharable:
        with st.expander("Full link (works on any server)"):
            st.caption(
                "The short address is known to this machine's run store only. This one names every "
                "field and works anywhere."
            )
            st.code(f"{st.context.url or ''}?{urlencode(long)}", language=None, wrap_lines=True)
