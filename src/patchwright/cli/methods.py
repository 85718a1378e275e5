"""One command a method, or for some that belong together, built from what they declare.

Options are the fields of the experiments, and their help is the fields' own. Only what a person would not want to write as the field
has it is here: a head as L3H1, the subject of a trace, a circuit that is found and then measured.
"""

from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from patchwright.cli import options, pairs
from patchwright.cli.command import Command, check_files, inputs_from_options
from patchwright.cli.field_option import Values
from patchwright.cli.options import (
    bos_or_default,
    example_or_default,
    load,
    option,
    pair_and_metric,
    parse_numbers,
    style_of,
    typed_prompt,
    write_outputs,
)
from patchwright.cli.output import progress_bar
from patchwright.cli.runner import StoreRunner, experiment_lines
from patchwright.errors import InputError, UnknownPlaceError, quoted
from patchwright.experiment.registry import Methods

if TYPE_CHECKING:
    from patchwright.model.load import Model
    from patchwright.prompts.pair import Pair


def _run_trace(command: Command, given: Values) -> None:
    """A trace has one prompt; its subject may be an example's, or that of a pair in a file."""
    from patchwright.methods.trace import Trace, TraceSite

    check_files(given, given["panels"])
    style = style_of(given)
    if not any(given[name] for name in ("prompt", "subject", "subject_positions", "pairs")):
        given = {**given, "example": example_or_default(given["example"], given["model"])}
    _check_trace(given)
    several = pairs.PairsOptions(given["pairs"], given)
    file = several.read_pairs_file() if given["pairs"] else None
    doing = StoreRunner.from_options(given["no_store"], given["experiment"])
    given = {**given, **_example_fields(given)}
    model = load(*(given[name] for name in ("model", "device", "dtype", "revision", "device_map")))
    bos = bos_or_default(given["bos"], given["example"], given["model"])
    positions = parse_numbers(given["subject_positions"], "--subject-positions")
    subject: Any = given["subject"] or positions or []
    if given["example"] and not subject:
        subject = _example_subject(given["example"], model, bos)
    prompt = typed_prompt(given["prompt"], given["chat"], given["system"])
    settings = {**command.fields(given, Trace), "metric": given["metric"], "bos": bos}
    answers = {name: given[name] for name in ("answer", "wrong")}
    facts = [{"prompt": prompt, "subject": subject, **answers}]
    if file is not None:
        facts = [_fact_of(pair, subject, given) for pair in several.all_pairs(file, model)]
        facts = facts if given["experiment"] else _pick_fact(facts, given["pair"])
    every = [Trace.for_model(model, **{**settings, **one}) for one in facts]
    if given["experiment"]:
        options.write(given["experiment"], "".join(map(experiment_lines, every)))
        return
    with progress_bar() as progress:
        result = doing(every[0], model, progress)
        sites = [site for site in get_args(TraceSite) if given["panels"] and site != every[0].site]
        beside = [doing(every[0].for_site(site), model, progress) for site in sites]
    files = given["json"], given["csv"], given["plot"]
    panels = given["panels"], beside
    write_outputs(result, *files, caption=given["caption"], style=style, panels=panels)


def _check_trace(given: Values) -> None:
    """Raise InputError for options that do not go together."""
    example, positions = given["example"], given["subject_positions"]
    chat = given["chat"], given["system"]
    if not given["noise"]:
        raise InputError("--noise 0 changes nothing: give a multiple such as 3.")
    if given["subject"] and positions:
        raise InputError("Name the subject by either --subject or --subject-positions, not both.")
    if not (example or given["subject"] or positions or given["pairs"]):
        raise InputError("Name the subject: --subject, --subject-positions, --example or --pairs.")
    if given["pairs"] and (example or given["prompt"] or any(chat)):
        raise InputError("Give either --pairs or one prompt (or --example), not both.")
    if example and any(chat):
        raise InputError(
            "--chat and --system go with a --prompt that is typed, not with --example."
        )


def _example_fields(given: Values) -> Values:
    """Prompt and answers of the example that is named."""
    if not given["example"]:
        return {}
    prompt = given["prompt"], ""
    pair, _ = pair_and_metric(*prompt, given["answer"], given["wrong"], "exact", given["example"])
    answers = [str(one) for one in pair.answers], [str(one) for one in pair.wrongs]
    return {
        "prompt": str(pair.clean),
        "answer": answers[0],
        "wrong": _wrong_if_needed(answers[1], given),
    }


def _wrong_if_needed(wrong: Any, given: Values) -> Any:
    """The wrong answers, where the metric has any use of them."""
    from patchwright.algorithms.metrics import METRIC_TABLE, check_metric

    return wrong if METRIC_TABLE[check_metric(given["metric"])].needs_wrong else []


def _fact_of(pair: "Pair", subject: Any, given: Values) -> Values:
    """What a trace asks of a pair: its clean prompt, whose subject is named or has that role."""
    role = next((one for one in pair.roles if one.name == "subject"), None)
    if not subject and role is not None and isinstance(pair.clean, str):
        subject = pair.clean[role.start : role.stop]
    if not subject:
        raise InputError(
            "The file's pairs have no subject: name it with --subject, or its column with "
            "--subject-column."
        )
    wrong = _wrong_if_needed(pair.wrong, given)
    return {"prompt": pair.clean, "subject": subject, "answer": pair.answer, "wrong": wrong}


