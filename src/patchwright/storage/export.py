"""Results as tables, scripts and notebooks: what a reader takes away.

A script or notebook runs the experiment again and gives the same numbers. What
somebody typed (prompts, answers, names of models) is data: it goes in as a
Python literal, so that no prompt can become code.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from inspect import signature
from io import StringIO
from textwrap import dedent, fill
from typing import Any

from pandas import DataFrame

import patchwright
from patchwright.algorithms.metrics import default_metric
from patchwright.algorithms.result import Result
from patchwright.experiment.base import Experiment, OnPairs
from patchwright.experiment.patching import Sweep
from patchwright.experiment.registry import Methods
from patchwright.methods import METHODS
from patchwright.methods.circuit import EvaluateCircuit
from patchwright.methods.diff import Difference
from patchwright.places import pers_of
from patchwright.prompts.messages import Message
from patchwright.prompts.pair import Pair

WIDTH = 96

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a text begins with that a spreadsheet runs (OWASP, CSV injection)."""


@dataclass(frozen=True)
class _Step:
    """A step of the rerun: what is done, in words, and the code that does it."""

    title: str
    text: str
    code: str


Notes = Sequence[Mapping[str, Any]]
"""What a file says of each of its pairs beside prompts and answers."""


def csv_text(result: Result, frame: DataFrame | None = None, notes: Notes = ()) -> str:
    """A result's table, by default `Result.table`, as `frame_text` writes a table.

    Its last columns say in every row what it is about: `model`, `metric`, `clean_prompt`,
    `corrupt_prompt`, and each of the pair's `notes` as `note_` with its name. A row that is over
    several pairs has their number in place of prompts, and no notes.
    """
    frame = result.table() if frame is None else frame
    return frame_text(frame.assign(**_about_columns(frame, result), **_note_columns(frame, notes)))


def _about_columns(frame: DataFrame, result: Result) -> dict[str, Any]:
    """Columns for the model, the metric, and the prompts of each row's pair."""
    about = {"model": result.model["name"], "metric": result.experiment["metric"]}
    for run in ("clean", "corrupt"):
        prompts = result.prompts(run)
        one = prompts[0] if len(prompts) == 1 else f"{len(prompts)} pairs"
        rows = [prompts[pair - 1] for pair in frame["pair"]] if "pair" in frame else one
        about[f"{run}_prompt"] = rows
    return about


def _note_columns(frame: DataFrame, notes: Notes) -> dict[str, Any]:
    """A column for each note of the rows' pairs."""
    if "pair" not in frame and len(notes) != 1:
        return {}
    pairs = frame["pair"] if "pair" in frame else [1] * len(frame)
    names = dict.fromkeys(name for one in notes for name in one)
    return {
        f"note_{name}": [_note_value(notes[pair - 1].get(name)) for pair in pairs] for name in names
    }


def _note_value(note: object) -> object:
    """A text or a number as it is, nothing as an empty text, all else as JSON."""
    if note is None:
        return ""
    return note if isinstance(note, str | int | float) else json.dumps(note, ensure_ascii=False)


def frame_text(frame: DataFrame) -> str:
    """A table as CSV with a header; numbers in full precision.

    A text that a spreadsheet would run as a formula has an apostrophe before it. What is not
    all ASCII begins with a byte-order mark, by which spreadsheets know UTF-8.
    """
    lines = _CsvBuffer(newline="")
    frame.map(_escape_formula).to_csv(lines, index=False, lineterminator="\r\n")
    text = lines.getvalue()
    return text if text.isascii() else f"\ufeff{text}"


class _CsvBuffer(StringIO):
    """Takes rows that end in CR LF, for which `csv` quotes both in fields, and ends them in LF."""

    def write(self, row: str, /) -> int:
        return super().write(row.removesuffix("\r\n") + "\n")


