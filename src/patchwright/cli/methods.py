"""One command a method, or for some that belong together, built from what they declare.

Options are the fields of the experiments, and their help is the fields' own. Only what a person would not want to write as the field
has it is here: a head as L3H1, the subject of a trace, a circuit that is found and then measured.
"""

from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from patchwright.cli import options
from patchwright.cli.command import Command, check_files, chosen_of
from patchwright.cli.field_option import Values
from patchwright.cli.options import (
    bos_or_usual,
    chosen_pair,
    example_or_own,
    load,
    numbers,
    progress_bar,
    said_by_user,
    style_of,
    write_outputs,
)
from patchwright.cli.runner import StoreRunner
from patchwright.errors import InputError, UnknownPlaceError, quoted
from patchwright.experiment.registry import Methods

if TYPE_CHECKING:
    from patchwright.model.load import Model


def _trace(command: Command, given: Values) -> None:
    """A trace has one prompt, whose subject may be an example's."""
    from patchwright.algorithms.metrics import METRIC_TABLE, check_metric
    from patchwright.methods.trace import Trace, TraceSite

    check_files(given, given["panels"])
    style = style_of(given)
    example, positions = given["example"], given["subject_positions"]
    if not (given["prompt"] or given["subject"] or positions):
        example = example_or_own(example, given["model"])
    chat = given["chat"], given["system"]
    if not given["noise"]:
        raise InputError("--noise 0 changes nothing: give a multiple such as 3.")
    if given["subject"] and positions:
        raise InputError("Name the subject by either --subject or --subject-positions, not both.")
    if not (example or given["subject"] or positions):
        raise InputError("Name the subject: --subject, --subject-positions or --example.")
    if example and any(chat):
        raise InputError(
            "--chat and --system go with a --prompt that is typed, not with --example."
        )
    doing = StoreRunner.of(given["no_store"], given["experiment"])
    if example:
        pair, _ = chosen_pair(
            given["prompt"], "", given["answer"], given["wrong"], "exact", example
        )
        compared = METRIC_TABLE[check_metric(given["metric"])].needs_wrong
        wrong = [str(one) for one in pair.wrongs] if compared else []
        answers = {"answer": [str(one) for one in pair.answers], "wrong": wrong}
        given = {**given, "prompt": str(pair.clean), **answers}
    model = load(*(given[name] for name in ("model", "device", "dtype", "revision", "device_map")))
    bos = bos_or_usual(given["bos"], example, given["model"])
    subject: Any = given["subject"] or numbers(positions, "--subject-positions") or []
    if example and not subject:
        subject = _subject_of(example, model, bos)
    fields = command.fields(given, Trace)
    asked = Trace.for_model(
        model,
        **{
            **fields,
            "prompt": said_by_user(given["prompt"], *chat),
            "subject": subject,
            "answer": given["answer"],
            "wrong": given["wrong"],
            "metric": given["metric"],
            "bos": bos,
        },
    )
    with progress_bar() as progress:
        result = doing(asked, model, progress)
        sites = [site for site in get_args(TraceSite) if given["panels"] and site != asked.site]
        beside = [doing(asked.of_panel(site), model, progress) for site in sites]
    write_outputs(
        result,
        given["json"],
        given["csv"],
        given["plot"],
        caption=given["caption"],
        style=style,
        panels=(given["panels"], beside),
    )


def _subject_of(name: str, model: "Model", bos: bool) -> list[int]:
    """Where an example's two prompts differ: what they are about."""
    from patchwright.prompts.align import differing
    from patchwright.prompts.examples import example
    from patchwright.prompts.tokens import encode_prompt

    pair = example(name).pair
    clean, corrupt = (
        encode_prompt(str(text), model.tokenizer, bos) for text in (pair.clean, pair.corrupt)
    )
    return list(differing(clean, corrupt))


def _circuit(command: Command, given: Values) -> None:
    """A circuit is found, or read from a file, and then measured."""
    from patchwright.atomic_files import check_writable
    from patchwright.experiment.circuit import Circuit, load_circuit
    from patchwright.figures.matplotlib_figures import save_circuit
    from patchwright.methods.circuit import EdgeAttribution, EvaluateCircuit, usual_sizes

    check_files(given, given["graph"])
    style = style_of(given)
    if given["save"]:
        check_writable(given["save"])
    doing = StoreRunner.of(given["no_store"], given["experiment"])
    scoring = command.fields(given, EdgeAttribution)
    measuring = command.fields(given, EvaluateCircuit)
    chosen = chosen_of(command, given)
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
        fields = {"sizes": usual_sizes(len(circuit.edges)), **measuring}
        asked = EvaluateCircuit.on(*on, metric=chosen.metric, edges=circuit.edges, **fields)
        result = doing(asked, chosen.model, progress)
    if given["save"]:
        circuit.to_json(given["save"])
    if given["graph"]:
        save_circuit(circuit.edges, circuit.scores, given["graph"], style)
    files = given["json"], given["csv"], given["plot"]
    write_outputs(result, *files, caption=given["caption"], style=style)


def _by_promise(fields: Values) -> Values:
    """Where only some cells are computed, an estimate says which."""
    return {**fields, "order": "attribution"} if "max_exact" in fields else fields


def _one_head(fields: Values) -> Values:
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


def _text(help: str) -> Any:
    return Annotated[str, typer.Option(help=help)]


SPECIAL: dict[str, dict[str, Any]] = {
    "patch": {"adjust": _by_promise},
    "attention": {"adjust": _one_head, "retyped": {"head": "text"}},
    "lens": {
        "figure": "graph",
        "more": {
            "graph": (_text("Draw the logit difference by layer to a .png, .svg or .pdf file."), "")
        },
    },
    "attribute": {
        "figure": "scatter",
        "more": {"scatter": (_text("Draw estimate against exact to a file; needs --exact."), "")},
    },
    "trace": {
        "body": _trace,
        "more": {
            "answer": (options.Answer, []),
            "wrong": (options.Wrong, []),
            "metric": (_text("As for patch."), "probability"),
            "panels": (
                _text(
                    "Trace hidden state, MLP and attention, and draw all three on one scale to a .png, "
                    ".svg or .pdf file."
                ),
                "",
            ),
            "example": (
                _text(
                    "Take the clean prompt and its answers from this example; the subject is where "
                    "its prompts differ."
                ),
                "",
            ),
            "subject_positions": (
                Annotated[
                    str,
                    typer.Option(help="Or their positions, such as 2-4.", show_default=False),
                ],
                "",
            ),
        },
    },
    "circuit": {
        "body": _circuit,
        "more": {
            "top": (Annotated[int, typer.Option(help="Keep at most N edges.", min=1)], 200),
            "threshold": (
                Annotated[float, typer.Option(help="Keep edges of at least this |score|.")],
                0.0,
            ),
            "connected": (
                Annotated[
                    bool,
                    typer.Option(
                        "--connected", help="Choose edges by a walk down from the logits."
                    ),
                ],
                False,
            ),
            "circuit": (_text("Evaluate the circuit in this file instead of finding one."), ""),
            "save": (_text("Write the circuit to this JSON file."), ""),
            "graph": (_text("Draw the edges to a .png, .svg or .pdf file."), ""),
        },
    },
}
"""What a person writes otherwise than the fields have it, by command."""


def commands(every: Methods) -> list[Command]:
    """The commands of all methods."""
    return [
        Command(name, kinds[0].summary or kinds[0].does(), kinds, **SPECIAL.get(name, {}))
        for name, kinds in every.commands.items()
    ]
