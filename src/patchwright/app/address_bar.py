"""The address of the browser: what the page shows, one step of its history for each that a person did."""

from urllib.parse import urlencode

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from patchwright.app import url_state

REPLACED = frozenset({"threshold", "pinned", "pinned_run", "note", "view"})
"""What is in the address, and no step that Back undoes."""


def start_history(page: str) -> None:
    """Take what is shown now as where the person starts: no step was done yet."""
    st.session_state["written"] = url_state.query_parameters(page, st.session_state)


def write(page: str, arrived: bool = False, returned: bool = False) -> None:
    """Put what is shown into the address; after a step that was done here, as a step of history."""
    now = st.session_state
    written = url_state.query_parameters(page, now)
    shown = url_state.shortest_parameters(page, now, now["run"])
    before = now.get("written", written)
    stepped = not arrived and _history_parameters(written) != _history_parameters(before)
    now["written"] = written
    if not url_state.is_short_enough(shown) or st.query_params.to_dict() == shown:
        return
    if stepped or returned:
        st.query_params.from_dict(shown)
    else:
        _replace(shown)


def write_in_fragment(page: str) -> None:
    """As `write`, at the end of a fragment: a run of the whole page writes at its own end."""
    if is_in_fragment():
        write(page)


def is_in_fragment() -> bool:
    """Whether a fragment runs by itself, and not the whole page."""
    running = get_script_run_ctx()
    return running is not None and bool(running.fragment_ids_this_run)


def _history_parameters(parameters: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in parameters.items() if name not in REPLACED}


def _replace(parameters: dict[str, str]) -> None:
    """Put other parameters into the address without a step in the browser's history.

    Streamlit's own `query_params` always add one.
    """
    # urlencode leaves no character that could end the string or the script.
    st.html(
        "<script>{"
        f"const query = new URLSearchParams('{urlencode(parameters)}');"
        "for (const [name, value] of new URLSearchParams(location.search))"
        "  if (name.startsWith('embed')) query.append(name, value);"
        "history.replaceState(history.state, '', location.pathname + (query.size ? '?' + query : ''));"
        "}</script>",
        unsafe_allow_javascript=True,
    )
