"""The sidebar: which model, which example."""

import streamlit as st

from patchwright.app import state
from patchwright.app.work import model_called
from patchwright.errors import PatchwrightError
from patchwright.model.known import KNOWN
from patchwright.model.load import Model
from patchwright.prompts.examples import examples

OTHER = "other…"


def shown() -> Model | None:
    """Draw the sidebar; the chosen model, or None where it cannot be loaded."""
    state.prepare(st.session_state)
    with st.sidebar:
        st.title("Patchwright")
        st.caption("Which part of a language model caused its answer?")
        model = _model()
        st.subheader("Examples")
        for example in examples():
            st.button(
                example.title,
                key=f"example-{example.id}",
                help=example.look_for,
                on_click=state.take_example,
                args=(st.session_state, example.id),
                width="stretch",
            )
    return model


def _model() -> Model | None:
    chosen = st.selectbox("Model", [*(one.name for one in KNOWN), OTHER], key="model")
    name = st.text_input("Hub name or folder", key="model_name") if chosen == OTHER else chosen
    if not name:
        st.info("Type a hub name such as owner/model, or the path of a folder.")
        return None
    try:
        model = model_called(name)
    except PatchwrightError as error:
        st.error(str(error))
        return None
    spec = model.spec
    sizes = f"{spec.n_layers} layers × {spec.n_heads} heads, width {spec.d_model}"
    st.caption(f"{sizes}; {model.dtype} on {model.device}")
    if name == "demo":
        st.caption("A teaching model of the GPT-2 architecture, not GPT-2: it knows few words.")
    return model
