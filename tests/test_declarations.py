"""One declaration a method: what command line, HTTP, page, scripts and documentation make of it."""

import json
import re
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.main import get_command

import patchwright as pw
from command import patchwright
from docs_programs import program
from every_method import PAIR, every_experiment
from patchwright.app.restore_state import PAGE_EXPERIMENTS
from patchwright.axes import METRICS
from patchwright.cli.full import app
from patchwright.errors import InputError
from patchwright.experiment.limits import Limits
from patchwright.methods import METHODS, command_summaries

DOCS = Path(__file__).parents[1] / "docs"

WITHOUT_A_PAGE = {
    "patch_together": "the set of places on the tab Patch",
    "ablate_together": "the place chosen on the page Ablation",
    "attribute": "the order of cells of a sweep",
    "head_scores": "a table on the page Activations",
    "logit_attribution": "a panel of the page Lens",
    "evaluate_circuit": "the curve on the page Circuit",
}
"""Methods that no page is about, and where their results are seen."""


@pytest.fixture(scope="module")
def results(demo: pw.Model) -> dict[str, pw.Result]:
    return {name: pw.run(one, demo) for name, one in every_experiment(PAIR).items()}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_command_that_has_its_parameters(name: str) -> None:
    kind = METHODS[name]
    command = get_command(app).commands[kind.command or name]  # pyright: ignore[reportAttributeAccessIssue]
    assert command.help == (kind.summary or METHODS.commands[command.name][0].summary)
    shown = {option for one in command.params for option in one.opts}
    for field, info in kind.model_fields.items():
        if field in ("method", "pairs") or len(get_args(info.annotation)) == 1:
            continue
        stated = [one for one in info.metadata if hasattr(one, "hidden")]
        if (stated and stated[0].hidden) or (field == "metric" and not kind.measures):
            continue
        spelled = (stated[0].name if stated else "") or field
        assert f"--{spelled.replace('_', '-')}" in shown, field


def test_what_is_read_off_the_files_for_help_is_what_the_methods_say() -> None:
    said = {name: kinds[0].summary for name, kinds in METHODS.commands.items()}
    assert list(command_summaries().items()) == list(said.items())


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_bound_for_strangers(demo: pw.Model, name: str) -> None:
    nothing = Limits(cells=0, passes=0, drawn=0, memory=0)
    with pytest.raises(InputError, match=r"takes at most 0|gives at most 0"):
        nothing.check(every_experiment(PAIR)[name], demo)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_did_and_has_the_array_that_it_is_about(
    results: dict[str, pw.Result], name: str
) -> None:
    result, kind = results[name], METHODS[name]
    assert result.main == kind.main
    title = METHODS.experiment_of_result(result).title(result)
    assert title
    assert "{" not in title
    assert kind.does().endswith(".")
    assert "\n" not in kind.does()
    # A result from a file is the same to all that show it.
    again = METHODS.read_result(json.loads(result.to_json()))
    assert (again.main, METHODS.experiment_of_result(again).title(again)) == (result.main, title)


