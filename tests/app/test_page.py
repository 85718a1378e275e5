"""The page without a browser: what it says to questionable input, and that nothing breaks."""

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox

import patchwright as pw
from app_pages import (
    button,
    errors,
    facts,
    looked_at,
    one_view,
    parameters_of,
    settled,
    unescaped,
    whole_page,
    words,
    workbench,
)
from checkpoints import save_tiny
from patchwright.app import pair_sets, resources
from patchwright.app.page_controls import CONTROLS
from patchwright.app.views import pair_set_form
from patchwright.axes import METRICS
from patchwright.errors import AnswerError
from patchwright.places import SITES, check_site, pers_of
from patchwright.prompts import tokens
from patchwright.prompts.examples import example, examples
from patchwright.spelling import percent

pytestmark = pytest.mark.filterwarnings("default")


HOSTILE = "<img src=x onerror=alert(1)> *a* _b_ [c](d) # :red[x] $x$ `e` \u202eabc \x1b[0m"


def examples_of(page: AppTest) -> Selectbox[str]:
    return next(one for one in page.selectbox if one.label == "Example")


def test_the_first_paint_is_a_finished_experiment() -> None:
    page = whole_page()
    assert errors(page) == []
    assert workbench(page)["state"] == "rest"
    said = words(page, "markdown")
    assert "→ ·Mary 99 %" in said.replace("**", "")
    assert "→ ·John 99 %" in said.replace("**", "")
    assert workbench(page)["inspector"]["sentence"].startswith("Copied from A into B, it moves")
    asked = [one["caption"] for one in workbench(page)["maps"]]
    assert asked == ["Which layers, at which tokens, bring back “Mary” instead of “John”?"]
    bodies = [one.proto.body for one in page.get("html")]
    (conclusion,) = (one for one in bodies if one.startswith('<div data-testid="conclusion"'))
    assert "In short" in conclusion


@pytest.mark.parametrize("key", ["clean", "corrupt", "answer", "wrong"])
def test_a_text_that_is_too_long_stays_and_its_length_is_said(key: str) -> None:
    page = whole_page()
    pasted = "word " * 2000
    kind = page.text_area if key in ("clean", "corrupt") else page.text_input
    kind(key=key).set_value(pasted).run()
    assert any(
        "has 10,000 characters, and this page takes at most 2,000" in one for one in errors(page)
    )
    assert kind(key=key).value == pasted


def test_every_field_of_a_set_is_bounded() -> None:
    named = {name for names in pair_sets.SOURCE_FIELDS.values() for name in names}
    typed = {name for name in named & set(CONTROLS) if isinstance(CONTROLS[name].usual, str)}
    assert set(pair_set_form.LABELS) == typed - {"task", "align"}


def test_another_site_forgets_the_place_of_the_map_before() -> None:
    page = whole_page(chosen="L2.resid_pre@3")
    assert looked_at(page) == "L2.resid_pre@3"
    page.selectbox(key="site").set_value("z").run()
    assert looked_at(settled(page)).endswith(".z")
    assert "chosen" not in parameters_of(page)


def told(page: AppTest) -> bool:
    """Whether the page says what to do first."""
    return any('class="pw-steps"' in one.proto.body for one in page.get("html"))


def test_a_newcomer_is_told_three_steps_until_they_have_done_them() -> None:
    page = whole_page()
    assert told(page)
    page.session_state["chosen"] = "L0.resid_pre@10"
    page.run()
    assert not told(page)
    assert not told(whole_page(example="capital"))


def test_own_prompts_begin_empty_and_are_asked_for() -> None:
    page = whole_page()
    button(page, "Try your own").click().run()
    assert errors(page) == []
    assert page.text_area(key="clean").value == page.text_area(key="corrupt").value == ""
    assert "Type a sentence" in words(page, "info")
    page.text_area(key="clean").set_value("When Mary and John met, John gave a drink to").run()
    page.text_area(key="corrupt").set_value("When Mary and John met, Mary gave a drink to").run()
    button(page, "Use the model's own answers").click().run()
    assert errors(settled(page)) == []
    assert workbench(page)["state"] == "rest"


def test_what_options_are_called_does_not_depend_on_the_model() -> None:
    page = whole_page()
    before = {one.label: one.options for one in page.selectbox}
    page.selectbox(key="model").set_value("other…").run()
    page.text_input(key="model_name").set_value("owner/model").run()
    assert not page.exception
    for one in page.selectbox:
        assert set(one.options) == set(before[one.label]), one.label
    assert examples_of(page).value == "ioi"


@pytest.mark.parametrize("site", SITES)
def test_every_site_and_kind_of_place_can_be_chosen(site: str) -> None:
    page = whole_page()
    page.selectbox(key="site").set_value(site).run()
    assert page.selectbox(key="per").value == pers_of(check_site(site))[0]
    for per in pers_of(check_site(site)):
        page.selectbox(key="per").set_value(per).run()
        assert errors(page) == [], per


