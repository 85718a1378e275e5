"""Write `docs/known-answers.md` from the known answers; with `--check`, say if it is out of date."""

import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from patchwright.known_answers import KNOWN, TOLERANCE, Answer, PlantedModel
from patchwright.known_answers.check import ELSEWHERE

PAGE = Path(__file__).parent / "known-answers.md"

HEAD = f"""\
# Known answers

Written by `python docs/write_known_answers.py` from the known answers themselves (`src/patchwright/known_answers`).

Nobody knows for certain what goes on inside a trained model, so nobody can look up whether a method found what is there. The package
has six models of which it is known: their weights were written by hand (`src/patchwright/model/planted`), so that every effect follows
from the construction. They are checkpoints of the GPT-2 architecture with 2 or 3 layers of 4 heads and a word for a token, made in
memory when you name them. Their layer norms divide by a constant (the epsilon is 2^26, far above any variance, and the gain is
its root), and each head that is not part of the circuit is zero, so that effects are round numbers: 1, 0, 1/2.

```sh
patchwright known-answers                               # every method on every model: expected beside found
patchwright known-answers --model planted-self-repair
patchwright patch --model planted-induction --site z    # without prompts: the model's own example
```

```python
import patchwright as pw

model = pw.load_model("planted-induction")
pair = pw.Pair(
    clean="See red cup, blue box, red",
    corrupt="See blue cup, red box, red",
    answer=" cup",
    wrong=" box",
)
assert pw.patch(model, pair, "z").effect.sel(layer=0, head=1) == 1
```

On the page the models are in the list at the top, each with its own example, and the lesson *A circuit that is known* is about one of them.
The command ends with status 1 if any number differs from what it must be by more than {TOLERANCE:g}. The tests run all of them, and fail for a
method without a known answer; they compute the same numbers by plain hooks on the Hugging Face model, and the models' logits by a formula
of a line or two for whatever words.

Quantities are written as [in lessons](lessons.md#fields): `effect` is a share of the gap between the two prompts' logit
differences; `exact`, beside an estimate, is the logit difference after the patch itself; `edges` and `contribution` are in logits. *{ELSEWHERE}*
means every other place of the map.

## What methods are known to get wrong

These numbers are what the method gives, and must give, on these models. What is true is beside them: what the patch itself does, or what
is lost when the place, and its backup, are ablated.

"""

AFTER = """
A method that follows one gradient, or reads one direction, is not wrong for that: it answers another, narrower question. Check what matters by
patching.

"""


def page_of(known: Sequence[PlantedModel]) -> str:
    """The page: what misleads, then a table for each model."""
    return HEAD + _table(_misleading(known)) + AFTER + "\n".join(map(_section, known))


def _misleading(known: Sequence[PlantedModel]) -> Iterator[tuple[str, ...]]:
    yield "model", "experiment", "quantity", "found", "true", "because", "source"
    for planted in known:
        for one in planted.answers:
            for name, true in one.truth.items():
                numbers = _written(one.numbers[name]), _written(true)
                yield planted.model, _asked(one), f"`{name}`", *numbers, one.why, one.source


def _section(planted: PlantedModel) -> str:
    pair = planted.pair
    answers = f"`{pair.answers[0]}`, not `{pair.wrongs[0]}`"
    lines = [f"## {planted.model}\n", f"{planted.circuit} Source: {planted.source}.\n"]
    lines += [f"- clean: `{pair.clean}`, answer {answers}", f"- corrupted: `{pair.corrupt}`\n"]
    return "\n".join(lines) + "\n" + _table(_rows(planted))


def _rows(planted: PlantedModel) -> Iterator[tuple[str, ...]]:
    yield "experiment", "must be", "because"
    for one in planted.answers:
        numbers = dict(one.numbers) | ({} if one.elsewhere is None else {ELSEWHERE: one.elsewhere})
        shown = [f"`{name}` {_written(value)}" for name, value in numbers.items()]
        yield _asked(one), "; ".join(shown), one.why


def _asked(one: Answer) -> str:
    return f"`{one.method}`" + (f": {one.fields_text}" if one.fields_text else "")


def _written(value: float) -> str:
    """A number as a fraction where it is one of small numbers, such as 2/3."""
    found = Fraction(value).limit_denominator(8)
    return str(found) if abs(float(found) - value) < 1e-12 else f"{value:.6g}"


def _table(rows: Iterator[tuple[str, ...]]) -> str:
    head, *body = rows
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    """Exit status 1 where `--check` finds the page out of date."""
    text = page_of(KNOWN)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE} differs from the known answers: run `make figures`.")


if __name__ == "__main__":
    main()
