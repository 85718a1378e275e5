from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchwright.app import session_state, url_state
from patchwright.app.page_controls import CONTROLS
from patchwright.errors import InputError
from patchwright.places import Place, parse_place
from patchwright.prompts.examples import example, examples

NAMED_PLACES = ("chosen", "pinned")
"""Controls that name a place, or nothing."""

PLACES = ("L0.resid_pre@3", "L1H2.z@-1", "L9H6.z", "embed@0", "L3.mlp_act[217]@2", "L0.pattern")


def fresh(page: str = "patch") -> dict[Any, Any]:
    controls: dict[Any, Any] = {}
    session_state.prepare(controls, page)
    return controls


def opened(page: str, parameters: dict[str, str]) -> dict[Any, Any]:
    """What a new visitor's controls hold after opening an address."""
    controls = fresh(page)
    session_state.set_controls(controls, url_state.read_parameters(page, parameters))
    return controls


def on_demo(page: str) -> dict[str, str]:
    """What every address says; a lesson brings its own model."""
    return {} if page == "learn" else {"model": "demo"}


def shared(page: str, controls: dict[Any, Any]) -> dict[Any, Any]:
    """What an address is to bring to another browser."""
    like_one = page == "many" and controls["set_source"] == "pair"
    pairless = page in url_state.PAIRLESS and not like_one
    pair = () if pairless else session_state.PAIR_FIELDS
    names = (*pair, *url_state.PAGES[page], *(() if page in url_state.PROMPTLESS else ("bos",)))
    asked = controls["model"]
    model = controls["model_name"] if asked == session_state.OTHER else asked
    its_own = {} if page == "learn" else {"model": model}
    return {name: controls[name] for name in names} | its_own


@st.composite
def controls_of(draw: st.DrawFn, page: str) -> dict[Any, Any]:
    """Controls as a visitor may leave them on a page: an example or prompts of their own."""
    controls = fresh(page)
    if draw(st.booleans()):
        session_state.take_example(controls, draw(st.sampled_from([one.id for one in examples()])))
    else:
        text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
        controls |= {name: draw(text) for name in ("clean", "corrupt", "answer", "wrong")}
    controls["model"] = draw(st.sampled_from([*session_state.MODELS, session_state.OTHER]))
    controls["model_name"] = draw(st.sampled_from(["", "owner/model", "./folder", "gpt2"]))
    for name in url_state.PAGES[page]:
        controls[name] = draw(value_of(name))
    controls["bos"] = draw(st.booleans())
    return controls


def value_of(name: str) -> st.SearchStrategy[Any]:
    """Any value that a control may have."""
    if name == "set_source":
        # A set of a file is in no address but a stored run's.
        return st.sampled_from(
            [one for one in CONTROLS["set_source"].choices if one not in ("file", "run")]
        )
    control = CONTROLS[name]
    if control.choices and not isinstance(control.usual, bool):
        return st.sampled_from(control.choices)
    if name == "subject":
        return st.lists(st.integers(0, 300), max_size=4)
    if name == "set_roles":
        return st.lists(st.sampled_from(["A", "last", "S#2"]), unique=True)
    if name in NAMED_PLACES:
        return st.sampled_from(["", *PLACES])
    if name == "picked":
        return st.lists(st.sampled_from(["0123456789abcdef", "a" * 16]), unique=True)
    if name == "edge_chosen":
        return st.sampled_from(["", "embed", "logits", "L3H1", "L2.mlp", "L2.mlp>L3H1.q"])
    if name == "pinned_run":
        return st.sampled_from(["", "0123456789ab"])
    if isinstance(control.usual, str):
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    if isinstance(control.usual, list):
        return st.lists(st.sampled_from(PLACES), unique=True)
    if isinstance(control.usual, float):
        return st.floats(*control.bounds)
    return st.integers(*map(int, control.bounds))


@pytest.mark.parametrize("page", url_state.PAGES)
@given(data=st.data())
def test_an_address_brings_back_everything_that_its_page_shows(
    page: str, data: st.DataObject
) -> None:
    controls = data.draw(controls_of(page))
    written = url_state.query_parameters(page, controls)
    brought = opened(page, written)
    assert shared(page, brought) == shared(page, controls)
    assert url_state.query_parameters(page, brought) == written


@pytest.mark.parametrize("page", url_state.PAGES)
@given(data=st.data())
def test_going_back_to_an_address_shows_it_whatever_was_there_meanwhile(
    page: str, data: st.DataObject
) -> None:
    written = url_state.query_parameters(page, data.draw(controls_of(page)))
    meanwhile = data.draw(controls_of(page))
    session_state.set_controls(
        meanwhile, url_state.usual_controls(page, "demo") | url_state.read_parameters(page, written)
    )
    assert url_state.query_parameters(page, meanwhile) == written
    assert shared(page, meanwhile) == shared(page, opened(page, written))


@pytest.mark.parametrize("page", url_state.PAGES)
def test_the_first_example_is_in_the_address_as_its_model_alone(page: str) -> None:
    assert url_state.query_parameters(page, fresh(page)) == on_demo(page)
    assert opened(page, {}) == fresh(page)


@pytest.mark.parametrize("one", examples(), ids=lambda one: one.id)
def test_an_example_is_written_as_its_name_alone(one: Any) -> None:
    controls = fresh()
    session_state.take_example(controls, one.id)
    named = {} if one.id == session_state.FIRST_EXAMPLE else {"example": one.id}
    expected = {"model": "demo", **named}
    assert url_state.query_parameters("patch", controls) == expected


