"""What an experiment is: frozen, JSON, with a hash. Each method declares its own (`methods/`).

A declaration says everything that the program knows about a method. Command line, HTTP
interface, page, exported script and documentation are derived from it, so that importing one
loads no PyTorch, NumPy, xarray or pandas: `compute` imports its arithmetic when it is called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from inspect import getdoc
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from patchwright.algorithms.metrics import default_metric
from patchwright.axes import BUDGET, Direction, Metric
from patchwright.errors import ExperimentError, quoted
from patchwright.experiment.declaration import Cost, Output
from patchwright.experiment.questions import Contest, contest
from patchwright.hashing import hash_of
from patchwright.places import KEYED_SITES, check_site, parse_place
from patchwright.prompts.align import EDGES_HINT
from patchwright.prompts.pair import Pair, Prompt
from patchwright.prompts.tokens import encode_inside
from patchwright.upgrade import downgrade_experiment, upgrade_experiment
from patchwright.validation import first_error, to_python

if TYPE_CHECKING:
    import xarray as xr

    from patchwright.algorithms.batches import OnProgress, Progress
    from patchwright.algorithms.result import Result
    from patchwright.experiment.assembly import RawResult, RunContext
    from patchwright.model.load import Model
    from patchwright.prompts.pair import TokenPair


class Experiment(BaseModel, ABC):
    """The base class of all experiments: which model is run, and how the result is measured.

    A method is a subclass with a field `method`, its name, and:

    - `main`, the array that its result is about, and that array's `unit` if that is not the
      array's own name; `centred` if the scale of its figure is centred at 0;
    - `compute`, `cost`, `output`, `title` and `question`, without which a class cannot be used;
    - a docstring whose first paragraph describes the method to users.

    `numbers` is the version of the method's numbers. It is raised when a correction changes
    the result of the same experiment, so that stored results are no longer used. `FORMER` has,
    by field, the defaults that have changed since the first experiments were stored: hashes still use them.
    `command` is the command line's name for the method, if it differs, and `summary` the
    command's help. If several methods share a command, it runs the first, unless the
    option of the field `chosen_by` of another is given.
    `measures` says whether the method uses the metric for more than the baselines. `aligns` says
    whether prompts of unequal length can be matched at their edges.
    """

    # Schemas are built when one is first needed: `--help` needs none.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    numbers: ClassVar[int] = 1
    main: ClassVar[str] = ""
    unit: ClassVar[str] = ""
    centred: ClassVar[bool] = False
    measures: ClassVar[bool] = True
    aligns: ClassVar[bool] = True
    command: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    chosen_by: ClassVar[str] = ""
    FORMER: ClassVar[Mapping[str, object]] = {}

    model: str
    revision: str | None = None
    metric: Metric = Field(default="logit_diff", title="Metric", description="What is measured.")
    bos: bool = True

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        if "method" in cls.model_fields and not (cls.main and cls.__doc__):
            raise TypeError(f"{cls.__name__} needs a main array and a docstring.")

    @abstractmethod
    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """Run the experiment on `tokens`, which replace its own pairs."""

    @abstractmethod
    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """What the experiment costs on these `tokens`, one for each pair."""

    @property
    @abstractmethod
    def output(self) -> Output:
        """The arrays and details that its result holds."""

    @abstractmethod
    def title(self, result: Result) -> str:
        """What was done, in one line: the title of a figure."""

    @property
    def contest(self) -> Contest:
        """The answer and its rival, as its question names them."""
        return Contest("the answer", "")

    @property
    @abstractmethod
    def question(self) -> str:
        """What it asks, as a question without code words: the title of its runs in a list."""

    def note(self, result: Result) -> str:
        """More of how it was done, in whole sentences: the end of a figure's caption."""
        return ""

    @abstractmethod
    def tokens(self, model: Model) -> list[TokenPair]:
        """The pairs in the model's tokens, checked against model and metric."""

    @property
    def many(self) -> bool:
        """Whether the result has a `pair` axis."""
        return False

    @property
    def prompts_read(self) -> Sequence[Prompt]:
        """All prompts that are run, those of pairs and others."""
        return ()

    @property
    def references(self) -> Sequence[Prompt]:
        """Prompts beside those of pairs, such as those that a mean is taken over."""
        return ()

    @property
    def named_places(self) -> Sequence[str]:
        """Places that are named one by one."""
        return ()

    @property
    def batched(self) -> bool:
        """Whether experiments that differ in their pair alone may share their passes."""
        return False

    @property
    def hints(self) -> set[str]:
        """Fields that say how to compute, and change no number of the whole result."""
        return set()

    @property
    def hash(self) -> str:
        """SHA-256 over what the experiment asks for, in hexadecimal.

        That is its method and the fields that differ from their defaults, as canonical
        JSON: a field that a later version adds leaves earlier hashes unchanged.
        """
        asked = self.model_dump(mode="json", exclude_defaults=True, exclude=self.hints)
        for name, value in self.model_dump(mode="json", include=set(self.FORMER)).items():
            asked[name] = value
            if value == self.FORMER[name]:
                del asked[name]
        return hash_of({"method": self.name(), **downgrade_experiment(asked, self.name())})

    @classmethod
    def name(cls) -> str:
        """The method's name."""
        return str(cls.model_fields["method"].default)

    @classmethod
    def does(cls) -> str:
        """What the method does, in a sentence or two."""
        return " ".join((getdoc(cls) or "").split("\n\n")[0].split())

    @classmethod
    def source(cls) -> str:
        """The papers that the method is from; empty where there is none to name."""
        return " ".join((getdoc(cls) or "").partition("Source: ")[2].split()).removesuffix(".")

    @model_validator(mode="before")
    @classmethod
    def _upgrade_fields(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "method" not in cls.model_fields:
            return given
        return upgrade_experiment(cast("Mapping[str, Any]", given), cls.name())

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The experiment that `document` describes. Raises ExperimentError with the field."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise field_error(error) from error

    @classmethod
    def for_model(cls, model: Model, **fields: object) -> Self:
        """The experiment on a loaded model; a field that is None is as usual. Raises as `of`."""
        given = {name: to_python(value) for name, value in fields.items() if value is not None}
        return cls.of({"model": model.name, "revision": model.revision, **given})

    @classmethod
    def call(
        cls,
        model: Model,
        progress: OnProgress | None = None,
        budget: int = BUDGET,
        top: int = 0,
        **fields: object,
    ) -> Result:
        """The result of the experiment on a loaded model, as `for_model` and `run` take their parts.

        It is the whole of a method's public function, whose arguments have the names of the
        fields: `return Patch.call(**locals())`.
        """
        from patchwright.experiment.run import run

        return run(cls.for_model(model, **fields), model, progress, budget, top)


class OnPairs(Experiment):
    """An experiment on one pair, or on a list; a list of one pair still gives a pair dim."""

    pairs: Pair | tuple[Pair, ...]

    @classmethod
    def on(
        cls, model: Model, pair: Pair | Sequence[Pair], bos: bool = True, **fields: object
    ) -> Self:
        """What `for_model` gives on one pair, or on several."""
        return cls.for_model(model, pair=pair, bos=bos, **fields)

    @classmethod
    def for_model(cls, model: Model, **fields: object) -> Self:
        """The experiment on a loaded model; a field that is None is as usual.

        On a `pair`, or several, of a method that measures nothing the metric is what baselines show.
        Raises UnknownPlaceError for a site that there is not, ExperimentError for other fields that
        cannot be.
        """
        if "pair" not in fields:
            return super().for_model(model, **fields)
        pairs = _parse_pairs(fields.pop("pair"))
        if fields.get("site") is not None:
            check_site(str(fields["site"]))
        if not cls.measures:
            fields["metric"] = _default_metric(model, pairs)
        return super().for_model(model, pairs=pairs, **fields)

    @property
    def pair_list(self) -> tuple[Pair, ...]:
        """`pairs`, as a list always."""
        return (self.pairs,) if isinstance(self.pairs, Pair) else self.pairs

    @property
    def contest(self) -> Contest:
        """What is between the prompts of a pair."""
        return contest(self.pair_list)

    @property
    def many(self) -> bool:
        """Whether the result has a `pair` axis."""
        return not isinstance(self.pairs, Pair)

    @property
    def prompts_read(self) -> Sequence[Prompt]:
        """All prompts that are run, those of pairs and others."""
        both = [one for pair in self.pair_list for one in (pair.clean, pair.corrupt)]
        return [*both, *self.references]

    @property
    def batched(self) -> bool:
        """Whether experiments that differ in their pair alone may share their passes."""
        return not self.many

    @property
    def unequal_length_advice(self) -> str:
        """What can be done about prompts of unequal length that are to stay as they are."""
        if any(parse_place(place).site in KEYED_SITES for place in self.named_places):
            return ", or name places of z and choose align='edges' (--align edges)"
        return EDGES_HINT

    def tokens(self, model: Model) -> list[TokenPair]:
        """Every pair in the model's tokens, checked against model and metric."""
        from patchwright.experiment.run import all_tokens

        return all_tokens(self, model)


class CellByCell(Experiment):
    """An experiment whose cells of one pair or prompt are finished one after another."""

    direction: Direction

    @abstractmethod
    def run_unpatched(self, model: Model) -> Result:
        """What `run` gives, without any cell: both unpatched runs. Raises what `run` does."""

    @abstractmethod
    def partial_arrays(
        self, unpatched: Result, model: Model, now: Progress | None
    ) -> dict[str, xr.DataArray]:
        """The arrays of a run that is under way: NaN where a cell has no value yet."""

    def cells_done(self, patched: xr.DataArray, now: Progress | None) -> int:
        """How many cells have their answer."""
        return 0 if now is None else now.done

    @property
    def lists_tokens(self) -> bool:
        """Whether each cell's likeliest tokens can be read as well."""
        return False


def field_error(error: ValidationError, skipped: int = 0) -> ExperimentError:
    """What pydantic says of a document, as the house says it."""
    where, what = first_error(error, skipped)
    field = f"The experiment's field {quoted(where)}" if where else "The experiment"
    return ExperimentError(f"{field}: {what}")


def _parse_pairs(given: object) -> Pair | tuple[Pair, ...]:
    """One pair, or several. Raises ExperimentError for anything else."""
    if isinstance(given, Pair):
        return given
    some = tuple(cast("Iterable[object]", given)) if isinstance(given, Iterable) else (given,)
    pairs = tuple(one for one in some if isinstance(one, Pair))
    if len(pairs) < len(some):
        other = next(one for one in some if not isinstance(one, Pair))
        raise ExperimentError(
            f"A pair is given as {type(other).__name__}: give one pw.Pair, or a list of them."
        )
    return pairs


def _default_metric(model: Model, pair: Pair | Sequence[Pair]) -> Metric:
    """For methods that measure no metric: what baselines show."""
    pairs = [pair] if isinstance(pair, Pair) else pair
    every = [answer for one in pairs for answer in (*one.answers, *one.wrongs)]
    tokens = [
        1 if isinstance(one, int) else len(encode_inside(one, model.tokenizer)) for one in every
    ]
    compared = all(one.wrongs for one in pairs)
    return default_metric(one_token=max(tokens, default=1) <= 1, compared=compared)
