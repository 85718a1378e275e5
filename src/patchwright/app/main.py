"""The page: `patchwright app` runs this file under Streamlit."""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from patchwright.app import address_bar, resources, session_jobs, session_state, url_state
from patchwright.app.text import error_markdown, escape
from patchwright.app.views import (
    ablation,
    activations,
    attention,
    circuit,
    fields,
    learn,
    lens,
    many,
    patch,
    paths,
    projector,
    runs,
    trace,
)
from patchwright.app.views.tabs import TABS
from patchwright.app.views.topbar import SECTIONS
from patchwright.errors import PatchwrightError

st.set_page_config(page_title="Patchwright", page_icon="🧵", layout="wide")

VIEWS = {
    "patch": patch.show,
    "activations": activations.show,
    "attention": attention.show,
    "trace": trace.show,
    "lens": lens.show,
    "ablation": ablation.show,
    "paths": paths.show,
    "circuit": circuit.show,
    "many": many.show,
    "runs": runs.show,
    "learn": learn.show,
}
TITLES = SECTIONS | TABS
FIRST = "patch"
PAGES = {name: st.Page(show, title=TITLES[name], url_path=name) for name, show in VIEWS.items()}
# Streamlit serves a default page at the root alone, and not under its name: so there are two.
named = st.Page(patch.show, title="Patch", url_path=FIRST, visibility="hidden")
PAGES[FIRST] = st.Page(patch.show, title="Patch", url_path="start", default=True)


st.session_state["pages"] = PAGES
chosen = st.navigation([*PAGES.values(), named], position="hidden")
name = chosen.url_path or FIRST
if (to := st.session_state.pop("go_to", name)) != name:
    session_state.keep(st.session_state)
    # Without its parameters the page that is left would stand in the browser's history bare.
    st.switch_page(PAGES[to], query_params=st.query_params.to_dict())
turned = st.session_state.get("page", name) != name
if turned:
    session_jobs.leave_page()
new = session_state.prepare(st.session_state, name)
# Whether the browser went back or forth: its address then says what to show.
returned = getattr(get_script_run_ctx(), "is_history_navigation", False)
if new or returned:
    try:
        found = url_state.read_parameters(name, st.query_params, resources.experiment_finder())
        # An address that says anything has always meant the demo model where it names none.
        model = session_state.FIELDS["model"] if found else resources.first_model()
        before = (
            session_state.fields_for_model(model) if new else url_state.usual_controls(name, model)
        )
        session_state.set_controls(st.session_state, before | found)
    except PatchwrightError as error:
        if new:
            session_state.set_controls(st.session_state, {"model": resources.first_model()})
        instead = "the list of lessons" if name == "learn" else "the first example"
        instead = f"Shown instead is {instead}." if new else "What you see has not changed."
        st.session_state["complaint"] = f"{error_markdown(error)} {instead}"
arrived = new or turned or returned
if arrived:
    address_bar.start_history(name)
if said := st.session_state.pop("complaint", None):
    st.warning(said)
for notice in resources.new_notices():
    st.warning(escape(notice))
session_state.keep(st.session_state)
st.session_state["run"] = None
fields.begin()
# Drawn by this script, not by `chosen.run()`: when the page is turned, Streamlit forgets fields
# that a page has drawn, and with them what was typed just before the click.
# In a place of its own: what comes and goes there replaces nothing below it.
with st.container():
    if name != "learn":
        projector.show()
VIEWS[name]()
fields.end()
address_bar.write(name, arrived, returned)
