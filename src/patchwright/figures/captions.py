r"""Captions of figures: what is shown, of which model, on which prompts; as text or for LaTeX.

Somebody typed the prompts, so in LaTeX each of their characters stands for itself.
"""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import Result
from patchwright.algorithms.statistics import stored_statistics
from patchwright.axes import Metric
from patchwright.errors import InputError, printable_text
from patchwright.figures.chart_figures import open_circle_note
from patchwright.figures.grid import grids_of, is_one_number, note_of, title_of_all
from patchwright.prompts.tokens import quoted_answers
from patchwright.spelling import join_with_or, sentence_case

FORMATS = ("text", "latex")

MOST_PROMPT = 400
"""Characters of a prompt that a caption quotes."""
FINGERPRINT_DIGITS = 12
"""Digits of a fingerprint that a caption gives."""
MOST_ANSWERS = 4

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "“": "``",
    "”": "''",
    '"': "''",
    "−": "$-$",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
    "·": r"\textperiodcentered{}",
    "…": r"\ldots{}",
    "↵": r"$\hookleftarrow$",
    "σ": r"$\sigma$",
    "\0": "{}",
}


def caption_of(results: Sequence[Result], format: str, shows: str = "") -> str:
    r"""The caption of the figure of a result, or of several that are its panels.

    `shows` stands in the place of the result's own title. For LaTeX it is a `\caption{...}`.
    Raises InputError for a format that there is not.
    """
    if format not in FORMATS:
        raise InputError(f"A caption is no '{format}': choose {join_with_or(FORMATS)}.")
    first = results[0]
    parts = [
        f"{shows or title_of_all(results, '; ')}.",
        *dict.fromkeys(map(note_of, results)),
        _model_sentence(first),
        *_prompt_sentences(first),
        _metric_sentence(first),
        *([] if shows or is_one_number(first) else _legend_sentences(first)),
    ]
    text = " ".join(part for part in parts if part)
    return f"\\caption{{{escape_latex(text)}}}" if format == "latex" else text


def escape_latex(text: str) -> str:
    """`text` with every character that LaTeX would take for something else escaped."""
    # Two of a kind would become a dash or another quotation mark.
    parts = re.sub(r"([-',])(?=\1)", r"\1\0", text)
    return "".join(_LATEX.get(one, one) for one in parts)


def _model_sentence(result: Result) -> str:
    """Which model it was, to the weights, and how precisely it ran."""
    model = result.model
    name = str(model["name"])
    name = PurePath(name).name if model.get("source") == "folder" else name
    mark = str(model.get("fingerprint", "")).removeprefix("sha256:")[:FINGERPRINT_DIGITS]
    revision = f", revision {model['revision']}" if model.get("revision") else ""
    quantised = f", weights quantised ({model['quantization']})" if "quantization" in model else ""
    dtype = "" if model.get("dtype", "float32") == "float32" else f", run in {model['dtype']}"
    return f"Model: {_one_line(name)} (fingerprint {mark}{revision}{quantised}{dtype})."


def _prompt_sentences(result: Result) -> list[str]:
    """The prompts with their answers; of several pairs how many, and the first."""
    clean, corrupt = result.prompts("clean"), result.prompts("corrupt")
    if not clean:
        return []
    if "prompt" in result.experiment:
        answer = quoted_answers(result.experiment["answer"], MOST_ANSWERS)
        return [f"Prompt: {_quote_prompt(clean[0])}, answer {answer}."]
    pairs = result.experiment.get("pairs") or {}
    many = isinstance(pairs, list) and len(clean) > 1
    pair: dict[str, Any] = pairs[0] if isinstance(pairs, list) else pairs
    lead = (
        f"Means over {len(clean)} pairs of prompts, the first of them: clean" if many else "Clean"
    )
    right, wrong = (
        quoted_answers(pair.get(name, []), MOST_ANSWERS) for name in ("answer", "wrong")
    )
    return [
        f"{lead} prompt: {_quote_prompt(clean[0])}{f', answer {right}' if right else ''}.",
        f"Corrupted prompt: {_quote_prompt(corrupt[0])}{f', answer {wrong}' if wrong else ''}.",
    ]


def _metric_sentence(result: Result) -> str:
    """The metric of the unpatched runs, and the direction of copies between them."""
    metric: Metric = result.experiment["metric"]
    spec = METRIC_TABLE[metric]
    other = "noisy runs" if "prompt" in result.experiment else "corrupted run"
    runs = f"{result.clean.metric:.3g} in the clean run, {result.corrupt.metric:.3g} in the {other}"
    direction = {
        "denoise": f"; the {other} {'are' if other.endswith('s') else 'is'} changed (denoising)",
        "noise": "; the clean run is changed (noising)",
    }.get(result.experiment.get("direction", "") if "patched" in result.arrays else "", "")
    return f"Metric: {spec.label}, {runs}{direction}.".replace(" -", " −")


def _legend_sentences(result: Result) -> list[str]:
    """What stands in the map beside its colours."""
    grids = grids_of(result)
    found, said = stored_statistics(result), list[str]()
    if any("→" in label for grid in grids for label in grid.columns):
        said.append("Where the prompts differ, labels are clean→corrupted.")
    if n := sum(int(grid.estimated.sum()) for grid in grids if grid.estimated is not None):
        said.append(f"{n:,} of {sum(grid.values.size for grid in grids):,} cells are estimates.")
    if any(np.isnan(grid.values).any() for grid in grids):
        said.append("Grey: not computed, or without a value.")
    if found is not None and any(grid.unsure is not None for grid in grids):
        said.append(f"{sentence_case(open_circle_note(found))}.")
    return said


def _quote_prompt(text: str) -> str:
    shown = _one_line(text)
    return f"“{shown[:MOST_PROMPT]}{'…' if len(shown) > MOST_PROMPT else ''}”"


def _one_line(text: str) -> str:
    """Text on one line, whose control characters are their numbers."""
    return printable_text(text).replace("\n", "↵")
