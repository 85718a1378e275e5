"""The frozen experiments, one a method: pydantic models that are JSON and have a hash."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from patchwright.algorithms.ablation import How
from patchwright.algorithms.attribution import How as Estimate
from patchwright.algorithms.circuits import Outside
from patchwright.algorithms.direct import Part
from patchwright.algorithms.metrics import Metric
from patchwright.algorithms.paths import OnTheWay
from patchwright.algorithms.tracing import Sever, TraceSite
from patchwright.axes import Direction, Per
from patchwright.canonical import hash_of
from patchwright.errors import ExperimentError, quoted
from patchwright.places import Site, pers_of
from patchwright.prompts.pair import Answers, Pair, Prompt, Text
from patchwright.upgrade import upgrade_experiment
from patchwright.validation import Whole, complaint

Natural = Annotated[int, Field(ge=0)]
"""A number of something, or a seed, which NumPy's generators take from 0 on."""


def usual_per(given: dict[str, Any]) -> Per:
    """What one cell of a sweep patches where `per` is left out: for heads a head, else a position."""
    return pers_of(given["site"])[0]


class Experiment(BaseModel):
    """What every experiment says: on which model, measured how.

    `numbers` is the version of the method's numbers: it is raised when a correction changes
    what the same experiment gives, so that earlier results no longer answer it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    numbers: ClassVar[int] = 1

    model: str
    revision: str | None = None
    metric: Metric = "logit_diff"
    bos: bool = True

    @property
    def hash(self) -> str:
        """SHA-256 over what the experiment asks for, in hexadecimal.

        That is its method and the fields that differ from their defaults, as canonical
        JSON: a field that a later version adds leaves earlier hashes unchanged.
        """
        asked = self.model_dump(mode="json", exclude_defaults=True, exclude=self.hints)
        return hash_of({"method": type(self).model_fields["method"].default, **asked})

    @property
    def hints(self) -> set[str]:
        """Fields that say how to compute, and change no number of the whole result."""
        return set()

    @model_validator(mode="before")
    @classmethod
    def _in_todays_spelling(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "method" not in cls.model_fields:
            return given
        return upgrade_experiment(given, cls.model_fields["method"].default)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """The experiment that `document` describes. Raises ExperimentError with the field."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise _refusal(error) from error


class OnPairs(Experiment):
    """An experiment on one pair, or on a list; a list of one pair still gives a pair dim."""

    pairs: Pair | tuple[Pair, ...]

    @property
    def pair_list(self) -> tuple[Pair, ...]:
        """`pairs`, as a list always."""
        return (self.pairs,) if isinstance(self.pairs, Pair) else self.pairs


class Sweep(OnPairs):
    """An experiment over every place of one kind."""

    site: Site = "resid_pre"
    per: Per = Field(default_factory=usual_per)
    layers: tuple[Whole, ...] | None = None
    positions: tuple[Whole, ...] | None = None
    heads: tuple[Whole, ...] | None = None


