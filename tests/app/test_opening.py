"""Stored runs as pages: an experiment's controls, and the short address of each."""

import json
from collections.abc import Callable
from typing import Any

import pytest

import patchwright as pw
from patchwright.app import build_experiment, restore_state, session_state, url_state
from patchwright.errors import InputError, UnknownRunError
from patchwright.experiment.base import Experiment
from patchwright.methods import METHODS
from patchwright.methods.ablate import Ablate, AblateTogether
from patchwright.methods.attention import Attention
from patchwright.methods.circuit import EdgeAttribution
from patchwright.methods.diff import Difference
from patchwright.methods.lens import LogitAttribution, LogitLens
from patchwright.methods.patch import Patch, PatchTogether
from patchwright.methods.paths import PathPatch
from patchwright.methods.trace import Trace
from patchwright.storage.store import Store
from tiny import pair_of

PAIR = pw.Pair(
    clean="When Tom and Emma went to the park, Emma gave a ball to",
    corrupt="When Tom and Emma went to the park, Tom gave a ball to",
    answer=[" Tom", " Mary"],
    wrong=" Emma",
)
ON = {"model": "demo", "pairs": PAIR}
EXPERIMENTS: dict[str, Experiment] = {
    "patch": Patch.of({**ON, "site": "z", "per": "head", "metric": "prob_diff"}),
    "many": Patch.of({"model": "demo", "pairs": [PAIR, PAIR], "site": "z", "per": "head"}),
    "activations": Difference.of({**ON, "site": "mlp_out", "per": "position"}),
    "attention": Attention.of({**ON, "layer": 2, "head": 1}),
    "trace": Trace.of(
        {"model": "gpt2", "prompt": "The Eiffel Tower is in", "subject": [1, 2], "answer": " Paris",
         "noise": 2.5, "seed": 3}
    ),
    "lens": LogitLens.of({**ON, "metric": "logit"}),
    "ablation": Ablate.of(
        {**ON, "site": "z", "per": "head", "how": "mean", "prompts": ["One", "Two"],
         "by_position": False}
    ),
    "paths": PathPatch.of({**ON, "site": "z", "per": "head", "receivers": ["L3H1.q"]}),
    "circuit": EdgeAttribution.of({**ON, "steps": None, "exact": build_experiment.CHECKED_EDGES}),
}  # fmt: skip


@pytest.mark.parametrize("page", EXPERIMENTS)
def test_a_short_address_brings_back_the_experiment_and_what_it_does_not_hold(page: str) -> None:
    experiment = EXPERIMENTS[page]
    found = restore_state.page_of(experiment)
    assert found is not None
    assert found[0] == page
    controls = fresh() | found[1]
    beside = {"patch": "chosen", "many": "chosen", "circuit": "edge_order"}
    if page in beside:
        controls[beside[page]] = "strongest" if page == "circuit" else "L1H2.z"
    written = url_state.shortest_parameters(page, controls, experiment)
    assert written["run"] == experiment.hash[:12]
    assert set(written) <= {"run", beside.get(page, "run"), "model", "corrupt"}
    brought = fresh()
    session_state.set_controls(
        brought, url_state.read_parameters(page, written, lambda _: experiment)
    )
    assert restore_state.can_express(page, brought, experiment)
    for name in url_state.PAGES[page]:
        assert name == "set_source" or brought[name] == controls[name], name


def fresh() -> dict[Any, Any]:
    page: dict[Any, Any] = {}
    session_state.prepare(page)
    return page


def test_the_order_of_cells_does_not_hide_a_run_from_its_page() -> None:
    sweep = EXPERIMENTS["patch"].model_copy(update={"order": "attribution"})
    found = restore_state.page_of(sweep)
    assert found is not None
    assert found[0] == "patch"


@pytest.mark.parametrize("page", EXPERIMENTS)
def test_a_run_without_the_first_token_is_restored_without_it(page: str) -> None:
    without = EXPERIMENTS[page].model_copy(update={"bos": False})
    found = restore_state.page_of(without)
    assert found is not None
    assert found[0] == page
    assert found[1]["bos"] is False


@pytest.mark.parametrize(
    "unlike",
    [
        Patch.of({"model": "m", "pairs": pair_of([1, 2], [1, 3]), "site": "z", "per": "head"}),
        Patch.of({**ON, "site": "z", "per": "head", "layers": [0, 1]}),
        Ablate.of({"model": "demo", "pairs": [PAIR], "site": "z", "per": "head"}),
    ],
)
def test_what_no_page_can_say_is_no_pages(unlike: Experiment) -> None:
    assert restore_state.page_of(unlike) is None
    with pytest.raises(InputError, match="open it in the Library"):
        url_state.read_parameters("patch", {"run": unlike.hash[:12]}, lambda _: unlike)


