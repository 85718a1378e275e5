"""A button that makes a file when it is pressed, and whose file stays until the browser has it."""

from collections.abc import Callable
from threading import Thread
from typing import Literal

import streamlit as st
from streamlit.runtime import get_instance
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx


def file_button(
    label: str,
    content: Callable[[], str | bytes],
    name: str,
    kind: str,
    key: str,
    *,
    icon: str | None = None,
    help: str | None = None,
    width: Literal["content", "stretch"] = "content",
) -> None:
    """A button that saves what `content` returns as the file `name` of the MIME type `kind`.

    Streamlit counts such a file as nobody's and deletes it after two more runs of any visitors,
    which may be before the browser has fetched it. So the file is also added as the visitor's own,
    which keeps it until the visitor's next whole run.
    """
    visitor = get_script_run_ctx()

    def make_file() -> bytes:
        text = content()
        data = text.encode() if isinstance(text, str) else text
        # `add` asks its thread whose file it is, and the thread that runs this belongs to nobody.
        adding = Thread(
            target=get_instance().media_file_mgr.add,
            args=(data, kind, f"file of {key}", name, True),
        )
        add_script_run_ctx(adding, visitor).start()
        adding.join()
        return data

    st.download_button(
        label, make_file, name, kind, key, help, on_click="ignore", icon=icon, width=width
    )