def _escape_formula(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def script_text(result: Result, methods: Methods = METHODS) -> str:
    """A Python script that runs the result's experiment again, with the same numbers.

    It writes `result.json` and `figure.png` to the working directory. Raises
    ExperimentError for a method that is not there, or an experiment that is not whole.
    """
    done = methods.experiment_of_result(result)
    head = f'"""{_about_text(result)}\n\nRun it with `python`, where `pip install patchwright` was done.\n"""'
    parts = [head, "import patchwright as pw"]
    for step in [*_steps(result, done), _save_step("")]:
        parts.append(f"# {step.title}\n#\n{_comment(step.text)}\n{step.code}")
    return "\n\n".join(parts) + "\n"


def notebook_text(result: Result, methods: Methods = METHODS) -> str:
    """A Jupyter notebook (nbformat 4.5) that does what `script_text`'s script does.

    The same result gives the same text. Raises as `script_text` does.
    """
    done = methods.experiment_of_result(result)
    shown = _save_step("\nImage(filename='figure.png')")
    steps = [
        _Step(
            "Patchwright",
            _about_text(result),
            "from IPython.display import Image\n\nimport patchwright as pw",
        ),
        *_steps(result, done),
        shown,
    ]
    cells: list[dict[str, Any]] = []
    for step in steps:
        level = "#" if step is steps[0] else "##"
        cells.append(_notebook_cell(len(cells), "markdown", f"{level} {step.title}\n\n{step.text}"))
        cells.append(_notebook_cell(len(cells), "code", step.code))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def _notebook_cell(index: int, kind: str, source: str) -> dict[str, Any]:
    runs = {"execution_count": None, "outputs": []} if kind == "code" else {}
    lines = source.splitlines(keepends=True)
    return {"id": f"step-{index}", "cell_type": kind, "metadata": {}, "source": lines} | runs


def _about_text(result: Result) -> str:
    return f"Runs an experiment of Patchwright {version('patchwright')} again: {result.method}."


def _steps(result: Result, done: Experiment) -> list[_Step]:
    return [_model_step(result), _check_step(result), *_input_steps(done), _run_step(result, done)]


def _model_step(result: Result) -> _Step:
    named: dict[str, Any] = result.model
    if "device_map" in named:
        layers = [f"{_literal(str(k))}: {_literal(str(v))}" for k, v in named["device_map"].items()]
        options = {"device_map": f"{{{', '.join(layers)}}}"}
    else:
        options = {"device": _literal(str(named["device"]))}
    if named["dtype"] != "float32":
        options["dtype"] = _literal(str(named["dtype"]))
    if named["revision"] is not None:
        options["revision"] = _literal(str(named["revision"]))
    name = _literal(str(named["name"]))
    text = "The same kind of machine gives the same numbers to the last digit; another, nearly."
    source = named.get("source")
    if source == "wrapped":
        return _Step("The model", text, _wrapped_code(result, name))
    code = _call_code("model = pw.load_model", [name], options)
    if source == "folder":
        code = f"# The folder that the model was in: put the path of your copy here.\n{code}"
    return _Step("The model", text, code)


def _wrapped_code(result: Result, name: str) -> str:
    """Loading a model that only its owner has."""
    dtype = _literal(str(result.model["dtype"]))
    texts = [text for prompt in result.tokens.values() for text in prompt]
    flat = [one for text in texts for one in ([text] if isinstance(text, str) else text)]
    known = not all(re.fullmatch(r"\[\d+\]", text) for text in flat)
    tokenizer = "AutoTokenizer.from_pretrained(folder)" if known else "None"
    return dedent(
        f"""\
        # The model was in memory already, under the name
        #     {name}
        # so put here the folder into which its owner has saved it with `save_pretrained`,
        # or whatever else makes `hf_model`, a model of Hugging Face Transformers.
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = "./PUT-THE-FOLDER-OF-THE-MODEL-HERE"
        hf_model = AutoModelForCausalLM.from_pretrained(folder, dtype={dtype})
        tokenizer = {tokenizer}
        model = pw.wrap_model(hf_model, tokenizer, name={name})"""
    )


def _check_step(result: Result) -> _Step:
    mark = _literal(str(result.model["fingerprint"]))
    return _Step(
        "Is it the same model?",
        "The fingerprint is a digest of the weights and the tokenizer.",
        f"fingerprint = {mark}\n"
        "if model.fingerprint != fingerprint:\n"
        '    print("Warning: this is another model than that of the result; the numbers will differ.")',
    )


def _input_steps(done: Experiment) -> list[_Step]:
    """The prompts, and the circuit where there is one."""
    if not isinstance(done, OnPairs):
        return []
    if isinstance(done.pairs, Pair):
        code = f"pair = {_pair_code(done.pairs)}"
    else:
        lines = "".join(f"    {_indented(_pair_code(one))},\n" for one in done.pairs)
        code = f"pairs = [\n{lines}]"
    steps = [
        _Step(
            "The prompts",
            "The model answers the clean prompt correctly; the corrupted one differs in one thing.",
            code,
        )
    ]
    if isinstance(done, EvaluateCircuit):
        steps.append(_circuit_step(done))
    return steps


def _circuit_step(done: EvaluateCircuit) -> _Step:
    edges = _value_code(done.edges)
    values = {
        "model": "model.name",
        "fingerprint": "model.fingerprint",
        "edges": "edges",
        "scores": "[0.0] * len(edges)",
    }
    return _Step(
        "The circuit",
        "Edges (sender, receiver), the first chosen first. Their scores chose them and are not "
        "needed again.",
        f"edges = {edges}\n{_call_code('circuit = pw.Circuit', [], values)}",
    )


def _run_step(result: Result, done: Experiment) -> _Step:
    notes = [done.does()]
    if any(one["code"] == "stopped" for one in result.warnings):
        notes.append("The first run was stopped before its end; this one computes every cell.")
    run = _run_code(done)
    before = f"clean {float(result.clean.metric)}, corrupted {float(result.corrupt.metric)}"
    code = dedent(
        f"""\
        # The first run measured: {before}.
        print("clean:", result.clean.metric, "corrupted:", result.corrupt.metric)
        print(result.top(10).to_string(index=False))
        for warning in result.warnings:
            print(f"Warning ({{warning['code']}}): {{warning['message']}}")"""
    )
    return _Step("The experiment", " ".join(notes), f"{run}\n\n{code}")


def _run_code(done: Experiment) -> str:
    """The call that gives the result; through the experiment itself where no call says as much."""
    call: Callable[..., Result] | None = getattr(patchwright, done.name(), None)
    if call is None or not _can_call(call, done):
        return _experiment_code(done)
    positional = ["model", *([_pairs_name(done)] if isinstance(done, OnPairs) else [])]
    named: dict[str, str] = {}
    for argument in signature(call).parameters.values():
        field = argument.name
        if field == "circuit":
            named["circuit"] = "circuit"
        elif field in type(done).model_fields and field != "model":
            value = getattr(done, field)
            if not _is_default(done, field, value, argument.default):
                named[field] = _value_code(value, field in ("answer", "wrong"))
    return _call_code(f"result = pw.{call.__name__}", positional, named)


def _can_call(call: Callable[..., Result], done: Experiment) -> bool:
    """Whether the call has an argument for the metric, or would choose this one by itself."""
    if not isinstance(done, OnPairs) or "metric" in signature(call).parameters:
        return True
    compared = all(one.wrongs for one in done.pair_list)
    return done.metric == default_metric(one_token=True, compared=compared)


def _experiment_code(done: Experiment) -> str:
    values = {"model": "model.name", "revision": "model.revision"}
    if isinstance(done, OnPairs):
        values["pairs"] = _pairs_name(done)
    for field, info in type(done).model_fields.items():
        value = getattr(done, field)
        if field not in (*values, "method") and value != info.default:
            values[field] = _value_code(value)
    made = _call_code(f"experiment = pw.{type(done).__name__}", [], values)
    return f"{made}\nresult = pw.run(experiment, model)"


def _is_default(done: Experiment, field: str, value: object, default: object) -> bool:
    """Whether leaving the argument out gives the same."""
    if field == "per" and isinstance(done, Sweep | Difference):
        return value == pers_of(done.site)[0]
    if isinstance(value, tuple) and isinstance(default, tuple):
        return value == default
    return value == default and type(value) is type(default)


def _pairs_name(done: OnPairs) -> str:
    """What the script calls the prompts."""
    return "pair" if isinstance(done.pairs, Pair) else "pairs"


def _pair_code(pair: Pair) -> str:
    values = {
        "clean": _value_code(pair.clean),
        "corrupt": _value_code(pair.corrupt),
        "answer": _value_code(pair.answers, alone=True),
    }
    if pair.wrongs:
        values["wrong"] = _value_code(pair.wrongs, alone=True)
    if pair.align != "exact":
        values["align"] = _literal(pair.align)
    if pair.roles:
        roles = [
            _call_code("pw.Role", [], {name: _literal(value) for name, value in role})
            for role in pair.roles
        ]
        values["roles"] = _list_code(roles)
    return _call_code("pw.Pair", [], values)


def _value_code(value: Any, alone: bool = False) -> str:
    """A value of an experiment as Python; with `alone`, one answer without its brackets."""
    if isinstance(value, tuple):
        if alone and len(value) == 1:
            return _value_code(value[0])
        return _list_code([_value_code(item) for item in value])
    if isinstance(value, Message):
        fields = [f"{_literal(name)}: {_literal(text)}" for name, text in value]
        return f"{{{', '.join(fields)}}}"
    return _literal(value)


def _literal(value: str | float | bool | None) -> str:
    """Plain data as a Python literal on one line: `repr`, in double quotes where none is inside."""
    assert value is None or isinstance(value, str | int | float), type(value)
    if isinstance(value, str) and not {"'", '"'} & set(value):
        return f'"{repr(value)[1:-1]}"'
    return repr(value)


def _list_code(items: Iterable[str]) -> str:
    """A list on one line, or on several that are filled."""
    items = list(items)
    line = f"[{', '.join(items)}]"
    if len(line) <= WIDTH - 16:
        return line
    rows = [""]
    for item in items:
        if rows[-1] and len(rows[-1]) + len(item) > WIDTH - 12:
            rows.append("")
        rows[-1] += f"{' ' if rows[-1] else ''}{item},"
    return "[\n" + "".join(f"    {row}\n" for row in rows) + "]"


def _call_code(name: str, positional: Iterable[str], named: dict[str, str]) -> str:
    """A call on one line, or with an argument a line."""
    arguments = [*positional, *(f"{key}={value}" for key, value in named.items())]
    line = f"{name}({', '.join(arguments)})"
    if len(line) <= WIDTH and "\n" not in line:
        return line
    return f"{name}(\n" + "".join(f"    {_indented(one)},\n" for one in arguments) + ")"


def _indented(code: str) -> str:
    return code.replace("\n", "\n    ")


def _save_step(shown: str) -> _Step:
    code = f'result.to_json("result.json")\nresult.plot("figure.png"){shown}'
    return _Step("Keep it", "The numbers, exactly, and the figure.", code)


def _comment(text: str) -> str:
    return fill(text, WIDTH, initial_indent="# ", subsequent_indent="# ")