def _pick_fact(facts: list[Values], number: int) -> list[Values]:
    """The fact with a number, from 1."""
    if number > len(facts):
        raise InputError(f"--pair {number}: the file has the pairs 1-{len(facts)}.")
    return facts[number - 1 : number]


def _example_subject(name: str, model: "Model", bos: bool) -> list[int]:
    """Where an example's two prompts differ: what they are about."""
    from patchwright.prompts.align import differing_range
    from patchwright.prompts.examples import example
    from patchwright.prompts.tokens import encode_prompt

    pair = example(name).pair
    clean, corrupt = (
        encode_prompt(str(text), model.tokenizer, bos) for text in (pair.clean, pair.corrupt)
    )
    return list(differing_range(clean, corrupt))


def _run_circuit(command: Command, given: Values) -> None:
    """A circuit is found, or read from a file, and then measured."""
    from patchwright.atomic_files import check_writable
    from patchwright.experiment.circuit import Circuit, load_circuit
    from patchwright.figures.circuit_figure import draw_circuit
    from patchwright.figures.matplotlib_figures import save_figure
    from patchwright.methods.circuit import EdgeAttribution, EvaluateCircuit, default_sizes

    check_files(given, given["graph"])
    style = style_of(given)
    if given["save"]:
        check_writable(given["save"])
    doing = StoreRunner.from_options(given["no_store"], given["experiment"])
    scoring = command.fields(given, EdgeAttribution)
    measuring = command.fields(given, EvaluateCircuit)
    chosen = inputs_from_options(command, given)
    on = chosen.model, chosen.pair, chosen.bos
    with progress_bar() as progress:
        if given["circuit"]:
            circuit = load_circuit(given["circuit"])
        else:
            asked = EdgeAttribution.on(*on, metric=chosen.metric, **scoring)
            scored = doing(asked, chosen.model, progress)
            keep = given["top"], given["threshold"], given["connected"]
            circuit = Circuit.choose(scored, chosen.model, *keep)
        circuit.check(chosen.model)
        fields = {"sizes": default_sizes(len(circuit.edges)), **measuring}
        asked = EvaluateCircuit.on(*on, metric=chosen.metric, edges=circuit.edges, **fields)
        result = doing(asked, chosen.model, progress)
    if given["save"]:
        circuit.to_json(given["save"])
    if given["graph"]:
        save_figure(draw_circuit(circuit.edges, circuit.scores, style), given["graph"])
    files = given["json"], given["csv"], given["plot"]
    write_outputs(result, *files, caption=given["caption"], style=style, notes=chosen.notes)


def _order_by_attribution(fields: Values) -> Values:
    """Where only some cells are computed, an estimate says which."""
    return {**fields, "order": "attribution"} if "max_exact" in fields else fields


def _parse_head(fields: Values) -> Values:
    """A head that is written as in L3H1."""
    from patchwright.places import parse_place

    if "head" not in fields:
        return fields
    try:
        place = parse_place(f"{fields['head']}.pattern")
    except UnknownPlaceError:
        place = None
    if place is None or place.layer is None or place.head is None:
        raise InputError(f"--head {quoted(fields['head'])}: name one head, such as L3H1.")
    return {**fields, "layer": place.layer, "head": place.head}


OVERRIDES: dict[str, dict[str, Any]] = {
    "patch": {"adjust": _order_by_attribution},
    "attention": {"adjust": _parse_head, "retyped": {"head": "text"}},
    "lens": {
        "figure": "graph",
        "more": {
            "graph": (
                option(str, "Draw the logit difference by layer to a .png, .svg or .pdf file."),
                "",
            )
        },
    },
    "attribute": {
        "figure": "scatter",
        "more": {
            "scatter": (option(str, "Draw estimate against exact to a file; needs --exact."), "")
        },
    },
    "trace": {
        "body": _run_trace,
        "more": {
            "answer": (options.Answer, []),
            "wrong": (options.Wrong, []),
            "metric": (option(str, "As for patch.", shown=True), "probability"),
            "panels": (
                option(
                    str,
                    "Trace hidden state, MLP and attention, and draw all three on one scale to a .png, "
                    ".svg or .pdf file.",
                ),
                "",
            ),
            "example": (
                option(
                    str,
                    "Take the clean prompt and its answers from this example; the subject is where "
                    "its prompts differ.",
                ),
                "",
            ),
            "pairs": (pairs.PairsPath, ""),
            "pair": (Annotated[int, typer.Option(help="Which pair of the file.", min=1)], 1),
            **pairs.FILE_OPTIONS,
            "subject_positions": (option(str, "Or their positions, such as 2-4."), ""),
        },
    },
    "circuit": {
        "body": _run_circuit,
        "more": {
            "top": (Annotated[int, typer.Option(help="Keep at most N edges.", min=1)], 200),
            "threshold": (option(float, "Keep edges of at least this |score|.", shown=True), 0.0),
            "connected": (
                option(bool, "Choose edges by a walk down from the logits.", "--connected"),
                False,
            ),
            "circuit": (
                option(str, "Evaluate the circuit in this file instead of finding one."),
                "",
            ),
            "save": (option(str, "Write the circuit to this JSON file."), ""),
            "graph": (option(str, "Draw the edges to a .png, .svg or .pdf file."), ""),
        },
    },
}
"""What a person writes otherwise than the fields have it, by command."""


def commands(every: Methods) -> list[Command]:
    """The commands of all methods."""
    return [
        Command(name, kinds[0].summary or kinds[0].does(), kinds, **OVERRIDES.get(name, {}))
        for name, kinds in every.commands.items()
    ]