@pytest.mark.parametrize(("model", "usual"), [("gpt2", True), ("smollm2", False)])
def test_the_first_token_is_in_the_address_where_it_is_not_as_usual_on_the_model(
    model: str, usual: bool
) -> None:
    controls = opened("patch", {"model": model, "example": "capital"})
    assert controls["bos"] is usual
    assert "bos" not in url_state.query_parameters("patch", controls)
    controls["bos"] = not usual
    written = url_state.query_parameters("patch", controls)
    assert written["bos"] == str(int(not usual))
    assert opened("patch", written)["bos"] is not usual


def test_causal_tracing_opens_on_a_fact() -> None:
    assert example(session_state.first_example("trace")).task == "capital"
    assert session_state.current_example(fresh("trace")) == session_state.first_example("trace")


def test_an_emptied_field_stays_empty_and_is_not_filled_from_the_first_example() -> None:
    controls = fresh()
    controls |= {"clean": "", "corrupt": "mine", "answer": "", "wrong": ""}
    assert shared(
        "patch", opened("patch", url_state.query_parameters("patch", controls))
    ) == shared("patch", controls)


def test_a_hub_name_typed_before_another_model_was_chosen_is_not_in_the_address() -> None:
    controls = fresh()
    controls |= {"model": "gpt2", "model_name": "owner/model"}
    assert url_state.query_parameters("patch", controls) == {"model": "gpt2"}
    controls["model"] = session_state.OTHER
    assert url_state.query_parameters("patch", controls) == {"model": "owner/model"}
    brought = opened("patch", {"model": "owner/model"})
    assert (brought["model"], brought["model_name"]) == (session_state.OTHER, "owner/model")


def test_a_slip_in_the_set_is_not_shared_and_does_not_spoil_the_address() -> None:
    controls = fresh()
    controls["places"] = ["L0.resid_pre@3", "nonsense~", " L1H2.z "]
    written = url_state.query_parameters("patch", controls)
    assert written == {"model": "demo", "places": "L0.resid_pre@3~L1H2.z"}
    assert opened("patch", written)["places"] == ["L0.resid_pre@3", "L1H2.z"]


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"colour": "red"}, "'colour', which means nothing on this page"),
        ({"site": "resid"}, "site 'resid': it may be embed, resid_pre"),
        ({"metric": ""}, "metric ''"),
        ({"example": "x" * 5000}, "is not an example"),
        ({"neuron_layer": "two"}, "neuron_layer 'two', which is no number"),
        ({"neuron_layer": "-1"}, "neuron_layer -1: it may be 0 to 1,000,000"),
        ({"neuron_layer": "9" * 5000}, "no number"),
        ({"chosen": "L9"}, "not a place"),
        ({"chosen": "L" + "9" * 5000 + ".z"}, "too long for a place"),
        ({"places": "L0.z~"}, "not a place"),
        ({"places": "~".join(["L0.resid_pre@1"] * 400)}, "6,000"),
        ({"clean": "a" * 6000}, "longer than 6,000 characters"),
        ({"subject": "1~2"}, "'subject', which means nothing on this page"),
    ],
)
def test_what_an_address_may_not_hold_is_one_short_sentence(
    parameters: dict[str, str], says: str
) -> None:
    with pytest.raises(InputError) as raised:
        url_state.read_parameters("patch", parameters)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 900


@pytest.mark.parametrize(
    ("name", "text"),
    [("noise", "nan"), ("noise", "inf"), ("noise", "1e999"), ("noise", ""), ("subject", "1~x"),
     ("subject", "-1"), ("seed", "1.5"), ("seed", "2000000")],
)  # fmt: skip
def test_a_number_that_is_none_is_refused(name: str, text: str) -> None:
    with pytest.raises(InputError, match=r"which is no number|it may be 0 to"):
        url_state.read_parameters("trace", {name: text})


NAMES = st.sampled_from(["model", "example", *session_state.FIELDS]) | st.text(max_size=8)
TEXTS = st.text(max_size=30) | st.sampled_from([*PLACES, "3", "-3", "denoise", "L1.z~L2.z", "~"])


@pytest.mark.parametrize("page", url_state.PAGES)
@given(parameters=st.dictionaries(NAMES, TEXTS, max_size=5))
@hypothesis.example(parameters={"bos": "0"})
def test_whatever_an_address_holds_it_is_read_or_refused(
    page: str, parameters: dict[str, str]
) -> None:
    try:
        found = url_state.read_parameters(page, parameters)
    except InputError:
        return
    assert set(found) <= set(session_state.FIELDS)
    for name, value in found.items():
        assert type(value) is type(session_state.FIELDS[name]), name
        if CONTROLS[name].choices:
            written = str(int(value)) if isinstance(value, bool) else value
            assert written in CONTROLS[name].choices
    places = [*found.get("places", []), *found.get("receivers", [])]
    places += filter(None, [found.get(name) for name in NAMED_PLACES])
    assert all(isinstance(parse_place(place), Place) for place in places)


def test_an_address_of_before_names_the_ablation_as_it_did() -> None:
    assert url_state.read_parameters("ablation", {"how": "mean"})["ablation"] == "mean"
