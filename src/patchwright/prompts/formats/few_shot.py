"""Lists of inputs and outputs, as of function vectors (Todd et al. 2024), made into few-shot prompts."""

from collections.abc import Iterator, Sequence
from random import Random

from patchwright.errors import RecordError
from patchwright.prompts.formats.format import (
    Convert,
    Record,
    Row,
    Source,
    field_values,
    with_leading_space,
)

Example = tuple[str, str]


def few_shot(source: Source) -> Convert:
    """Each input after `shots` others with their outputs.

    In the corrupted prompt the outputs of the shots are moved to other inputs, so that it does not
    show the task, as in the paper; the wrong answer is the first shot's output.
    """
    every = [example for record in source.records if (example := _parse_example(record))]

    def convert(record: Record) -> Iterator[Row]:
        own = _parse_example(record)
        if own is None:
            raise RecordError("'input' and 'output' must be texts that are not empty.")
        rng = Random(f"{source.how.seed} {record.line}")
        others = [one for one in every if one[0] != own[0] and one[1] != own[1]]
        shots = rng.sample(others, min(source.how.shots, len(others)))
        outputs = [output for _, output in shots]
        moved = outputs[1:] + outputs[:1]
        if moved == outputs:
            raise RecordError(
                "A few-shot prompt needs two other records with different outputs, and the file has "
                "no such ones."
            )
        mixed = [(given, output) for (given, _), output in zip(shots, moved, strict=True)]
        yield {
            "clean": _prompt(shots, own[0]),
            "corrupt": _prompt(mixed, own[0]),
            "answer": [with_leading_space(str(one)) for one in field_values(record, "output")],
            "wrong": with_leading_space(outputs[0]),
        }

    return convert


def _parse_example(record: Record) -> Example | None:
    given, outputs = record.get("input"), field_values(record, "output")
    if not outputs or given in (None, "") or "" in outputs:
        return None
    return str(given), str(outputs[0])


def _prompt(shots: Sequence[Example], query: str) -> str:
    return "".join(f"Q: {given}\nA: {output}\n\n" for given, output in shots) + f"Q: {query}\nA:"
