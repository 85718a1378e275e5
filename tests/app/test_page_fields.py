"""What pages ask of a method is read off the method: its fields, defaults and choices."""

from typing import Any, Literal, get_args

import pytest
from pydantic import Field

from patchwright.app import session_state, url_state
from patchwright.app.page_fields import FORMS, NOT_ON_FORMS, Form, place_lists
from patchwright.methods.paths import PathPatch


@pytest.mark.parametrize("page", FORMS)
def test_every_control_starts_at_its_fields_default(page: str) -> None:
    form = FORMS[page]
    fields = form.fields({**session_state.FIELDS, **form.usual})
    for name in form.names:
        info = form.kind.model_fields[name]
        if name != "per" and not info.is_required():
            assert fields[name] == info.default, name
    for control in form.names.values():
        assert control in session_state.FIELDS
        assert control in url_state.PAGES[page]


@pytest.mark.parametrize("page", FORMS)
def test_every_choice_can_be_made_and_is_shown_again(page: str) -> None:
    form = FORMS[page]
    for name, control in form.names.items():
        for choice in form.choices.get(control, ()):
            chosen: dict[str, Any] = {**session_state.FIELDS, **form.usual, control: choice}
            value = form.fields(chosen)[name]
            assert form.control_value(name, value) == choice or name == "per", (control, choice)


@pytest.mark.parametrize(("page", "name"), [("paths", "receivers"), ("many", "roles")])
def test_a_list_is_empty_where_the_field_is_left_as_it_is(page: str, name: str) -> None:
    form = FORMS[page]
    control, usual = form.names[name], form.kind.model_fields[name].default
    for chosen, value in (([], usual), (["L1H0.q", "subject"], ("L1H0.q", "subject"))):
        fields = form.fields({**session_state.FIELDS, control: chosen})
        assert fields[name] == value
        assert form.control_value(name, value) == chosen


def test_the_lists_of_places_are_those_whose_fields_hold_places() -> None:
    assert place_lists() == ["places", "receivers"]


def test_a_new_parameter_has_a_control_an_address_and_a_way_back() -> None:
    class Wider(PathPatch):
        """Path patching with one more choice."""

        breadth: Literal["narrow", "wide"] = Field(
            default="narrow", title="Breadth", description="How wide."
        )
        depth: int = Field(default=2, title="Depth", description="How deep.")

    form = Form(Wider, FORMS["paths"].renamed)
    assert form.usual.items() >= {"breadth": "narrow", "depth": 2}.items()
    assert form.choices["breadth"] == ("narrow", "wide")
    fields = form.fields({**session_state.FIELDS, **form.usual, "breadth": "wide", "depth": 3.0})
    assert (fields["breadth"], fields["depth"]) == ("wide", 3)


def test_no_field_is_left_out_that_is_not_there() -> None:
    for form in FORMS.values():
        assert form.without <= form.kind.model_fields.keys()
        assert form.renamed.keys() <= form.names.keys()
        assert "metric" not in NOT_ON_FORMS
    assert set(get_args(PathPatch.model_fields["norms"].annotation)) == set(
        FORMS["paths"].choices["norms"]
    )
