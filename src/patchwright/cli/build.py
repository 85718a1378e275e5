"""`build`: pairs from a template, a sentence or a swapped word, as lines of JSONL."""

import json
import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchwright.cli import options
from patchwright.cli.output import echo_err, write
from patchwright.errors import InputError, OutputError

if TYPE_CHECKING:
    from patchwright.prompts.datasets import Item
    from patchwright.prompts.templates import Template

app = typer.Typer(
    help="Build pairs and write them as JSONL, for --pairs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Out = Annotated[str, typer.Option("--out", help="Write to this file; - is standard output.")]


@app.command()
def template(
    template: Annotated[
        str,
        typer.Argument(
            help="A built-in template, a .json file of one, or a text with slots in braces; "
            "without it, the built-in ones are listed."
        ),
    ] = "",
    slot: Annotated[
        list[str],
        typer.Option(help="Words of a slot: A=Mary,John, or another slot: S={B}. Repeatable."),
    ] = [],  # noqa: B006 - Typer copies it
    swap: Annotated[
        list[str],
        typer.Option(help="Content of a slot in the corrupted prompt: S={A}. Repeatable."),
    ] = [],  # noqa: B006
    answer: options.Answer = [],  # noqa: B006
    wrong: options.Wrong = [],  # noqa: B006
    count: Annotated[int, typer.Option(help="How many pairs.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    model: options.ModelName = "demo",
    revision: options.Revision = None,
    out: Out = "-",
) -> None:
    """Fill a template's slots with words, all pairs of one token length.

    A word's other forms follow it behind slashes: with NOUN=key/keys,dog/dogs the slot
    {NOUN.1} is the plural.
    """
    from patchwright.prompts.templates import from_template

    given = (slot, swap, answer, wrong)
    if not template and not any(given):
        _list_tasks()
        return
    tag, chosen = _choose_template(template, *given)
    tokenizer = options.load(model, "cpu", "float32", revision).tokenizer
    pairs = from_template(chosen, count, tokenizer, seed)
    _write_pairs(out, [_make_item(pair, *([tag] if tag else [])) for pair in pairs])


@app.command()
def agreement(
    sentence: Annotated[
        list[str],
        typer.Argument(
            help="Such as 'The keys to the cabinet are on the table'; several, or - for the "
            "lines of standard input."
        ),
    ],
    align: options.Align = "exact",
    model: options.ModelName = "demo",
    revision: options.Revision = None,
    out: Out = "-",
) -> None:
    """Make a pair from each sentence: the verb is the answer, and the subject changes its number.

    Sentences that cannot be used are told on standard error, and the others go on.
    """
    from patchwright.prompts.agreement import agreement as build_pair

    if align != "exact" and align != "edges":
        raise InputError(f"--align '{align}': choose exact or edges.")
    sentences = _read_stdin_lines() if sentence == ["-"] else sentence
    tokenizer = options.load(model, "cpu", "float32", revision).tokenizer
    items: list[Item] = []
    for number, text in enumerate(sentences, 1):
        try:
            items.append(_make_item(build_pair(text, tokenizer, align), "agreement"))
        except InputError as error:
            if len(sentences) == 1:
                raise
            echo_err(f"Sentence {number}: {error}")
    if not items:
        raise InputError("No sentence can be used: see the lines above.")
    _write_pairs(out, items)


@app.command()
def swap(
    prompt: Annotated[str, typer.Argument(help="The clean prompt.")],
    word: Annotated[str, typer.Argument(help="The word in the prompt to replace.")],
    answer: Annotated[str, typer.Option(help="Right next token, with its space: ' Mary'.")],
    wrong: Annotated[
        str, typer.Option(help="Competing next token.", show_default="the likeliest other")
    ] = "",
    words: Annotated[
        list[str],
        typer.Option("--word", help="A word to try, in addition to likely ones. Repeatable."),
    ] = [],  # noqa: B006 - Typer copies it
    occurrence: Annotated[int, typer.Option(help="Which occurrence of the word, from 1.")] = 1,
    count: Annotated[int, typer.Option(help="How many pairs, the best first.", min=1)] = 10,
    bos: options.Bos = True,
    model: options.ModelName = "demo",
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    revision: options.Revision = None,
    out: Out = "-",
) -> None:
    """Find words of the same number of tokens that flip the answer best."""
    from patchwright.experiment.swap import swap as find_swaps

    loaded = options.load(model, device, dtype, revision)
    found = find_swaps(
        loaded, prompt, word, answer, wrong or None, count, words, occurrence, bos=bos
    )
    _write_pairs(out, [_make_item(one.pair, "swap") for one in found])


def _read_stdin_lines() -> list[str]:
    """The lines of standard input, read as UTF-8 as every file is; bytes that are none stay known."""
    with TextIOWrapper(sys.stdin.buffer, "utf-8-sig", "surrogateescape") as stream:
        return [line.strip() for line in stream if line.strip()]


def _make_item(pair: Any, *tags: str) -> "Item":
    from patchwright.prompts.datasets import Item

    return Item(pair=pair, tags=tags)


def _write_pairs(out: str, items: "Iterable[Item]") -> None:
    from patchwright.prompts.datasets import write_items

    write(out, "".join(write_items(items)))


def _list_tasks() -> None:
    from patchwright.figures.tables import Line, table
    from patchwright.prompts.builtin_templates import tasks

    rows = table("name", "template", "what it asks", whole=("name",))
    for one in tasks():
        rows.add_row(one.name, Line(one.template.texts[0]), Line(one.title))
    options.console().print(rows)


def _choose_template(
    name: str, slot: Sequence[str], swap: Sequence[str], answer: Sequence[str], wrong: Sequence[str]
) -> tuple[str, "Template"]:
    """The template that the options describe, and a tag for its pairs."""
    from patchwright.prompts.builtin_templates import task
    from patchwright.prompts.parse_template import parse_template
    from patchwright.prompts.templates import Template

    if "{" in name:
        if not answer:
            raise InputError("--answer is missing: name it by its slot, as in --answer ' {A}'.")
        return "", parse_template(name, slot, swap, answer, wrong, ("--slot", "--swap"))
    if slot or swap or answer or wrong:
        raise InputError(
            "--slot, --swap, --answer and --wrong belong to a text with slots, such as "
            "'{A} and {B} met. {S} gave a book to': give one, or leave them out."
        )
    if name.lower().endswith(".json"):
        return Path(name).stem, Template.of(_read_json(name))
    return name, task(name).template


def _read_json(path: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"'{path}' cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}' is not JSON: {error}.") from error
