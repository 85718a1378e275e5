"""`known-answers`: the models with a planted circuit, what is expected of each method and what is found."""

import json as json_module
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from patchwright.cli import options
from patchwright.cli.output import echo

if TYPE_CHECKING:
    from patchwright.known_answers import Answer, Finding, PlantedModel


def known_answers(
    model: Annotated[
        str, typer.Option("--model", help="One planted model.", show_default="all")
    ] = "",
    device: options.Device = "auto",
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Run every method on models whose circuit is known.

    The models are made in memory, their weights written by hand, so that every effect follows from
    the construction. Numbers that are known to mislead are marked, with the true one. Exit status 1
    where a number is not what it must be.
    """
    from patchwright.known_answers import KNOWN, TOLERANCE, check_known_answers, find_planted

    chosen = [find_planted(model, KNOWN)] if model else KNOWN
    findings: list[Finding] = []
    for planted in chosen:
        found = list(
            check_known_answers(planted, options.load(planted.model, device, "float32", None))
        )
        findings += found
        if not json:
            _show_findings(planted, found)
    failed = sum(not one.passed for one in findings)
    misleading = sum(one.truth is not None for one in findings)
    if json:
        echo(json_module.dumps([_document(one) for one in findings], ensure_ascii=False, indent=1))
    else:
        echo(
            f"{len(findings) - failed} of {len(findings)} numbers are what they must be within "
            f"{TOLERANCE:g}; {misleading} are known to mislead."
        )
    if failed:
        raise typer.Exit(1)


def _show_findings(planted: "PlantedModel", findings: Iterable["Finding"]) -> None:
    """The circuit, then experiment by experiment what is expected and what is found."""
    echo(f"{planted.model}: {planted.circuit} Source: {planted.source}.")
    for answer, found in groupby(findings, key=lambda one: one.answer):
        choices = f" ({answer.fields_text})" if answer.fields_text else ""
        echo(f"  {answer.method}{choices}: {answer.why}")
        for line in _lines(answer, found):
            echo(f"    {line}")
    echo("")


def _lines(answer: "Answer", findings: Iterable["Finding"]) -> Iterator[str]:
    for one in findings:
        mark = "ok " if one.passed else "BAD"
        truth = "" if one.truth is None else f"  misleads, true is {one.truth:+g} ({answer.source})"
        yield (
            f"{mark} {one.quantity:<30} expected {one.expected:+.5f}  found {one.found + 0.0:+.5f}{truth}"
        )


def _document(one: "Finding") -> dict[str, object]:
    return {
        "model": one.model,
        "method": one.answer.method,
        "fields": dict(one.answer.fields),
        "quantity": one.quantity,
        "expected": one.expected,
        "found": one.found,
        "passed": one.passed,
        "truth": one.truth,
        "why": one.answer.why,
        "source": one.answer.source,
    }


COMMANDS = (known_answers,)