def test_every_metric_and_both_directions_can_be_chosen() -> None:
    page = whole_page()
    page.selectbox(key="direction").set_value("noise").run()
    assert errors(page) == []
    for metric in METRICS:
        page.selectbox(key="metric").set_value(metric).run()
        assert errors(page) == [], metric


def test_an_example_can_be_taken_and_is_in_the_address() -> None:
    page = whole_page()
    box = examples_of(page)
    assert box.value == "ioi"
    assert len(box.options) == len(examples())
    chosen = next(one for one in examples() if "demo" in one.models and one.task != "IOI")
    box.set_value(chosen.id).run()
    assert errors(page) == []
    assert page.text_area(key="clean").value == chosen.pair.clean
    assert page.selectbox(key="metric").value == chosen.metric
    named = {} if chosen.id == "ioi" else {"example": chosen.id}
    assert parameters_of(page) == {"model": "demo", **named}
    page.text_area(key="clean").set_value(f"{chosen.pair.clean} the").run()
    assert examples_of(page).value is None, "these are the visitor's own prompts now"


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("clean", "", "The prompt is empty"),
        ("corrupt", "", "The prompt is empty"),
        ("answer", "", "No answer was given"),
        ("wrong", "", "compares with a wrong answer"),
        ("clean", "the " * 80, "takes at most 64"),
        ("corrupt", "When Mary and John went to the store, John gave a drink to", "same tokens"),
        ("corrupt", "Mary gave a drink to", "differ at position 1"),
        ("answer", " Reykjavik", "several tokens"),
    ],
)
def test_wrong_input_is_one_sentence_in_place(key: str, text: str, says: str) -> None:
    page = whole_page()
    area = page.text_area if key in ("clean", "corrupt") else page.text_input
    area(key=key).set_value(text).run()
    found = errors(page)
    assert len(found) == 1
    assert says in found[0]


def test_unequal_prompts_get_replacements_and_one_click_repairs_them() -> None:
    page = whole_page()
    page.text_area(key="corrupt").set_value(
        "When Mary and John went to the big store, Mary gave a drink to"
    ).run()
    assert len(errors(page)) == 1
    offered = [button for button in page.button if str(button.key).startswith("same-")]
    assert offered
    offered[0].click().run()
    assert errors(page) == []


def test_the_edges_can_be_matched_instead() -> None:
    page = whole_page()
    page.text_area(key="corrupt").set_value(
        "When Mary and John went to the big store, Mary gave a drink to"
    ).run()
    next(button for button in page.button if "edges" in button.label).click().run()
    assert errors(page) == []


def test_answers_can_be_taken_from_the_runs() -> None:
    page = whole_page()
    page.text_input(key="answer").set_value(" red").run()
    button(page, "Use the model's own answers").click().run()
    assert page.text_input(key="answer").value == " Mary"
    assert page.text_input(key="wrong").value == " John"


def test_a_complaint_about_answers_does_not_speak_of_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(*_: object) -> None:
        raise AnswerError("Both runs put the *same* token first.")

    page = whole_page()
    monkeypatch.setattr("patchwright.app.views.pair.suggested_answers", refuses)
    button(page, "Use the model's own answers").click().run()
    assert next(unescaped(one.value) for one in page.warning) == (
        "Both runs put the *same* token first."
    )


def test_swapping_exchanges_prompts_and_answers() -> None:
    page = whole_page()
    before = page.text_area(key="clean").value, page.text_input(key="wrong").value
    button(page, "⇄").click().run()
    assert errors(page) == []
    assert (page.text_area(key="corrupt").value, page.text_input(key="answer").value) == before


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("L77.resid_pre", "Layer 77: demo has layers"),
        ("L0.resid_pre@99", "Position 99"),
        ("L0H9.z", "demo has heads 0-5"),
    ],
)
def test_a_place_that_this_model_does_not_have_is_a_sentence(place: str, says: str) -> None:
    page = whole_page(chosen=place)
    assert says in words(page, "warning")
    assert looked_at(page) != place


