"""The page Many prompts: sets, bounds, what is said of a cell; without a browser."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import patchwright as pw
from app_pages import button, one_view, parameters_of, settled, unopened_view, words, workbench
from patchwright.algorithms.statistics import statistics
from patchwright.app import build_experiment, pair_sets, session_state, url_state
from patchwright.app.page_controls import CONTROLS
from patchwright.app.views import many
from patchwright.app.views.many import cell_sentence
from patchwright.app.widgets.heat_map import map_data
from patchwright.errors import InputError
from patchwright.experiment.assembly import stopped_sweep_notice
from patchwright.figures.grid import grid_of
from patchwright.jobs import Job
from patchwright.methods.patch import Patch
from patchwright.prompts.builtin_templates import task
from patchwright.prompts.datasets import Item, RowError
from patchwright.prompts.pairs_file import PairSet
from patchwright.prompts.templates import from_template
from patchwright.spelling import percent
from public_data import FILES, NUMBERS
from tiny import pair_of

on_the_page = pytest.mark.filterwarnings("default")
ROWS = [
    {"clean": "The keys are", "corrupt": "The key are", "answer": " red", "wrong": " blue"},
    {
        "clean": "When Mary and John",
        "corrupt": "When Mary and Tom",
        "answer": " went",
        "wrong": " x",
    },
]


def opened(**parameters: str) -> AppTest:
    """The page on a set of four pairs, unless it is asked for another."""
    return one_view("many", **({"set_count": "4"} | parameters))


def conclusion(page: AppTest) -> str:
    """The sentence above the map, without its marks."""
    bodies = [one.proto.body for one in page.get("html")]
    found = next(one for one in bodies if 'data-testid="conclusion"' in one)
    return re.sub("<[^>]+>", "", found)


def mean_of(page: AppTest) -> str:
    """What is asked above the map."""
    return workbench(page)["maps"][0]["caption"]


def shortest_of(page: AppTest) -> dict[str, str]:
    """The address under which the whole page shows it."""
    controls: Any = page.session_state
    return url_state.shortest_parameters("many", controls, controls["run"])


@on_the_page
def test_the_page_says_of_its_strongest_head_what_the_library_says(demo: pw.Model) -> None:
    page = opened()
    assert words(page, "error") == ""
    pairs = from_template(task("indirect-object").template, 4, demo.tokenizer, 0)
    found = statistics(pw.patch(demo, pairs, site="z", per="head"))
    top = found.strongest(1).iloc[0]
    shown = workbench(page)["inspector"]
    assert shown["place"] == top["place"]
    assert f"moves {percent(top['mean_effect'])} of the gap" in shown["sentence"]
    interval = f"interval {percent(top['low'])} to {percent(top['high'])}"
    assert interval in shown["sentence"]
    assert f"of which {top['same_sign']} have the mean's sign" in dict(shown["facts"])["pairs"]
    assert [pair for pair, *_ in shown["strip"]["dots"]] == [1, 2, 3, 4]
    differing = int(found.differs().sum())
    assert f"{differing} of 36 places differ from zero" in conclusion(page)
    assert interval in conclusion(page)
    assert parameters_of(page) == {"model": "demo", "set_count": "4"}


@on_the_page
def test_another_visitor_is_answered_from_the_run_store_and_told_so(demo: pw.Model) -> None:
    from patchwright.app import resources

    opened(set_seed="5")
    resources.job_queue.clear()
    again = opened(set_seed="5")
    assert "Loaded from saved runs" in words(again, "caption")


def test_nothing_is_concluded_from_a_part_of_a_set(demo: pw.Model) -> None:
    """Its strongest place may be one of those that only one pair has, or none has yet."""
    pairs = from_template(task("indirect-object").template, 4, demo.tokenizer, 0)
    whole = pw.patch(demo, pairs, site="z", per="head")
    over = statistics(whole)
    assert many.conclusion_text(whole, over).startswith("In short: over 4 pairs")
    part = replace(whole, warnings=[*whole.warnings, stopped_sweep_notice(143, 1440)])
    assert many.conclusion_text(part, over) == ""
    assert "143 of 1,440 cells" in part.warnings[-1]["message"]


@on_the_page
@pytest.mark.parametrize("begun", [True, False])
def test_a_set_that_is_stopped_offers_the_rest_and_the_rest_is_the_whole(
    begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = "_on_progress" if begun else "run"
    real: Callable[..., Any] = vars(Job)[step]

    def stopped(job: Job, given: Any) -> Any:
        job.cancel()
        return real(job, given)

    monkeypatch.setattr(Job, step, stopped)
    page = opened(set_count="60", set_seed="23" if begun else "24")
    assert "The sweep was stopped: 0 of " in words(page, "warning")
    assert "In short" not in conclusion(page)
    monkeypatch.undo()
    settled(button(page, "Compute the rest").click().run())
    assert words(page, "warning", "error") == ""
    assert "over 60 pairs" in conclusion(page)
    assert not [one for one in page.button if one.label == "Compute the rest"]


@on_the_page
@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"set_source": "own", "template_slots": "A Mary"}, "The line 'A Mary': write a slot"),
        ({"set_source": "own", "template_answer": ""}, "The answer is missing"),
        ({"set_source": "own", "template_text": "No {X}"}, "the slot {X}"),
        ({"set_source": "own", "set_count": "900"}, "Ask for at most"),
        ({"set_source": "sentences", "sentences": "Nothing here"}, "no usable pairs"),
        ({"set_source": "swap", "swap_word": "Zoe"}, "'Zoe' stands 0 times"),
        ({"set_count": "900", "set_site": "mlp_act", "set_per": "neuron"}, "has 691,200 cells"),
    ],
)
def test_a_set_that_cannot_be_used_is_one_sentence(parameters: dict[str, str], says: str) -> None:
    page = opened(**parameters)
    assert says in words(page, "error")


@on_the_page
@pytest.mark.parametrize(
    "source",
    [{"set_source": one} for one in ("own", "swap", "sentences", "pair")],
)
def test_every_way_to_build_a_set_gives_a_map_and_an_address(source: dict[str, str]) -> None:
    page = opened(**source)
    assert words(page, "error") == ""
    assert "on average over" in mean_of(page)
    assert parameters_of(page)["set_source"] == source["set_source"]


@on_the_page
def test_a_files_bad_rows_are_told_by_line_and_its_set_comes_back_by_its_run(
    demo: pw.Model,
) -> None:
    template = task("indirect-object").template
    rows = [
        {"clean": one.clean, "corrupt": one.corrupt, "answer": one.answers, "wrong": one.wrongs}
        for one in from_template(template, 3, demo.tokenizer, 1)
    ]
    lines = [json.dumps(one) for one in rows]
    lines[1:1] = ["{", json.dumps(rows[0] | {"corrupt": "When Mary"})]
    page = unopened_view("many")
    page.session_state["set_file"] = pair_sets.read_file("a.jsonl", "\n".join(lines).encode())
    page.run()
    settled(page.selectbox(key="set_source").set_value("file").run())
    assert words(page, "error") == ""
    warned = words(page, "warning")
    assert "2 rows cannot be used; the others go on" in warned
    assert "Line 2: This is not JSON" in warned
    assert "Line 3: The clean prompt has" in warned
    assert "over 3 pairs" in mean_of(page)
    shared = shortest_of(page)
    assert list(shared) == ["run"]
    other = one_view("many", **shared)
    assert "over 3 pairs" in mean_of(other)
    assert shortest_of(other) == shared


@on_the_page
def test_pairs_of_different_lengths_are_compared_by_roles(demo: pw.Model) -> None:
    page = opened(
        set_source="sentences", set_site="resid_pre", set_per="position",
        sentences="The dog near the cars is happy\nThe dog is happy",
    )  # fmt: skip
    assert words(page, "error") == ""
    assert page.multiselect(key="set_roles").value == ["subject", "last"]
    assert "so they are compared by roles" in words(page, "caption")


def asking_for_a_file() -> AppTest:
    return settled(opened().selectbox(key="set_source").set_value("file").run())


@on_the_page
def test_a_published_file_is_uploaded_and_what_was_understood_is_said(demo: pw.Model) -> None:
    file = next(one for one in FILES if one.name == "known_1000.json")
    assert demo.tokenizer is not None
    page = asking_for_a_file()
    uploader = page.file_uploader(key="set_upload")
    settled(uploader.upload(file.name, file.content(demo.tokenizer)).run())
    assert words(page, "error") == ""
    assert "Read as known_1000 (format known-1000): 4 records, 4 pairs" in words(page, "caption")
    assert "over 4 pairs" in mean_of(page)


@on_the_page
def test_the_columns_of_an_unknown_file_are_asked_for() -> None:
    rows = ["prompt,foil,right,other", *(f"The {a},The {b},{c},{d}" for a, b, c, d in NUMBERS)]
    page = asking_for_a_file()
    page.file_uploader(key="set_upload").upload("a.csv", "\n".join(rows).encode()).run()
    assert "those of no known format" in words(page, "error")
    columns = {"clean": "prompt", "corrupt": "foil", "answer": "right", "wrong": "other"}
    for part, column in columns.items():
        settled(page.selectbox(key=f"set_column_{part}").set_value(column).run())
    assert words(page, "error") == ""
    assert "(format columns): 2 records, 2 pairs" in words(page, "caption")


def test_a_set_without_two_usable_pairs_says_why(demo: pw.Model) -> None:
    found = PairSet((), (RowError(4, "It is empty."),))
    with pytest.raises(InputError, match=r"no usable pairs.*Line 4: It is empty"):
        pair_sets.usable_pairs(found, build_experiment.patch_of_set(fresh(), "demo", ()), demo)


def fresh() -> dict[str, object]:
    return dict(session_state.FIELDS)


def test_reading_ends_where_the_page_has_enough() -> None:
    row = json.dumps(ROWS[0])
    most = pair_sets.MOST_PAIRS
    assert not pair_sets.read_file("a.jsonl", "\n".join([row] * most).encode()).more
    found = pair_sets.read_file("a.jsonl", "\n".join([row] * (most + 1)).encode())
    assert len(found.items) == most
    assert found.more
    bad = pair_sets.read_file("a.jsonl", b"{\n" * 10_000)
    assert len(bad.skipped) == pair_sets.MOST_ERRORS
    assert "the first 200 of 10,000 rows" in bad.summary


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x00" * 100, "is not a text file"),
        (b"", "has no records"),
        (b"\xff\xfe\x00", "not valid UTF-16"),
    ],
)
def test_a_file_without_pairs_is_refused_with_its_reason(content: bytes, says: str) -> None:
    for name in ("a.csv", "a.jsonl", "a.txt"):
        with pytest.raises(InputError, match=says):
            pair_sets.read_file(name, content)


def test_the_table_of_pairs_has_their_lines_where_these_are_other_numbers() -> None:
    pair = pair_of([1, 2], [1, 3])
    for lines, columns in (([2, 4], ["pair", "line"]), ([1, 2], ["pair"]), ([None] * 2, ["pair"])):
        items = tuple(Item(pair=pair, line=line) for line in lines)
        table = PairSet(items, lengths=(3, 3)).table()
        assert list(table)[: len(columns)] == columns
        assert table["pair"] == [1, 2]
        assert "line" in columns or "line" not in table


def test_rows_with_the_same_fault_are_one_sentence() -> None:
    found = pair_sets.read_file("a.csv", b"clean,corrupt,answer\n" + b"a,b, x,z\n" * 30)
    with pytest.raises(InputError, match=r"^No row is a pair\. Lines 2-31: The row has 4 cells"):
        pair_sets.pair_set({"set_source": "file", "set_file": found}, None)  # pyright: ignore[reportArgumentType]


def test_roles_are_those_that_every_pair_has() -> None:
    a, b = (pw.Pair(clean="a b", corrupt="c b", answer="x", roles=roles) for roles in _roles())
    items = tuple(Item(pair=one) for one in (a, b))
    assert PairSet(items).roles == ("S", "last")


def _roles() -> list[tuple[pw.Role, ...]]:
    one, two = (pw.Role(name=name, start=0, stop=1) for name in ("S", "T"))
    return [(two, one), (one,)]


def test_cells_not_told_from_zero_have_an_open_circle(demo: pw.Model) -> None:
    pairs = from_template(task("indirect-object").template, 9, demo.tokenizer, 0)
    result = pw.patch(demo, pairs, site="z", per="head")
    found = statistics(result)
    drawn = map_data(grid_of(found.on(result)))["unsure"]
    assert np.array_equal(np.array(drawn), found.unsure.values)
    assert 0 < np.sum(drawn) < 36
    assert map_data(grid_of(result))["unsure"] is None
    weak = found.to_frame().sort_values("q_value").iloc[-1]
    assert "does not differ from zero" in cell_sentence(weak, found)


def test_an_experiment_of_roles_names_them() -> None:
    controls = {
        **fresh(),
        "set_site": "resid_pre",
        "set_per": "position",
        "set_roles": ["A", "last"],
    }
    found: Patch = build_experiment.patch_of_set(controls, "demo", (pair_of([1, 2], [1, 3]),))
    assert found.roles == ("A", "last")
    assert build_experiment.patch_of_set({**controls, "set_per": "layer"}, "demo", ()).roles is None


@on_the_page
def test_the_pair_on_explore_becomes_a_set_that_says_what_was_varied_and_dropped() -> None:
    page = opened(set_source="pair", example="same-city", set_count="50")
    assert words(page, "error") == ""
    said = words(page, "caption")
    assert "A The Willis Tower is in" in said
    found = re.search(
        r"Only (\d+) of 50 pairs like this one: other words in the built-in template", said
    )
    assert found is not None
    assert f"over {found[1]} pairs" in mean_of(page)
    assert "because their tokens would not line up with this pair's" in said
    assert parameters_of(page)["example"] == "same-city"


@on_the_page
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"clean": ""}, "The prompt is empty"),
        ({"chat": "1", "clean": "Hello", "corrupt": "Bye", "answer": " a"}, "messages of a chat"),
        ({"clean": "<b>x", "corrupt": "<i>y", "answer": " a", "wrong": " b"}, "No set can be made"),
    ],
)
def test_a_pair_of_which_no_set_can_be_made_is_one_sentence(
    given: dict[str, str], says: str
) -> None:
    page = opened(set_source="pair", **given)
    assert says in words(page, "error")


def test_fifty_like_this_ask_what_explore_asks_and_keep_its_place() -> None:
    page = fresh() | {"site": "mlp_out", "per": "layer", "chosen": "L2.mlp_out"}
    session_state.make_set(page)
    assert (page["set_site"], page["set_per"], page["set_count"]) == ("mlp_out", "layer", 50)
    assert (page["set_source"], page["go_to"], page["chosen"]) == ("pair", "many", "L2.mlp_out")
    assert set(pair_sets.SOURCE_FIELDS) == set(CONTROLS["set_source"].choices)


def test_an_address_of_before_still_selects_its_place_also_at_a_role() -> None:
    assert url_state.read_parameters("many", {"set_chosen": "L1H2.z"})["chosen"] == "L1H2.z"
    at_role = {"set_chosen": "L1.resid_pre@subject"}
    assert url_state.read_parameters("many", at_role)["chosen"] == "L1.resid_pre@subject"
    with pytest.raises(InputError, match="not a site"):
        url_state.read_parameters("many", {"set_chosen": "L1.nothing@subject"})


@on_the_page
def test_a_role_that_was_chosen_is_looked_at_and_explore_goes_on_without_it() -> None:
    asked = {"set_source": "sentences", "set_site": "resid_pre", "set_per": "position"}
    page = opened(**asked, chosen="L3.resid_pre@last")
    shown = workbench(page)["inspector"]
    assert (shown["place"], shown["title"][-7:]) == ("L3.resid_pre@last", "at last")
    assert len(shown["strip"]["dots"]) == 2
    explore = one_view("patch", chosen="L3.resid_pre@last")
    assert workbench(explore)["inspector"]["place"] == "L1.resid_pre@14"
    assert words(explore, "warning") == ""


def test_a_places_values_are_those_of_its_pairs_and_outliers_are_marked(demo: pw.Model) -> None:
    pairs = from_template(task("capital").template, 8, demo.tokenizer, 2)
    turned = {"answer": pairs[4].wrongs, "wrong": pairs[4].answers}
    pairs[4] = pairs[4].model_copy(update=turned)
    result = statistics(pw.patch(demo, pairs, site="z", per="head_position"))
    swept = Patch.of({"model": "demo", "pairs": pairs, "site": "z", "per": "head_position"})
    whole = pw.patch(demo, pairs, site="z", per="head_position")
    shown = many.inspector_data("L1H3.z@4", swept, result.on(whole))
    assert shown["title"] == "Layer 1, head 3, at position 4"
    table = whole.table().set_index(["place", "pair"])["effect"]["L1H3.z@4"]
    dots = shown["strip"]["dots"]
    assert [value for _, value, *_ in dots] == pytest.approx(table.tolist())
    assert [pair for pair, _, odd, _ in dots if odd] == [number for number, *_ in shown["outliers"]]
    assert 5 in [number for number, *_ in shown["outliers"]]
    farthest = sorted(result.odd_pairs, key=lambda one: -abs(one.score))
    assert list(result.outliers) == list(dict.fromkeys(one.pair for one in farthest))
    assert result.outliers[farthest[0].pair] == farthest[0].why
