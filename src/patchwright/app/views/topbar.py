"""The bar at the top: the four places of the page, which model, which example."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.app import session_state
from patchwright.app.downloads import Download
from patchwright.app.resources import download_of, options, shared_model
from patchwright.app.text import error_markdown, escape
from patchwright.app.views import commands, fields
from patchwright.app.views.tabs import TABS
from patchwright.errors import PatchwrightError
from patchwright.model.catalog import catalog_entry, local_path
from patchwright.model.load import Model, allowed_model_name
from patchwright.prompts.examples import Example, example, examples

MODEL_LABEL = "Hub name, folder or .gguf file"
ANYWHERE = (Path("/"),)
QUANTISED = (
    "Its weights are quantised, so it is not the same model as the one published in full precision."
)


SECTIONS = {"patch": "Explore", "many": "Sets", "learn": "Learn", "runs": "Library"}
"""The pages that the bar leads to."""


@dataclass(frozen=True)
class Bar:
    """The chosen model, and where the page's links and files go once there is a result."""

    model: Model
    share: DeltaGenerator
    export: DeltaGenerator


def show(with_examples: bool = True) -> Bar | None:
    """Draw the bar; None where there is no model yet, and then why."""
    with show_links():
        name = _select_model()
        if with_examples:
            _show_examples(name)
        about = st.popover("About", icon=":material/info:", help="This model and this example.")
        share, export = _reserve_button("Share"), _reserve_button("Export")
    _show_first_model(name)
    if with_examples:
        _show_look_for(about, name)
    if not name:
        st.info(f"Type a hub name such as owner/model at the top, or {_folders_text()}.")
        return None
    try:
        fields.check({"model_name": MODEL_LABEL})
        model = model_if_here(name)
    except PatchwrightError as error:
        st.error(error_markdown(error))
        return None
    if model is None:
        return None
    _show_about(about, model)
    return Bar(model, share, export)


def _reserve_button(label: str) -> DeltaGenerator:
    """Room for a button, which does nothing as long as there is no result."""
    room = st.empty()
    room.button(label, disabled=True, help="There is no result yet.")
    return room


def show_links() -> DeltaGenerator:
    """Draw the bar with its links; what is still to stand in it goes into what is returned."""
    bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="topbar")
    bar.markdown("**Patchwright**", width="content")
    for page, label in SECTIONS.items() if "pages" in st.session_state else ():
        here = page == "patch" and st.session_state.get("page") in TABS
        bar.page_link(st.session_state["pages"][page], label=f"**{label}**" if here else label)
    with bar:
        commands.show()
    return bar


def _select_model() -> str:
    """The name of the model that is asked for."""
    here = st.container(width=150)
    again: dict[str, Any] = {"on_change": session_state.take_model, "args": (st.session_state,)}
    # Where it is seen without scrolling: behind the models that need no hub.
    names = [*session_state.MODELS[:2], session_state.OTHER, *session_state.MODELS[2:]]
    hidden: dict[str, Any] = {"label_visibility": "collapsed"}
    chosen = fields.choice(here, "Model", names, "model", **again, **hidden)
    if chosen == session_state.OTHER:
        typed = st.container(width=260)
        fields.text_input(
            typed, MODEL_LABEL, "model_name", **again, **hidden, placeholder=MODEL_LABEL
        )
    return session_state.model_of(st.session_state)


def _folders_text() -> str:
    """Which folders may be typed, and where none may, how to open some."""
    if options().alone:
        return "the path of a folder or a .gguf file"
    if options().folders:
        return "the path of a folder or a .gguf file below one that the page was started with (`--folder`)"
    return "start the page with `--folder DIR` to open models in a folder of its machine"


def model_if_here(name: str) -> Model | None:
    """The model, if its files are here; else None, and the offer to fetch them.

    Raises InputError for what visitors may not load. Anyone at the machine itself may open any
    folder; others may open only those below the server's `--folder`s.
    """
    name = allowed_model_name(name, ANYWHERE if options().alone else options().folders)
    if not name.startswith("/") and local_path(name) is None:
        _show_download(name)
        return None
    return shared_model(name)


