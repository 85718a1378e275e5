"""The page: `patchwright app` runs this file under Streamlit."""

from urllib.parse import urlencode

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from patchwright.app import address, state, work
from patchwright.app.text import complaint, plain
from patchwright.app.views import (
    ablation,
    activations,
    circuit,
    learn,
    lens,
    many,
    patch,
    paths,
    runs,
    trace,
)
from patchwright.errors import PatchwrightError

st.set_page_config(page_title="Patchwright", page_icon="🧵", layout="wide")

# Streamlit leaves six lines above the page, code in a heading may not break, and captions are too
# pale to be read by everybody (contrast below 4.5).
st.html(
    "<style>.stMainBlockContainer{padding-top:3rem} h4 code{white-space:nowrap} "
    "[data-testid=stCaptionContainer]{color:inherit;opacity:.85}</style>"
)

VIEWS = {
    "patch": (patch.show, "Patch"),
    "activations": (activations.show, "Activations"),
    "trace": (trace.show, "Trace"),
    "lens": (lens.show, "Lens"),
    "ablation": (ablation.show, "Ablation"),
    "paths": (paths.show, "Paths"),
    "circuit": (circuit.show, "Circuit"),
    "many": (many.show, "Many prompts"),
    "runs": (runs.show, "Runs"),
    "learn": (learn.show, "Learn"),
}
FIRST = "patch"
PAGES = {name: st.Page(show, title=title, url_path=name) for name, (show, title) in VIEWS.items()}
# Streamlit serves a default page at the root alone, and not under its name: so there are two.
named = st.Page(patch.show, title="Patch", url_path=FIRST, visibility="hidden")
PAGES[FIRST] = st.Page(patch.show, title="Patch", url_path="start", default=True)


def replace_address(parameters: dict[str, str]) -> None:
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


st.session_state["pages"] = PAGES
chosen = st.navigation([*PAGES.values(), named])
name = chosen.url_path or FIRST
if (to := st.session_state.pop("go_to", name)) != name:
    state.keep(st.session_state)
    st.switch_page(PAGES[to])
turned = st.session_state.get("page", name) != name
if turned:
    work.leave_page()
new = state.prepare(st.session_state, name)
# Whether the browser went back or forth: its address then says what to show.
returned = getattr(get_script_run_ctx(), "is_history_navigation", False)
if new or returned:
    try:
        found = address.read(name, st.query_params, work.look_up())
        # An address that says anything has always meant the demo model where it names none.
        model = state.FIELDS["model"] if found else work.first_model()
        before = {"model": model} if new else address.usual(name, model)
        state.take(st.session_state, before | found)
    except PatchwrightError as error:
        if new:
            state.take(st.session_state, {"model": work.first_model()})
        instead = "the list of lessons" if name == "learn" else "the first example"
        instead = f"Shown instead is {instead}." if new else "What you see has not changed."
        st.session_state["complaint"] = f"{complaint(error)} {instead}"
arrived = new or turned or returned
if arrived:
    st.session_state["written"] = address.written(name, st.session_state)
if said := st.session_state.pop("complaint", None):
    st.warning(said)
for notice in work.notices():
    st.warning(plain(notice))
state.keep(st.session_state)
st.session_state["run"] = None
# Drawn by this script, not by `chosen.run()`: when the page is turned, Streamlit forgets fields
# that a page has drawn, and with them what was typed just before the click.
VIEWS[name][0]()
written = address.written(name, st.session_state)
shown = address.shortest(name, st.session_state, st.session_state["run"])
stepped = not arrived and written != st.session_state["written"]
st.session_state["written"] = written
if address.fits(shown) and st.query_params.to_dict() != shown:
    if stepped or returned:
        st.query_params.from_dict(shown)
    else:
        replace_address(shown)