@pytest.mark.parametrize(("family", "missing"), [("gpt_neox", "resid_mid"), ("mixtral", "mlp_act")])
def test_a_site_that_the_model_does_not_have_is_not_offered(
    family: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_tiny(tmp_path / family, family=family)
    monkeypatch.setattr("sys.argv", ["main.py", "--folder", str(tmp_path)])
    resources.options.clear()
    keys = {
        "patch": ("site",),
        "ablation": ("ablated_site",),
        "activations": ("seen_site",),
    }
    for view, boxes in keys.items():
        # An address of another model may ask for it.
        page = one_view(view, model=str(folder), **dict.fromkeys(boxes[:1], missing))
        assert errors(page) == []
        for key in boxes:
            assert len(page.selectbox(key=key).options) == len(SITES) - 1, (view, key)
            assert page.selectbox(key=key).value != missing
    resources.options.clear()


def test_places_are_collected_and_patched_together_as_the_library_does(demo: pw.Model) -> None:
    page = whole_page()
    assert workbench(page)["set"]["places"] == []
    places = ["L0.resid_pre@3", "L1H2.z"]
    page.session_state["places"] = places
    page.run()
    assert errors(page) == []
    pair = next(one for one in examples() if one.id == "ioi").pair
    joint = pw.patch_together(demo, pair, places)
    single = [float(pw.patch_together(demo, pair, [one]).effect) for one in places]
    assert workbench(page)["set"]["said"] == (
        f"together {percent(float(joint.effect), 1)}, their sum {percent(sum(single), 1)}"
    )
    assert parameters_of(page) == {"model": "demo", "places": "~".join(places)}
    page.session_state["places"] = []
    page.run()
    assert workbench(page)["set"]["said"] == ""


@pytest.mark.parametrize("typed", ["nonsense", "L77.z", HOSTILE])
def test_a_set_with_a_slip_is_one_sentence_and_the_page_goes_on(typed: str) -> None:
    page = whole_page()
    page.session_state["places"] = ["L0.resid_pre@3", typed]
    page.run()
    assert len(errors(page)) == 1
    assert "together" not in workbench(page)["set"]["said"]
    assert workbench(page)["state"] == "rest"
    page.session_state["places"] = ["L0.resid_pre@3"]
    page.run()
    assert errors(page) == []


def test_a_place_stays_pinned_in_its_run_when_another_run_is_shown(demo: pw.Model) -> None:
    page = whole_page(chosen="L0.resid_pre@10", pinned="L1.resid_pre@14")
    run = page.session_state["run"]
    page.session_state["pinned_run"] = run.hash[:12]
    page.session_state["pinned_runs"] = {run.hash[:12]: run}
    page = settled(button(page, "⇄").click().run())
    pair = example("ioi").pair
    swapped = pw.Pair(clean=pair.corrupt, corrupt=pair.clean, answer=pair.wrong, wrong=pair.answer)
    before = float(pw.patch_together(demo, pair, ["L1.resid_pre@14"]).effect)
    now = float(pw.patch_together(demo, swapped, [looked_at(page)]).effect)
    said = facts(page)["pinned in another run"]
    assert said.startswith(f"L1.resid_pre@14 (“{pair.clean}”): {percent(before)}")
    assert f"{100 * (now - before):+.0f} points" in said
    ruler = workbench(page)["inspector"]["ruler"]
    share = (ruler["mark"] - ruler["low"]) / (ruler["high"] - ruler["low"])
    assert share == pytest.approx(before, abs=1e-5)


def test_a_pin_of_a_run_that_is_not_here_says_so() -> None:
    page = whole_page(pinned="L1.resid_pre@14", pinned_run="0123456789ab")
    assert errors(page) == []
    assert "0123456789ab" in facts(page)["pinned"] or "not on this server" in facts(page)["pinned"]


def test_a_note_is_in_the_address_and_under_the_tabs() -> None:
    page = whole_page(note="Look at <b>Mary</b>")
    assert "Note: Look at <b>Mary</b>" in words(page, "caption")
    assert parameters_of(page)["note"] == "Look at <b>Mary</b>"


def test_a_pinned_place_is_compared_with_the_one_that_is_looked_at(demo: pw.Model) -> None:
    page = whole_page(chosen="L0.resid_pre@10", pinned="L3.resid_pre@14")
    effect = pw.patch(demo, next(one for one in examples() if one.id == "ioi").pair).effect
    pinned, now = float(effect[3, 14]), float(effect[0, 10])
    said = facts(page)["pinned"]
    assert said.startswith(f"L3.resid_pre@14: {percent(pinned)}")
    assert f"{100 * (now - pinned):+.0f} points" in said
    assert parameters_of(page)["pinned"] == "L3.resid_pre@14"


def test_of_prompts_of_unequal_length_no_other_method_speaks_of_another_token() -> None:
    edges = {
        "clean": "When Mary and John went to the store, John gave a drink to",
        "corrupt": "When Mary and John went to the big store, Mary gave a drink to",
        "answer": " Mary",
        "wrong": " John",
        "align": "edges",
    }
    at_a_position = whole_page(**edges, chosen="L0.resid_pre@11")
    assert set(facts(at_a_position)) == {"logit of the answer", "of the wrong answer"}
    everywhere = facts(whole_page(**edges, chosen="L3H1.z"))
    assert {"set to zero in A", "logit of the answer"} <= set(everywhere)
    assert not any("token" in said for said in everywhere.values())


def test_what_the_workbench_refuses_names_the_way_out_on_the_page() -> None:
    page = whole_page(pinned="L9.resid_pre@99", places="L77.z")
    said = (facts(page)["pinned"], workbench(page)["set"]["said"])
    for one in said:
        assert "patchwright places" not in one
        assert "The maps and lists on this page" in one


def test_what_the_user_typed_is_never_markup() -> None:
    page = whole_page()
    page.text_area(key="clean").set_value("<b>*a* :red[x] $x$ \u202e red").run()
    page.text_area(key="corrupt").set_value("<b>*a* :red[x] $x$ \u202e blue").run()
    assert errors(page) == []
    page.text_input(key="answer").set_value(HOSTILE).run()
    assert "tokens" in errors(page)[0]
    shown = [str(one.value) for one in (*page.markdown, *page.error, *page.caption, *page.warning)]
    for text in shown:
        assert "<img" not in text
        assert "<b>" not in text
        assert ":red[" not in text
        assert "$x$" not in text
        assert "\u202e" not in text
        assert "\x1b" not in text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("./nowhere", "'./nowhere' may not be loaded here"),
        ("/etc", "The server was started without folders"),
        ("*a* <b>", "may not be loaded here"),
    ],
)
def test_a_folder_that_was_not_opened_is_refused_in_a_sentence(name: str, says: str) -> None:
    page = whole_page()
    page.selectbox(key="model").set_value("other…").run()
    assert any("Type a hub name" in one.value for one in page.info)
    page.text_input(key="model_name").set_value(name).run()
    found = errors(page)
    assert len(found) == 1
    assert says in found[0]


