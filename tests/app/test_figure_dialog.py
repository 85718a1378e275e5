"""The dialog for a printed figure, without a browser."""

import pytest
from streamlit.testing.v1 import AppTest

from app_pages import errors, one_view

on_the_page = pytest.mark.filterwarnings("default")


def opened(view: str) -> AppTest:
    page = one_view(view)
    page.button(key="open-figure").click().run()
    assert errors(page) == []
    return page


def captions(page: AppTest) -> list[str]:
    return [one.value for one in page.code if "Model: demo" in one.value]


@on_the_page
def test_the_dialog_has_a_preview_and_a_caption_for_latex_and_as_text() -> None:
    page = opened("patch")
    latex, text = captions(page)
    assert latex.startswith(r"\caption{Share of the logit difference restored")
    assert text.startswith("Share of the logit difference restored")
    assert page.radio(key="figure-width").value == 5.5
    assert page.toggle(key="figure-title").value is False
    assert len(page.get("image")) == 1
    assert {one.proto.label for one in page.get("download_button")} >= {"PDF", "SVG", "PNG"}


@on_the_page
def test_a_trace_is_one_figure_of_all_its_panels() -> None:
    latex, _ = captions(opened("trace"))
    assert "by activations of the clean run, after noise on" in latex


@on_the_page
def test_of_a_lens_map_and_curve_can_be_drawn() -> None:
    page = opened("lens")
    assert page.radio(key="figure-name").options == ["Map", "By layer"]


@on_the_page
def test_the_graph_of_a_circuit_is_a_figure() -> None:
    page = opened("circuit")
    assert page.radio(key="figure-name").options == ["Graph", "Map"]
    assert "wider lines have larger scores" in captions(page)[1]
