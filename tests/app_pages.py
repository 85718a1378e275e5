"""The page without a browser, in Streamlit's own testing of apps: open, wait, read."""

import json
import math
import re
import struct
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

import patchwright
from patchwright.app.text import BREAK
from patchwright.jobs import Job
from timeouts import SECONDS

MAIN = Path(patchwright.__file__).parent / "app" / "main.py"
KINDS = ("markdown", "caption", "success", "error", "warning", "info")
"""Elements that are text."""


def whole_page(**parameters: str) -> AppTest:
    """The page as a new visitor sees it at an address, its work done."""
    page = AppTest.from_file(str(MAIN), default_timeout=SECONDS)
    return settled(_at(page, parameters).run())


def one_view(name: str, **parameters: str) -> AppTest:
    """One view, without the page around it, at an address of its own; its work done."""
    return settled(unopened_view(name, **parameters).run())


def unopened_view(name: str, **parameters: str) -> AppTest:
    """The same before it has run for the first time."""
    page = AppTest.from_function(_view, default_timeout=SECONDS, args=(name,))
    return _at(page, parameters)


def _at(page: AppTest, parameters: dict[str, str]) -> AppTest:
    for name, value in parameters.items():
        page.query_params[name] = value
    return page


def _view(name: str) -> None:
    from importlib import import_module

    import streamlit as st

    from patchwright.app import resources, session_state, url_state

    if session_state.prepare(st.session_state, name):
        session_state.set_controls(
            st.session_state,
            url_state.read_parameters(name, st.query_params, resources.experiment_finder()),
        )
    if said := st.session_state.pop("complaint", None):
        st.warning(said)
    st.session_state["run"] = None
    import_module(f"patchwright.app.views.{name}").show()
    st.query_params.from_dict(url_state.query_parameters(name, st.session_state))


def sent(page: AppTest) -> list[dict[str, Any]]:
    """What each map and workbench of the page has been given, with its arrays as nested lists."""
    return [unpacked(one.proto.bytes) for one in page.get("bidi_component") if one.proto.bytes]


def unpacked(message: bytes) -> dict[str, Any]:
    """What was packed into a message, its numbers rounded to 32 bits."""
    length = struct.unpack_from("<I", message)[0]
    data, body = json.loads(message[4 : 4 + length]), message[4 + length :]

    def read(one: Any) -> Any:
        if one is None:
            return None
        kind = {"float": np.float32, "flag": np.uint8, "index": np.uint32}[one["kind"]]
        count = math.prod(one["shape"])
        return np.frombuffer(body, kind, count, one["at"]).reshape(one["shape"]).tolist()

    for one in data["maps"]:
        values = read(one["values"])
        one["values"] = [[None if math.isnan(cell) else cell for cell in row] for row in values]
        one["estimated"], one["unsure"] = read(one["estimated"]), read(one["unsure"])
        if isinstance(one["places"], dict):
            starts, ends = one["places"]["starts"], one["places"]["ends"]
            one["places"] = [[start + end for end in ends] for start in starts]
        if one["tops"] is not None:
            listed, ids, shares = one["tops"]["words"], one["tops"]["ids"], one["tops"]["shares"]
            pairs = zip(read(ids), read(shares), strict=True)
            one["tops"] = [
                [
                    [(listed[k], share) for k, share in zip(*cell, strict=True) if k < len(listed)]
                    for cell in zip(*row, strict=True)
                ]
                for row in pairs
            ]
    return data


def work_under_way(page: AppTest) -> list[Job]:
    """The work for which the page shows Stop: over by now, or not yet."""
    computing = any(one["state"] == "computing" for one in sent(page))
    if not computing and not any(str(one.key).startswith("stop-") for one in page.button):
        return []
    return list(page.session_state["jobs"].values())


def settled(page: AppTest) -> AppTest:
    """The page when no work is under way any more; in a browser it looks again by itself."""
    for _ in range(100):  # works that follow one another, not time
        assert not page.exception
        jobs = work_under_way(page)
        if not jobs:
            return page
        assert all(job.wait(SECONDS) for job in jobs), "the work does not end"
        page.run()
    raise AssertionError("one work follows another without end")


def unescaped(text: str) -> str:
    """As it reads: without the escapes and joiners of `text.escape`."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text.replace(BREAK, ""))


def words(page: AppTest, *kinds: str) -> str:
    """The text of elements of these kinds, or of all, as it reads."""
    found = (one.value for kind in kinds or KINDS for one in getattr(page, kind))
    return unescaped("\n".join(found))


def errors(page: AppTest) -> list[str]:
    """The messages of errors on the page, its work done, as they read."""
    return [unescaped(one.value) for one in settled(page).error]


def workbench(page: AppTest) -> dict[str, Any]:
    """What the workbench has been given to show: `maps`, `inspector`, `set`, `progress`, `state`."""
    return next(one for one in sent(page) if "inspector" in one)


def looked_at(page: AppTest) -> str:
    """The place that the workbench looks at."""
    return workbench(page)["inspector"]["place"]


def facts(page: AppTest) -> dict[str, str]:
    """What other methods say of that place."""
    return dict(workbench(page)["inspector"]["facts"])


def offers_files(page: AppTest) -> bool:
    """Whether what the page shows can be taken away."""
    return any(one.proto.label == "CSV" for one in page.get("download_button"))


def button(page: AppTest, label: str) -> Button:
    """The button that is called so."""
    return next(one for one in page.button if one.label == label)


def parameters_of(page: AppTest) -> dict[str, str]:
    """The parameters of the page's address: those that it has put in place of the first ones."""
    for one in page.get("html"):
        if found := re.search(r"URLSearchParams\('(.*?)'\)", one.proto.body):
            return dict(parse_qsl(found[1], keep_blank_values=True))
    values = page.query_params.items()
    return {name: one if isinstance(one, str) else str(one[0]) for name, one in values}
