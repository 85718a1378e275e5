"""The page: `patchwright app` runs this file under Streamlit."""

import streamlit as st

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

PAGES = {
    "patch": st.Page(patch.show, title="Patch", url_path="patch", default=True),
    "activations": st.Page(activations.show, title="Activations", url_path="activations"),
    "trace": st.Page(trace.show, title="Trace", url_path="trace"),
    "lens": st.Page(lens.show, title="Lens", url_path="lens"),
    "ablation": st.Page(ablation.show, title="Ablation", url_path="ablation"),
    "paths": st.Page(paths.show, title="Paths", url_path="paths"),
    "circuit": st.Page(circuit.show, title="Circuit", url_path="circuit"),
    "many": st.Page(many.show, title="Many prompts", url_path="many"),
    "runs": st.Page(runs.show, title="Runs", url_path="runs"),
    "learn": st.Page(learn.show, title="Learn", url_path="learn"),
}

st.session_state["pages"] = PAGES
chosen = st.navigation(list(PAGES.values()))
name = chosen.url_path or "patch"
if (to := st.session_state.pop("go_to", name)) != name:
    st.switch_page(PAGES[to])
if st.session_state.get("page", name) != name:
    work.leave_page()
if state.prepare(st.session_state, name):
    try:
        state.take(st.session_state, address.read(name, st.query_params, work.look_up()))
    except PatchwrightError as error:
        instead = "the list of lessons" if name == "learn" else "the first example"
        st.session_state["complaint"] = f"{complaint(error)} Shown instead is {instead}."
if said := st.session_state.pop("complaint", None):
    st.warning(said)
for notice in work.notices():
    st.warning(plain(notice))
state.keep(st.session_state)
st.session_state["run"] = None
chosen.run()
shown = address.shortest(name, st.session_state, st.session_state["run"])
if st.query_params.to_dict() != shown:
    st.query_params.from_dict(shown)
