"""The logit lens, and direct logit attribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from patchwright.axes import BUDGET
from patchwright.experiment.base import OnPairs
from patchwright.experiment.cost import sequence_length
from patchwright.experiment.declaration import CopyDirection, Cost, Dims, Option, Output, PlaceNames
from patchwright.prompts.align import EDGES_HINT

if TYPE_CHECKING:
    import xarray as xr

    from patchwright.algorithms.pair_runs import PairRuns
    from patchwright.algorithms.result import Result
    from patchwright.experiment.assembly import RawResult, RunContext
    from patchwright.model.load import Model
    from patchwright.model.requests import Run
    from patchwright.places import Place, Site
    from patchwright.prompts.pair import Pair, TokenPair

Part = Literal["layer", "head", "position", "neuron"]
"""How finely: layers' attention and MLP, heads, heads by source position, neurons."""

_PART_TEXTS: dict[Part, str] = {
    "layer": "halves of layers",
    "head": "heads",
    "position": "heads, from which tokens,",
    "neuron": "neurons",
}
"""What is attributed, as its question names it."""

PART_DIMS: dict[Part, Dims] = {
    "head": ("layer", "head"),
    "position": ("layer", "head", "position"),
    "neuron": ("layer", "neuron"),
}
"""The axes inside of layers, by part; a layer is a component by itself."""


class LogitLens(OnPairs):
    """The model's answer is read off every layer and position, as if the layers above did
    nothing.

    With `places` also that of a run in which they are patched. Source: nostalgebraist 2020.
    """

    # 2: places of the last layer before the last position are patched too.
    numbers: ClassVar[int] = 2
    main: ClassVar[str] = "probability"
    unit: ClassVar[str] = "probability of the answer"
    measures: ClassVar[bool] = False
    command: ClassVar[str] = "lens"
    summary: ClassVar[str] = "Read the answer off every layer, or attribute it to the parts."

    method: Literal["logit_lens"] = "logit_lens"
    places: Annotated[PlaceNames, Option("place", max_items=64)] = Field(
        default=(),
        title="Places",
        description="Read a run with these places patched too.",
    )
    direction: CopyDirection = "denoise"

    @property
    def named_places(self) -> Sequence[str]:
        """The places that are patched in the third run."""
        return self.places

    @property
    def output(self) -> Output:
        """What is read off every layer and position; some of it needs a wrong answer."""
        from patchwright.algorithms.metrics import LENS_METRICS, METRIC_TABLE

        compared = {name for name in LENS_METRICS if METRIC_TABLE[name].needs_wrong}
        over = ("run", "layer", "position")
        always = [
            name for name in (*LENS_METRICS, "top", "top_probability") if name not in compared
        ]
        return Output(
            dict.fromkeys(always, over),
            {**dict.fromkeys(compared, over), "accumulated": ("run", "layer")},
        )

    def title(self, result: Result) -> str:
        """What it is called."""
        return "Probability of the answer as each layer's output reads (logit lens)"

    @property
    def question(self) -> str:
        """When the answer can be read."""
        said = self.contest
        return f"After which layer does the model say {said.answer}{said.rival_after('instead of')}{said.over}?"

    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """Every layer and position is read by the whole unembedding."""
        return Cost(sum(model.spec.n_layers * sequence_length(one) for one in tokens))

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """The answer as read off every layer of both runs, and of a patched one."""
        from patchwright.algorithms.lens import LENS_SITES, accumulated_logit_diff, logit_lens
        from patchwright.experiment.observation import measure_unpatched

        named = self._runs_getter(work, tokens)

        def measure(runs: PairRuns) -> dict[str, xr.DataArray]:
            lens = logit_lens(runs.reader, named(runs), work.token_text)
            if "logit_diff" in lens:
                lens["accumulated"] = accumulated_logit_diff(runs.reader, named(runs))
            return lens

        return measure_unpatched(self, work, tokens, LENS_SITES, measure)

    def accumulated_logit_diff(self, model: Model) -> xr.DataArray | None:
        """The array `accumulated` of the lens of one pair alone, without its costly columns.

        None where it has none, for want of a wrong answer. Raises what the lens does.
        """
        from patchwright.algorithms.lens import LENS_SITES, accumulated_logit_diff
        from patchwright.algorithms.pair_runs import run_pairs
        from patchwright.experiment.assembly import RunContext

        tokens = self.tokens(model)
        named = self._runs_getter(RunContext(model, None, BUDGET), tokens)
        (runs,) = run_pairs(model.network, tokens, LENS_SITES)
        return accumulated_logit_diff(runs.reader, named(runs)) if runs.pair.wrongs else None

    def _runs_getter(
        self, work: RunContext, tokens: list[TokenPair]
    ) -> Callable[[PairRuns], dict[str, Run]]:
        """What is read of each pair: both runs, and the patched one where there are places."""
        from patchwright.algorithms.lens import LENS_SITES
        from patchwright.algorithms.metrics import check_answers
        from patchwright.algorithms.sweep import patch_jointly
        from patchwright.experiment.assembly import ONE_PAIR_ADVICE, check_equal_lengths
        from patchwright.model.requests import BASE_SITES
        from patchwright.places import parse_place

        for pair in tokens:
            check_answers("rank", pair)
        check_equal_lengths(
            (max(len(pair.clean), len(pair.corrupt)) for pair in tokens), ONE_PAIR_ADVICE
        )
        patched: dict[int, Run] = {}
        if places := [parse_place(place) for place in self.places]:
            ran = patch_jointly(
                work.model.network,
                tokens,
                places,
                self.direction,
                work.budget,
                LENS_SITES - BASE_SITES,
            )
            patched = {id(one.pair): runs[0] for one, runs in ran}

        def runs_by_name(runs: PairRuns) -> dict[str, Run]:
            both = {"clean": runs.clean[0], "corrupt": runs.corrupt[0]}
            return both | ({"patched": patched[id(runs.pair)]} if patched else {})

        return runs_by_name