@pytest.mark.parametrize("pairs", [PAIR, (PAIR, PAIR)], ids=["one pair", "pairs"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_asks_its_question_in_words(name: str, pairs: Any) -> None:
    questions = {kind: one.question for kind, one in every_experiment(pairs).items()}
    asked = questions[name]
    assert list(questions.values()).count(asked) == 1, "another method asks the same"
    assert re.fullmatch(r"[A-Z][^?{}_\n]+\?", asked)
    assert not re.search(r"\bL\d|resid_|logit_diff|denoise|clean|corrupt", asked)
    about = name not in ("attention", "head_scores", "difference")
    assert ("Mary" in asked) == (about and (pairs is PAIR or name == "trace"))
    assert ("over 2 pairs" in asked) == (pairs is not PAIR and name not in ("trace", "head_scores"))


def test_a_question_names_what_is_changed_and_between_which_answers() -> None:
    years = pw.Pair(clean="a", corrupt="b", answer=[" 39", " 40", " 41"], wrong="?\n*")
    asked: list[tuple[Any, str]] = [
        (
            pw.Patch(model="demo", pairs=PAIR, site="z"),
            "Which heads bring back “Mary” instead of “John”?",
        ),
        (
            pw.Patch(model="demo", pairs=PAIR, site="mlp_out", direction="noise"),
            "Which MLPs, at which tokens, does “Mary” need to stay ahead of “John”?",
        ),
        (
            pw.Ablate(model="demo", pairs=years, site="z", per="layer"),
            "Without which attention layers is “39” or “40” … lost to “?↵*”?",
        ),
        (
            pw.PatchTogether(
                model="demo", pairs=PAIR, places=("L9H6.z", "L1.mlp_out@-1", "embed@2", "L3H1.q")
            ),
            "Is “Mary” brought back instead of “John” by head 6 of layer 9, the MLP output of layer 1 "
            "at the last token, token embedding at token 2 and 1 more?",
        ),
        (
            pw.Trace(model="demo", prompt="Paris", subject="Paris", answer=" is"),
            "Which layers, at which tokens, bring back “is” after noise on “Paris”?",
        ),
    ]
    assert [one.question for one, _ in asked] == [words for _, words in asked]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_on_a_page_or_it_is_said_where(name: str) -> None:
    held = [one.kind for one in PAGE_EXPERIMENTS.values()]
    assert (METHODS[name] in held) != (name in WITHOUT_A_PAGE)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_documented(name: str) -> None:
    command = METHODS[name].command or name
    pages = [page.read_text("utf-8") for page in (DOCS / "methods").glob("*.md")]
    assert any(re.search(rf"^patchwright {command} ", page, re.MULTILINE) for page in pages)
    assert f"::: patchwright.{name}\n" in (DOCS / "api" / "methods.md").read_text("utf-8")
    kind = METHODS[name].__name__
    assert f"::: patchwright.{kind}\n" in (DOCS / "api" / "experiments.md").read_text("utf-8")


def test_the_page_of_parameters_is_that_of_the_methods() -> None:
    shown = (DOCS / "methods" / "parameters.md").read_text("utf-8")
    assert shown == program("write_methods").page_of(METHODS)


OTHERWISE = {"evaluate_circuit": {"circuit": "edges"}}
"""Arguments of a call that the experiment has under another name."""


@pytest.mark.parametrize("name", METHODS)
def test_the_call_of_a_method_has_the_defaults_of_its_experiment(name: str) -> None:
    kind, call = METHODS[name], signature(getattr(pw, name))
    assert call.parameters.keys() >= {"model"}
    for argument in call.parameters.values():
        field = OTHERWISE.get(name, {}).get(argument.name, argument.name)
        info = kind.model_fields.get(field)
        if info is None or argument.name == "model" or argument.default is None:
            continue
        if argument.default is Parameter.empty:
            assert info.is_required(), argument.name
        else:
            assert info.default == argument.default, argument.name


@pytest.mark.parametrize("name", METHODS)
def test_a_json_document_needs_no_more_than_the_call(name: str) -> None:
    needed = {key for key, info in METHODS[name].model_fields.items() if info.is_required()}
    least = {"sizes", "edges"} if name == "evaluate_circuit" else set[str]()
    call = signature(getattr(pw, name)).parameters.values()
    asked = {one.name for one in call if one.default is Parameter.empty} - {"circuit", "pair"}
    assert needed == asked | least | ({"pairs"} if name != "trace" else set())


def test_methods_are_listed_with_their_parameters() -> None:
    shown = patchwright("methods").stdout
    assert all(re.search(rf"^{name} ", shown, re.MULTILINE) for name in METHODS)
    described = {one["name"]: one for one in json.loads(patchwright("methods", "--json").stdout)}
    assert described.keys() == METHODS.keys()
    norms = next(p for p in described["path_patch"]["parameters"] if p["name"] == "norms")
    assert (norms["type"], norms["default"]) == ("recompute | freeze", "recompute")
    metric = next(p for p in described["patch"]["parameters"] if p["name"] == "metric")
    assert metric["type"] == " | ".join(METRICS)
    subject = next(p for p in described["trace"]["parameters"] if p["name"] == "subject")
    assert subject["required"]
