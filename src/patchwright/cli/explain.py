"""`explain`: the sweeps that sentences need, and the sentences."""

import json as to_json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from patchwright.cli.options import (
    Align,
    Answer,
    Clean,
    Corrupt,
    Device,
    Direction,
    Dtype,
    ExampleName,
    Json,
    Metric,
    ModelName,
    NoBos,
    Revision,
    Wrong,
    check_outputs,
    chosen_pair,
    console,
    load,
    progress_bar,
    write,
)

if TYPE_CHECKING:
    from patchwright.insights import Insights
    from patchwright.methods.result import Result
    from patchwright.model.load import Model
    from patchwright.prompts.pair import Pair


def explain(
    clean: Clean = "",
    corrupt: Corrupt = "",
    answer: Answer = [],  # noqa: B006 - Typer copies it
    wrong: Wrong = [],  # noqa: B006
    example: ExampleName = "",
    align: Align = "exact",
    direction: Direction = "denoise",
    metric: Metric = "",
    no_bos: NoBos = False,
    model: ModelName = "demo",
    device: Device = "auto",
    dtype: Dtype = "float32",
    revision: Revision = None,
    json: Json = "",
) -> None:
    """Say in numbered sentences what patching shows, and when not to trust it.

    Patches the residual stream at every layer and position and every head, looks at
    the attention of the strongest heads, and puts the numbers into words by fixed rules.
    """
    check_outputs(json, "")
    pair, usual_metric = chosen_pair(clean, corrupt, answer, wrong, align, example)
    loaded = load(model, device, dtype, revision)
    stream, said = _explained(loaded, pair, direction, metric or usual_metric, not no_bos)
    if json:
        document = {"experiment": stream.experiment, "model": stream.model, **asdict(said)}
        write(json, to_json.dumps(document, ensure_ascii=False) + "\n")
    else:
        console().print(_shown(said))


def _explained(
    model: "Model", pair: "Pair", direction: str, metric: str, bos: bool
) -> tuple["Result", "Insights"]:
    """The sweep of the residual stream, and what it and the heads show."""
    from patchwright.experiment import attention, patch
    from patchwright.insights import heads_to_look_at, insights
    from patchwright.places import parse_place

    asked: dict[str, Any] = {"direction": direction, "metric": metric, "bos": bos}
    with progress_bar() as progress:
        stream = patch(model, pair, "resid_pre", **asked, progress=progress)
        heads = patch(model, pair, "z", **asked, progress=progress)
    found = {name: parse_place(name) for name in heads_to_look_at(heads)}
    if not found:
        return stream, insights(stream, heads=heads)
    layers, numbers = zip(*((one.layer or 0, one.head or 0) for one in found.values()), strict=True)
    patterns = {
        name: attention(model, pair, layer, head, bos)
        for name, layer, head in zip(found, layers, numbers, strict=True)
    }
    acting = patch(model, pair, "z", "head_position", layers=layers, heads=numbers, **asked)
    return stream, insights(stream, heads=heads, patterns=patterns, acting=acting)


def _shown(said: "Insights") -> Any:
    """The steps, numbered, and the cautions, as a terminal shows them."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for heading, sentences in (("What this shows", said.steps), ("Cautions", said.cautions)):
        table = Table(box=None, show_header=False, pad_edge=False)
        for i, one in enumerate(sentences, 1):
            table.add_row(Text(f"{i}."), Text(one.text))
        parts += [Text(heading, style="bold"), table]
    return Group(*parts)


COMMANDS = (explain,)