class Patch(Sweep):
    """Activation patching of every place of one kind (`algorithms.sweep`).

    With `roles` each pair is patched at the places of its own prompt that they name
    (`prompts.roles`), so that pairs of different lengths can be compared.
    By `order` attribution an estimate says which cells come first; the first `most`
    are computed, the others keep their estimate.
    """

    # 2: roles stand where their characters do.
    numbers: ClassVar[int] = 2
    method: Literal["patch"] = "patch"
    direction: Direction = "denoise"
    order: Literal["layers", "attribution"] = "layers"
    most: int | None = None
    roles: tuple[str, ...] | None = None

    @property
    def hints(self) -> set[str]:
        """The order in which cells are computed, where all of them are."""
        return {"order"} if self.most is None else set()

    @model_validator(mode="before")
    @classmethod
    def _roles_are_positions(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("roles") and "per" not in given:
            return {**given, "per": "position"}
        return given


class PatchTogether(OnPairs):
    """Several places patched in one run (`algorithms.sweep`)."""

    method: Literal["patch_together"] = "patch_together"
    direction: Direction = "denoise"
    places: tuple[str, ...]


class Ablating(OnPairs):
    """What is written into the clean run so that a place says nothing (`algorithms.ablation`).

    `prompts` are those that `mean` averages over and `resample` draws from.
    """

    how: How = "zero"
    prompts: tuple[Prompt, ...] = ()
    by_position: bool = True
    seed: Natural = 0
    direction: Literal["noise"] = "noise"


class Ablate(Ablating, Sweep):
    """Every place of one kind in the clean run ablated, one at a time."""

    method: Literal["ablate"] = "ablate"


class AblateTogether(Ablating):
    """Several places of the clean run ablated in one run."""

    method: Literal["ablate_together"] = "ablate_together"
    places: tuple[str, ...]


class Attribute(Sweep):
    """An estimate of every patch of one kind (`algorithms.attribution`); with `exact`, beside it."""

    method: Literal["attribute"] = "attribute"
    direction: Direction = "denoise"
    how: Estimate = "gradient"
    steps: int = 10
    exact: bool = False


class PathPatch(Sweep):
    """Path patching from every place of one kind to `receivers` (`algorithms.paths`)."""

    # 2: a frozen norm's scale is computed in float32.
    numbers: ClassVar[int] = 2

    method: Literal["path_patch"] = "path_patch"
    direction: Direction = "denoise"
    receivers: tuple[str, ...]
    mlps: OnTheWay = "recompute"
    norms: OnTheWay = "recompute"


class EdgeAttribution(OnPairs):
    """Every edge's score (`algorithms.circuits`); with `steps` by integrated gradients.

    The `exact` strongest edges are corrupted in earnest too, each alone.
    """

    method: Literal["edge_attribution"] = "edge_attribution"
    steps: int | None = None
    exact: int = 0


class EvaluateCircuit(OnPairs):
    """What the first `sizes` of `edges` keep of the behaviour (`algorithms.circuits`).

    Beside each circuit its complement, and `n_random` circuits of the same size.
    """

    # 2: with the gap that the shares are of.
    numbers: ClassVar[int] = 2
    method: Literal["evaluate_circuit"] = "evaluate_circuit"
    edges: tuple[tuple[str, str], ...]
    sizes: tuple[int, ...]
    outside: Outside = "corrupt"
    n_random: Natural = 3
    seed: Natural = 0


class Trace(Experiment):
    """Causal tracing of one prompt (`algorithms.tracing`); `subject` is a text or its positions."""

    # 2: the subject is found by its characters.
    numbers: ClassVar[int] = 2
    method: Literal["trace"] = "trace"
    metric: Metric = "probability"
    prompt: Prompt
    subject: str | tuple[Whole, ...]
    occurrence: int = 1
    answer: Answers
    wrong: Answers = ()
    noise: float = 3.0
    samples: int = 10
    window: int = 1
    site: TraceSite = "resid_post"
    seed: Natural = 0
    sever: Sever | None = None
    direction: Literal["denoise"] = "denoise"


class Difference(OnPairs):
    """Clean against corrupted activations of one site (`algorithms.difference`)."""

    method: Literal["difference"] = "difference"
    site: Site = "resid_post"
    per: Per = Field(default_factory=usual_per)


class Attention(OnPairs):
    """The pattern of one head in both runs (`algorithms.attention`)."""

    method: Literal["attention"] = "attention"
    layer: int
    head: int


class HeadScores(OnPairs):
    """What every head attends to, in numbers (`algorithms.attention`).

    Random prompts are drawn from the tokens of `words`, or from all there are.
    """

    method: Literal["head_scores"] = "head_scores"
    repeats: int = 4
    length: int = 20
    seed: Natural = 0
    words: Text = ""


class LogitLens(OnPairs):
    """The model's answer as read off every layer (`algorithms.lens`); of a patched run too."""

    method: Literal["logit_lens"] = "logit_lens"
    places: tuple[str, ...] = ()
    direction: Direction = "denoise"


class LogitAttribution(OnPairs):
    """What each part adds to the logit difference directly (`algorithms.direct`)."""

    method: Literal["logit_attribution"] = "logit_attribution"
    part: Part = "head"


AnyExperiment = (
    Patch
    | PatchTogether
    | PathPatch
    | Ablate
    | AblateTogether
    | Attribute
    | Trace
    | Difference
    | EdgeAttribution
    | EvaluateCircuit
    | Attention
    | HeadScores
    | LogitLens
    | LogitAttribution
)
"""One of them all; `method` says which."""

_ANY: TypeAdapter[AnyExperiment] = TypeAdapter(
    Annotated[AnyExperiment, Field(discriminator="method")]
)


METHODS: dict[str, type[Experiment]] = {
    kind.model_fields["method"].default: kind for kind in get_args(AnyExperiment)
}
"""The experiments' classes, by method."""


def numbers_of(method: str) -> int:
    """The version of a method's numbers; 0 of a method that this Patchwright does not have."""
    return METHODS[method].numbers if method in METHODS else 0


def experiment_of(document: str | bytes | Mapping[str, Any]) -> AnyExperiment:
    """The experiment that a JSON document describes; `method` says of which kind it is.

    Raises ExperimentError with what is wrong, and where.
    """
    try:
        if isinstance(document, str | bytes):
            return _ANY.validate_json(document)
        return _ANY.validate_python(document)
    except ValidationError as error:
        # What each field lies in begins with the method's name.
        raise _refusal(error, skipped=1) from error


def experiments_schema(reference: str) -> dict[str, Any]:
    """The JSON Schema of all experiments; `reference` says where its "$defs" will be."""
    return _ANY.json_schema(ref_template=reference)


def _refusal(error: ValidationError, skipped: int = 0) -> ExperimentError:
    where, what = complaint(error, skipped)
    field = f"The experiment's field {quoted(where)}" if where else "The experiment"
    return ExperimentError(f"{field}: {what}")
