"""Published figures, recomputed: does this installation give them?"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from patchwright.algorithms.result import Result
from patchwright.errors import InputError, reason
from patchwright.methods.patch import patch
from patchwright.model.load import Model
from patchwright.places import Place, parse_place
from patchwright.prompts.pair import Pair
from patchwright.validation import first_error

VERIFIABLE = ("demo", "smollm2", "gpt2")
"""Models whose figures come with the package."""


@dataclass(frozen=True)
class Figures:
    """Figures of one model with their source: clean logit differences of pairs, mean effects.

    `bos` says whether the prompts begin with the beginning-of-text token.
    """

    model: str
    source: str
    tolerance: float
    pairs: tuple[Pair, ...]
    clean: tuple[float, ...]
    effects: dict[str, float]
    bos: bool = True


_FIGURES = TypeAdapter(Figures)


@dataclass(frozen=True)
class Check:
    """One figure: published and found here."""

    name: str
    expected: float
    found: float
    passed: bool


def published_figures(model: str) -> Figures:
    """The figures that come with the package. Raises InputError for a model without."""
    if model not in VERIFIABLE:
        raise InputError(
            f"There are no published figures for '{model}': verify {', '.join(VERIFIABLE)}, or "
            "give a file with --figures."
        )
    folder = files("patchwright") / ("demo" if model == "demo" else "published")
    return _FIGURES.validate_json((folder / f"{model}-figures.json").read_bytes())


def read_figures(path: Path) -> Figures:
    """Figures from a file like those of the package. Raises InputError where it is none."""
    try:
        return _FIGURES.validate_json(path.read_bytes())
    except ValidationError as error:
        what = ": ".join(filter(None, first_error(error))).rstrip(".")
        raise InputError(f"'{path}' holds no figures to verify ({what}).") from error
    except OSError as error:
        raise InputError(f"'{path}' holds no figures to verify ({reason(error)}).") from error


def verify_figures(model: Model, figures: Figures) -> list[Check]:
    """Recompute every figure on `model`: logits for `clean`, unitless for effects."""
    sweeps: dict[tuple[str, str], Result] = {}
    for text in figures.effects:
        sweep = _sweep_of(parse_place(text))
        if sweep not in sweeps:
            sweeps[sweep] = patch(model, figures.pairs, *sweep, bos=figures.bos)
    first = next(iter(sweeps.values()))
    cleans = enumerate(first.clean.pairs, 1)
    found = {f"clean pair {i}": one.logit_diff or 0.0 for i, one in cleans}
    expected = dict(zip(found, figures.clean, strict=True)) | figures.effects
    for text in figures.effects:
        place = parse_place(text)
        found[text] = _effect_at(sweeps[_sweep_of(place)], place)
    return [
        Check(name, value, found[name], abs(value - found[name]) <= figures.tolerance)
        for name, value in expected.items()
    ]


def _sweep_of(place: Place) -> tuple[str, str]:
    """Site and `per` of the sweep that a place is a cell of."""
    if place.head is None:
        return place.site, "position"
    return place.site, "head" if place.position is None else "head_position"


def _effect_at(result: Result, place: Place) -> float:
    named = {"layer": place.layer, "head": place.head, "position": place.position}
    at = {dim: index for dim, index in named.items() if index is not None}
    return float(result.mean_effect.sel(at))
