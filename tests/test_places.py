import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from patchwright.errors import UnknownPlaceError
from patchwright.places import HEAD_SITES, SITES, Place, parse_place, pers_of

count = st.integers(0, 400)


@st.composite
def places(draw: st.DrawFn) -> Place:
    site = draw(st.sampled_from(SITES))
    return Place(
        site,
        layer=None if site == "embed" else draw(count),
        head=draw(st.none() | count) if site in HEAD_SITES else None,
        position=draw(st.none() | st.integers(-400, 400)),
        neuron=draw(st.none() | count) if site == "mlp_act" else None,
    )


@given(places())
def test_parsing_and_printing_are_inverse(place: Place) -> None:
    assert parse_place(str(place)) == place


@given(st.text(max_size=20))
def test_any_text_is_a_place_or_one_kind_of_error(text: str) -> None:
    place = None
    with suppress(UnknownPlaceError):  # anything else fails the test
        place = parse_place(text)
    assert place is None or parse_place(str(place)) == place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("L9.resid_pre@14", Place("resid_pre", 9, position=14)),
        ("L9H6.z", Place("z", 9, head=6)),
        ("L9H6.z@14", Place("z", 9, head=6, position=14)),
        ("L3.mlp_act[217]@2", Place("mlp_act", 3, position=2, neuron=217)),
        ("embed@-1", Place("embed", position=-1)),
    ],
)
def test_the_written_forms_of_the_glossary(text: str, place: Place) -> None:
    assert parse_place(text) == place
    assert str(place) == text


@pytest.mark.parametrize("text", ["L9", "9.6", "L٩.z", "L1.z@", "L1.z[3]@1x", "", "L1.mlp_act[]"])
def test_what_is_no_place_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(UnknownPlaceError, match=re.escape("L9.resid_pre@14")):
        parse_place(text)


def test_positions_from_the_end_become_positions_from_the_start(model: pw.Model) -> None:
    assert parse_place("L1.z@-1").within(model.spec, 6).position == 5


def test_the_default_per_is_the_first_of_each_site() -> None:
    assert {site for site in SITES if pers_of(site)[0] == "head"} == HEAD_SITES