def test_an_example_keeps_its_name_in_the_address_which_is_shorter() -> None:
    controls = fresh()
    experiment = build_experiment.patch_of(controls, "demo")
    assert url_state.shortest_parameters("patch", controls, experiment) == {"model": "demo"}


def lookup(text: str) -> Experiment:
    raise UnknownRunError(text)


@pytest.mark.parametrize(
    ("run", "look_up", "says"),
    [
        ("abc", lookup, "at least 12 digits"),
        ("x" * 12, lookup, "at least 12 digits"),
        ("a" * 65, lookup, "at least 12 digits"),
        ("a" * 12, lookup, "this machine's store does not have"),
        ("a" * 12, None, "without a store"),
        ("a" * 12, lambda _: EXPERIMENTS["lens"], "one of the page Lens"),
    ],
)
def test_a_run_that_cannot_be_shown_is_one_sentence(
    run: str, look_up: Callable[[str], Experiment] | None, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        url_state.read_parameters("patch", {"run": run}, look_up)


def test_a_set_from_a_file_is_in_no_address_without_its_run() -> None:
    with pytest.raises(InputError, match="upload the file"):
        url_state.read_parameters("many", {"set_source": "file"})


def test_the_store_finds_an_experiment_by_the_beginning_of_its_hash(
    model: pw.Model, home: object
) -> None:
    store = Store()
    results = [
        pw.patch(model, pair_of([1, 2, 3], [1, last, 3]), site="z", metric="logit_diff")
        for last in (4, 5)
    ]
    store.save_all(results)
    stored_ones = [METHODS.parse(json.dumps(one.experiment)) for one in results]
    assert [store.experiment(one.hash[:12]) for one in stored_ones] == [
        one.experiment for one in results
    ]
    for unknown in ("", "g", "0" * 64, "%", stored_ones[0].hash + "0"):
        with pytest.raises(UnknownRunError, match="no experiment"):
            store.experiment(unknown)
    store.delete([store.entry_of(results[0]).id])
    with pytest.raises(UnknownRunError, match="no experiment"):
        store.experiment(stored_ones[0].hash[:12])


def test_an_ambiguous_beginning_is_refused(model: pw.Model, home: object) -> None:
    store = Store()
    results = [pw.patch(model, pair_of([1, 2], [1, last]), site="z") for last in range(3, 20)]
    store.save_all(results)
    first = [METHODS.parse(json.dumps(one.experiment)).hash[0] for one in results]
    twice = next(one for one in first if first.count(one) > 1)
    with pytest.raises(UnknownRunError, match="several experiments"):
        store.experiment(twice)


@pytest.mark.parametrize(
    ("experiment", "page", "brought"),
    [
        (PatchTogether.of({**ON, "places": ["L1H2.z"]}), "patch", {"places": ["L1H2.z"]}),
        (
            AblateTogether.of({**ON, "places": ["L1H2.z"], "how": "zero"}),
            "ablation",
            {"chosen": "L1H2.z", "ablation": "zero"},
        ),
        (Attention.of({**ON, "layer": 2, "head": 1}), "attention", {"chosen": "L2H1.z"}),
        (LogitAttribution.of({**ON, "part": "head"}), "lens", {"part": "head"}),
        (EXPERIMENTS["many"], "patch", {"site": "z", "clean": PAIR.clean}),
    ],
)
def test_what_no_page_says_exactly_has_one_that_comes_nearest(
    experiment: Experiment, page: str, brought: dict[str, Any], demo: pw.Model
) -> None:
    found = restore_state.nearest_page(experiment, pw.run(experiment, demo))
    assert found is not None
    assert found[0] == page
    assert found[1] | brought == found[1]


def test_a_trace_opens_with_its_own_subject_whatever_was_chosen_before(demo: pw.Model) -> None:
    given = {"prompt": "The Eiffel Tower is in", "subject": "Eiffel Tower", "answer": " Paris"}
    traced = Trace.of({"model": "demo", **given, "samples": 2})
    found = restore_state.nearest_page(traced, pw.run(traced, demo))
    assert found is not None
    controls = fresh() | {"subject": [4], "subject_tokens": ["x"], "subject_cleared": True}
    session_state.set_controls(controls, restore_state.CLEARED | found[1])
    tokens = ["<|endoftext|>", "The", " Eiffel", " Tower", " is", " in"]
    assert session_state.settle_subject(controls, tokens, tokens, 1) is None
    assert controls["subject"] == [2, 3]
