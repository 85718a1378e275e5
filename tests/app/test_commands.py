"""The palette of commands: what each one does, and places by name or in words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from patchwright.app import session_state
from patchwright.app.views import commands
from patchwright.errors import UnknownPlaceError
from patchwright.places import pers_of


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page remembers of a visitor who has just come."""
    state: dict[str, Any] = {}
    session_state.prepare(state)
    monkeypatch.setattr("streamlit.session_state", state)
    return state


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        ("L3H1.z@14", "L3H1.z@14"),
        ("L2.resid_pre", "L2.resid_pre"),
        ("embed@2", "embed@2"),
        ("3", "L3.resid_pre"),
        ("3.1", "L3H1.z"),
        ("layer 3", "L3.resid_pre"),
        ("Layer 3, head 1", "L3H1.z"),
        ("layer 3 head 1 token 14", "L3H1.z@14"),
        ("layer 3 token -1", "L3.resid_pre@-1"),
    ],
)
def test_a_place_is_called_by_its_name_or_in_words(typed: str, place: str) -> None:
    assert commands.place_from_text(typed) == place


@given(some.integers(0, 99), some.integers(0, 99), some.integers(-99, 99))
def test_numbers_in_words_are_the_numbers_of_the_place(
    layer: int, head: int, position: int
) -> None:
    words = f"layer {layer} head {head} position {position}"
    assert commands.place_from_text(words) == f"L{layer}H{head}.z@{position}"


@pytest.mark.parametrize(
    "typed", ["L9", "head 3", "layer", "1 2 3 4", "<b>1</b>", "9" * 5000 + ".z"]
)
def test_what_is_no_place_is_a_sentence_and_what_was_chosen_stays(
    typed: str, now: dict[str, Any]
) -> None:
    with pytest.raises(UnknownPlaceError, match=r"is not a (place|site)"):
        commands.place_from_text(typed)
    now["chosen"] = "L1.resid_pre@2"
    commands.run_command(f"place {typed}")
    assert now["chosen"] == "L1.resid_pre@2"
    assert "is not a" in now["complaint"]


def test_every_command_that_is_offered_does_something(
    monkeypatch: pytest.MonkeyPatch, now: dict[str, Any]
) -> None:
    offered: list[dict[str, str]] = []
    monkeypatch.setattr(commands, "palette", lambda listed, act: offered.extend(listed))
    commands.show()
    assert len({one["id"] for one in offered}) == len(offered)
    for one in offered:
        now.clear()
        session_state.prepare(now)
        now.update(
            places=["L0H1.z"], example="none", page="runs", site="q", metric="", direction=""
        )
        before = dict(now)
        commands.run_command(one["id"])
        assert now != before, one


def test_another_site_is_asked_of_the_places_that_it_has(now: dict[str, Any]) -> None:
    now.update(chosen="L1.resid_pre@2", page="lens")
    commands.run_command("site mlp_out")
    assert (now["site"], now["per"]) == ("mlp_out", pers_of("mlp_out")[0])
    assert (now["chosen"], now["go_to"]) == ("", "patch")


@pytest.mark.parametrize(
    "command", ["", "page", "page /etc", "site w", "do __class__", "example x"]
)
def test_what_is_no_command_does_nothing(command: str, now: dict[str, Any]) -> None:
    before = dict(now)
    commands.run_command(command)
    assert now == before