class LogitAttribution(OnPairs):
    """The answer's logits are divided among the parts of the model that wrote them.

    Source: Elhage et al. 2021; Wang et al. 2022.
    """

    main: ClassVar[str] = "contribution"
    unit: ClassVar[str] = "logits"
    centred: ClassVar[bool] = True
    measures: ClassVar[bool] = False
    chosen_by: ClassVar[str] = "part"
    command: ClassVar[str] = "lens"

    method: Literal["logit_attribution"] = "logit_attribution"
    part: Annotated[Part, Option("direct")] = Field(
        default="head",
        title="Parts",
        description="Attribute the logit difference to each layer, head, position or neuron "
        "instead.",
    )

    @property
    def unequal_length_advice(self) -> str:
        """What can be done about prompts of unequal length."""
        if self.part == "position":
            return ", or choose part='head' and align='edges' (--direct head --align edges)"
        return EDGES_HINT

    @property
    def output(self) -> Output:
        """What each component adds; of parts inside of layers, what each of them does."""
        found: dict[str, Dims] = {"components": ("run", "component")}
        if self.part in PART_DIMS:
            found["contribution"] = ("run", *PART_DIMS[self.part])
            found["bias"] = ("run", "layer")
        return Output(found)

    def title(self, result: Result) -> str:
        """What it is called."""
        return "What each part adds to the logit difference (direct logit attribution)"

    @property
    def question(self) -> str:
        """Which parts write the answer."""
        said = self.contest
        return f"Which {_PART_TEXTS[self.part]} write {said.answer}{said.rival_after('rather than')}{said.over}?"

    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """Values of the result, which take no run."""
        spec = model.spec
        width = {"neuron": spec.d_mlp}.get(self.part, spec.n_heads)
        sizes = (width * (sequence_length(one) if self.part == "position" else 1) for one in tokens)
        return Cost(spec.n_layers * sum(sizes))

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """What each part adds to the logit difference directly."""
        from patchwright.algorithms.direct_logit_attribution import PART_SITES, logit_attribution
        from patchwright.algorithms.metrics import check_answers, default_metric
        from patchwright.experiment.assembly import check_equal_lengths
        from patchwright.experiment.observation import measure_unpatched
        from patchwright.places import check_layer

        for pair in tokens:
            check_answers(default_metric(one_token=True, compared=bool(pair.wrongs)), pair)
        if self.part == "neuron":
            check_layer(0, "mlp_act", work.model.spec)
        if self.part == "position":
            lengths = (len(pair.clean) for pair in tokens)
            check_equal_lengths(lengths, "choose part='head' (--direct head)")
        keep: set[Site] = {"embed", "attn_out", "mlp_out", *PART_SITES[self.part]}

        def measure(runs: PairRuns) -> dict[str, xr.DataArray]:
            named = {"clean": runs.clean[0], "corrupt": runs.corrupt[0]}
            return logit_attribution(work.model.network, runs.pair, named, self.part)

        return measure_unpatched(self, work, tokens, keep, measure)


def logit_lens(
    model: Model,
    pair: Pair | Sequence[Pair],
    places: Sequence[str | Place] = (),
    direction: str = "denoise",
    bos: bool = True,
) -> Result:
    """The answer as read off every layer and position of both runs, and of a patched one.

    Arrays (run, layer, position): `logit_diff`, `probability`, `rank`, `top` (text)
    and `top_probability`; `accumulated` (run, layer) is the logit difference at the
    last position. With `places` the third run has those patched. See `algorithms.lens`.
    """
    return LogitLens.call(**locals())


def logit_attribution(
    model: Model, pair: Pair | Sequence[Pair], part: str = "head", bos: bool = True
) -> Result:
    """What each part adds to the logit difference directly, in logits, in both runs.

    `part`: `layer`, `head`, `position` (heads by source position) or `neuron`. The
    array `components` (run, component) sums to the logit difference; `contribution`
    divides it further. See `algorithms.direct_logit_attribution`.
    """
    return LogitAttribution.call(**locals())
