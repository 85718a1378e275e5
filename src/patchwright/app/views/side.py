"""The sidebar: which model, which example."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.app import state
from patchwright.app.downloads import Download
from patchwright.app.text import complaint, plain
from patchwright.app.work import download_of, model_called, options
from patchwright.errors import PatchwrightError
from patchwright.model.hub import cached
from patchwright.model.known import KNOWN
from patchwright.model.load import Model, confined
from patchwright.prompts.examples import example, examples


def shown(with_examples: bool = True) -> Model | None:
    """Draw the sidebar; the chosen model, or None where there is none yet, and then why."""
    with st.sidebar:
        titled()
        name = _name()
        about = st.container()
        if with_examples:
            _examples(name)
    if not name:
        st.info("Type a hub name such as owner/model, or the path of a folder, in the sidebar.")
        return None
    try:
        model = model_if_here(name)
    except PatchwrightError as error:
        st.error(complaint(error))
        return None
    if model is not None:
        _about(about, model)
    return model


def titled() -> None:
    """The head of the sidebar."""
    st.title("Patchwright", anchor=False)
    st.caption("Which part of a language model caused its answer?")


def _name() -> str:
    """The name of the model that is asked for."""
    chosen = st.selectbox("Model", [*state.MODELS, state.OTHER], key="model")
    if chosen != state.OTHER:
        return chosen
    return st.text_input("Hub name or folder", key="model_name", max_chars=300).strip()


def model_if_here(name: str) -> Model | None:
    """The model, if its files are here; else None, and the offer to fetch them.

    Raises InputError for what visitors may not load.
    """
    name = confined(name, options().folders)
    on_hub = name != "demo" and not name.startswith("/")
    if on_hub and cached(name, None) is None:
        _offer(name)
        return None
    return model_called(name)


def _offer(name: str) -> None:
    """A model that is not on this machine: fetch it, see how far that is, stop it."""
    size = next((f" ({one.download:,} MB)" for one in KNOWN if one.name == name), "")
    download = download_of(name)
    if download.error is not None:
        st.error(complaint(download.error))
    if download.running:
        _under_way(name)
        return
    st.info(
        f"The model {plain(name)} is not on this machine yet. The demo model needs no download."
    )
    if st.button(f"Download {plain(name)}{size}", type="primary"):
        download.start()
        st.rerun()


@st.fragment(run_every=0.5)
def _under_way(name: str) -> None:
    download: Download = download_of(name)
    if not download.running:
        st.rerun()
    done, total = download.bytes
    text = f"Downloading {plain(name)}: {done >> 20:,} of {total >> 20:,} MiB"
    st.progress(min(1.0, done / total) if total else 0.0, text)
    st.button("Stop", on_click=download.stop, disabled=download.stopping)


def _about(place: DeltaGenerator, model: Model) -> None:
    spec = model.spec
    shared = "" if spec.n_kv_heads == spec.n_heads else f" ({spec.n_kv_heads} key/value heads)"
    sizes = f"{spec.n_layers} layers × {spec.n_heads} heads{shared}, width {spec.d_model}"
    stored = (
        "" if model.stored_dtype in (None, model.dtype) else f", stored as {model.stored_dtype}"
    )
    place.caption(f"{sizes}; {model.dtype} on {model.device}{stored}")
    if model.name == "demo":
        place.caption("A teaching model of the GPT-2 architecture, not GPT-2: it knows few words.")


def _examples(model: str) -> None:
    """The library, by task; those that suit the model first."""
    ordered = sorted(examples(), key=lambda one: model not in one.models)
    now = state.example_shown(st.session_state)
    titles = {one.id: one.title for one in ordered}
    other = {one.id for one in ordered if model not in one.models}
    if st.session_state.get("example", "") != now:
        st.session_state["example"] = now
    st.selectbox(
        "Example", list(titles), key="example", placeholder="Your own prompts",
        format_func=lambda id: ("GPT-2: " if id in other else "") + titles[id],
        on_change=_take_example,
    )  # fmt: skip
    if now is not None:
        shown = example(now)
        st.caption(f"**{plain(shown.task.capitalize())}: {plain(shown.title)}**")
        st.caption(f"What to look for: {plain(shown.look_for)}")


def _take_example() -> None:
    if st.session_state["example"]:
        state.take_example(st.session_state, st.session_state["example"])