def _show_download(name: str) -> None:
    """A model that is not on this machine: fetch it, see how far that is, stop it."""
    entry = catalog_entry(name)
    size = f" ({entry.download:,} MB)" if entry else ""
    download = download_of(name)
    if download.error is not None:
        st.error(error_markdown(download.error))
    if download.running:
        _show_progress(name)
        return
    st.info(
        f"The model {escape(name)} is not on this machine yet. The demo model needs no download."
    )
    if st.button(f"Download {escape(name)}{size}", type="primary"):
        download.start()
        st.rerun()


def _show_first_model(now: str) -> None:
    """Of the model that the page is to open on: how far its download is, or that it is here."""
    wanted = options().model
    if wanted is None or wanted == now:
        return
    download = download_of(wanted)
    if download.running:
        _show_progress(wanted)
    elif download.error is not None:
        st.caption(error_markdown(download.error))
    elif download.fetched:
        st.button(
            f"Open {escape(wanted)}: it is here now",
            type="primary",
            on_click=_open_model,
            args=(wanted,),
        )


def _open_model(name: str) -> None:
    st.session_state["model"] = name
    session_state.take_usual_bos(st.session_state)


@st.fragment(run_every=0.5)
def _show_progress(name: str) -> None:
    download: Download = download_of(name)
    if not download.running:
        st.rerun()
    done, total = download.bytes
    text = f"Downloading {escape(name)}: {done >> 20:,} of {total >> 20:,} MiB"
    st.progress(min(1.0, done / total) if total else 0.0, text)
    if options().allow_edits or not download.unasked:
        st.button(
            "Stop", on_click=download.stop, disabled=download.stopping, key=f"stop download {name}"
        )


def _show_about(place: DeltaGenerator, model: Model) -> None:
    spec = model.spec
    shared = "" if spec.n_kv_heads == spec.n_heads else f" ({spec.n_kv_heads} key/value heads)"
    sizes = f"{spec.n_layers} layers × {spec.n_heads} heads{shared}, width {spec.d_model}"
    kept = model.quantization or model.stored_dtype
    stored = "" if kept in (None, model.dtype) else f", stored as {kept}"
    place.caption(f"{sizes}; {model.dtype} on {model.device}{stored}")
    if model.name == "demo":
        place.caption("A teaching model of the GPT-2 architecture, not GPT-2: it knows few words.")
    if (entry := catalog_entry(model.name)) and model.source == "planted":
        place.caption(f"Not a language model: {entry.note}.")
    if model.quantization is not None:
        place.caption(QUANTISED)


def _show_examples(model: str) -> None:
    """The library, by task; those that suit the model first."""
    ordered = sorted(examples(), key=lambda one: model not in one.models)
    now = session_state.current_example(st.session_state)
    # Streamlit knows an option by its label: it may not depend on the model.
    titles = {one.id: _title(one) for one in ordered}
    # A field of its own for each example: what the browser says of an earlier one is no choice,
    # and may come late, with a prompt that was just typed.
    key = f"example-{now}"
    st.container(width=230).selectbox(
        "Example",
        list(titles),
        None if now is None else list(titles).index(now),
        key=key,
        placeholder="Your own prompts",
        format_func=titles.__getitem__,
        on_change=_take_example,
        args=(key, now),
        label_visibility="collapsed",
    )


def _show_look_for(place: DeltaGenerator, model: str) -> None:
    """What is to be seen in the example that is shown."""
    now = session_state.current_example(st.session_state)
    if now is None:
        return
    shown = example(now)
    place.caption(f"**{escape(shown.task.capitalize())}: {escape(shown.title)}**")
    place.caption(f"What to look for: {escape(shown.look_for)}")
    if model in shown.seen:
        place.caption(f"In the model {escape(model)}: {escape(shown.seen[model])}")


def _title(one: Example) -> str:
    """An example's title, with the models that it suits where the demo model is none of them."""
    return one.title if "demo" in one.models else f"{one.title} ({', '.join(one.models)})"


def _take_example(key: str, shown: str | None) -> None:
    """Take what was chosen; that the field still has what it showed is no choice."""
    chosen = st.session_state[key]
    if chosen != shown and chosen in {one.id for one in examples()}:
        session_state.take_example(st.session_state, chosen)
