"""The example library: pairs to start from."""

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from pydantic import TypeAdapter

from patchwright.errors import InputError
from patchwright.prompts.pair import Pair

WITHOUT_BOS = ("smollm2", "HuggingFaceTB/SmolLM2-135M-Instruct")
"""Models whose examples leave out the beginning-of-text token.

SmolLM2's is `<|im_start|>`, which starts a turn of a chat and says nothing of plain text.
"""


@dataclass(frozen=True)
class Example:
    """A pair with what to look for, the models that it suits, and the metric that fits it.

    `seen` says by model what its sweeps show; `look_for` holds on every model. Whether the
    prompts begin with the beginning-of-text token is the model's: `default_bos` says so.
    """

    id: str
    title: str
    task: str
    look_for: str
    models: tuple[str, ...]
    metric: str
    pair: Pair
    seen: dict[str, str] = field(default_factory=dict[str, str])


@cache
def examples() -> tuple[Example, ...]:
    """All examples that come with the package, in the order of the file."""
    text = files("patchwright.prompts").joinpath("examples.json").read_bytes()
    return TypeAdapter(tuple[Example, ...]).validate_json(text)


def default_bos(model: str) -> bool:
    """Whether the examples begin with the beginning-of-text token on this model."""
    return model not in WITHOUT_BOS


def example_of_model(model: str) -> str | None:
    """The example that a model comes with, and that no other model suits: that of its name."""
    return next((one.id for one in examples() if one.models == (one.id,) == (model,)), None)


def example(name: str) -> Example:
    """The example called `name`. Raises InputError with the names there are."""
    for one in examples():
        if one.id == name:
            return one
    known = ", ".join(one.id for one in examples())
    raise InputError(f"'{name}' is not an example. The examples are: {known}.")