def test_an_address_shows_its_experiment_and_the_place_that_was_selected() -> None:
    first = whole_page()
    first.selectbox(key="site").set_value("z").run()
    first.selectbox(key="direction").set_value("noise").run()
    first.session_state["chosen"] = "L1H2.z"
    first.text_input(key="wrong").set_value(" the").run()
    assert errors(first) == []
    parameters = parameters_of(first)
    again = whole_page(**parameters)
    assert errors(again) == []
    assert looked_at(again) == looked_at(first) == "L1H2.z"
    assert workbench(again) == workbench(first)
    assert again.text_input(key="wrong").value == " the"
    assert parameters_of(again) == parameters


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"colour": "[red](x)"}, "'colour', which means nothing"),
        ({"[a](b)": "1"}, "'[a](b)', which means nothing"),
        ({"site": "nowhere"}, "site 'nowhere'"),
        ({"clean": "a " * 4000}, "longer than 6,000 characters"),
        ({"chosen": "L" + "9" * 4500 + ".z"}, "too long for a place"),
    ],
)
def test_a_malformed_address_is_a_sentence_and_the_first_example(
    parameters: dict[str, str], says: str
) -> None:
    page = whole_page(**parameters)
    assert errors(page) == []
    complaint = page.warning[0].value
    assert says in unescaped(complaint)
    assert "first example" in complaint
    assert "[a](b)" not in complaint
    assert examples_of(page).value == "ioi"
    assert parameters_of(page) == {"model": "demo"}
    page.run()
    assert "first example" not in "".join(one.value for one in page.warning), "said once"


def test_numbers_of_an_address_that_do_not_fit_the_model_break_nothing() -> None:
    page = whole_page(site="mlp_act", per="neuron", neuron_layer="999999", chosen="L77.mlp_act[3]")
    assert page.number_input(key="neuron_layer").value == 5
    assert errors(page) == []
    assert any("Layer 77" in unescaped(one.value) for one in page.warning)


def test_every_metric_of_a_flat_gap_shows_the_page_without_effects() -> None:
    page = whole_page()
    page.selectbox(key="metric").set_value("probability").run()
    page.text_input(key="answer").set_value("!").run()
    assert errors(page) == []


def first_token(page: AppTest) -> Any:
    return next(one for one in page.checkbox if one.label.startswith("Begin with"))


def test_the_first_token_is_named_and_can_be_left_out() -> None:
    page = whole_page()
    box = first_token(page)
    assert "endoftext" in unescaped(box.help)
    assert box.value
    assert "bos" not in parameters_of(page)
    without = settled(box.uncheck().run())
    assert parameters_of(without)["bos"] == "0"
    chips = next(one.proto.body for one in without.get("html") if "pw-chip" in one.proto.body)
    assert "endoftext" not in chips
    assert "A: 14 tokens" in chips
    assert not first_token(whole_page(bos="0")).value


def test_of_a_first_token_that_starts_a_chat_turn_the_page_says_so_where_it_is_switched_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "CHAT_TURN", "<|endoftext|>")
    for bos, times in (("1", 1), ("0", 0)):
        said = [one.value for one in whole_page(bos=bos).caption]
        assert sum("starts a turn of a chat" in one for one in said) == times
