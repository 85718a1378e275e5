"""`explain`: the sweeps that sentences need, and the sentences."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchwright.cli import options
from patchwright.cli.output import console, progress_bar, write_json
from patchwright.cli.pairs import PairsOptions, PairsPath
from patchwright.cli.runner import StoreRunner

if TYPE_CHECKING:
    from patchwright.algorithms.result import Result, Tokens
    from patchwright.insights import Insights
    from patchwright.insights.llm import Endpoint, LlmExplanation


def explain(
    clean: options.Clean = "",
    corrupt: options.Corrupt = "",
    answer: options.Answer = [],  # noqa: B006 - Typer copies it
    wrong: options.Wrong = [],  # noqa: B006
    example: options.ExampleName = "",
    pairs: PairsPath = "",
    align: options.Align = "exact",
    direction: options.Direction = "denoise",
    metric: options.Metric = "",
    bos: options.BosOrDefault = None,
    model: options.ModelName = "demo",
    device: options.Device = "auto",
    device_map: options.DeviceMap = "",
    dtype: options.Dtype = "float32",
    revision: options.Revision = None,
    json: options.Json = "",
    no_store: options.NoStore = False,
    in_words: Annotated[
        bool,
        typer.Option(
            "--written",
            help="Also let a language model rewrite the sentences: the one that the environment "
            "variables PATCHWRIGHT_EXPLAIN_URL, _MODEL and _KEY name. Each of its numbers is checked.",
        ),
    ] = False,
) -> None:
    """Explain in numbered sentences what patching shows, and when not to trust it.

    Patches the residual stream at every layer and position and every head, looks at
    the attention of the strongest heads, and puts the numbers into words by fixed rules.
    """
    from patchwright.insights.explain import explain_pair

    options.check_outputs(json, "")
    where = _llm_endpoint() if in_words else None
    chosen = options.load_inputs(
        (clean, corrupt, answer, wrong),
        example,
        PairsOptions(pairs, align=align),
        metric,
        bos,
        (model, device, dtype, revision, device_map),
    )
    doing = StoreRunner.from_options(no_store)
    with progress_bar() as progress:
        stream, said = explain_pair(
            chosen.model,
            chosen.pair,
            direction,
            chosen.metric,
            chosen.bos,
            doing.with_model(chosen.model, progress),
        )
    words = None if where is None else _llm_explanation(where, stream, said)
    if json:
        document = {"experiment": stream.experiment, "model": stream.model, **asdict(said)}
        if words is not None:
            # `struck` is the older name of `rejected`, for a release.
            document["written"] = {**asdict(words), "struck": words.rejected}
        write_json(json, document)
    else:
        if words is not None:
            console().print(_llm_output(words))
        console().print(_insights_output(said))


def _llm_endpoint() -> "Endpoint":
    from patchwright.errors import ExplainError
    from patchwright.insights.llm import KEY, MODEL, URL, endpoint_from_environment

    found = endpoint_from_environment()
    if found is None:
        raise ExplainError(
            f"No language model is set to explain with: set {URL} and {MODEL} (and {KEY}, where the "
            "server wants one), or leave --written out."
        )
    return found


def _llm_explanation(where: "Endpoint", stream: "Result", said: "Insights") -> "LlmExplanation":
    from patchwright.insights.llm import write_explanation

    prompts = {name: _prompt_text(tokens) for name, tokens in stream.tokens.items()}
    return write_explanation([*said.steps, *said.cautions], prompts, where)


def _prompt_text(tokens: "Tokens") -> str:
    """A prompt as it was read; of several pairs the first one's."""
    first = tokens if isinstance(tokens[0], str) else tokens[0]
    return "".join(map(str, first))


def _llm_output(words: "LlmExplanation") -> Any:
    """The language model's sentences with the facts that each rests on, or why there are none."""
    from rich.console import Group

    from patchwright.figures.tables import Line

    if words.note:
        return Line(words.note)
    heading = "In a language model's words (each number is in the facts named)"
    if words.rejected:
        heading += f"; {words.rejected} sentences were struck out"
    lines = [
        Line(f"{one.text} [{', '.join(map(str, one.facts))}]", style="italic")
        for one in words.sentences
    ]
    return Group(Line(heading, style="bold"), *lines, Line())


def _insights_output(said: "Insights") -> Any:
    """The steps, numbered, and the cautions, each with its place, as a terminal shows them."""
    from rich.console import Group

    from patchwright.figures.tables import Line, table

    parts: list[Any] = []
    first = 1
    for heading, sentences in (("What this shows", said.steps), ("Cautions", said.cautions)):
        rows = table("number", "sentence", whole=("number",))
        rows.show_header = False
        for i, one in enumerate(sentences, first):
            place = "" if one.place is None else f" [{one.place}]"
            rows.add_row(Line(f"{i}."), Line(one.text + place))
        first += len(sentences)
        parts += [Line(heading, style="bold"), rows]
    return Group(*parts)


COMMANDS = (explain,)
