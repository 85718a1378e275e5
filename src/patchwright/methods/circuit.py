"""Circuits: scores of all edges, and what some of them keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from patchwright.axes import BUDGET
from patchwright.errors import ExperimentError
from patchwright.experiment.base import OnPairs
from patchwright.experiment.declaration import Cost, Natural, Option, Output
from patchwright.prompts.align import NO_EDGES_HINT
from patchwright.upgrade import accept_old_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from patchwright.algorithms.batches import OnProgress
    from patchwright.algorithms.result import Result
    from patchwright.experiment.assembly import RawResult, RunContext
    from patchwright.experiment.circuit import Circuit
    from patchwright.model.load import Model
    from patchwright.prompts.pair import Pair, TokenPair

LIST_BYTES = 64
"""An empty list, about; each edge in it is 8 more."""


class OnEdges(OnPairs):
    """An experiment on the edges between the parts of the model."""

    aligns: ClassVar[bool] = False

    @property
    def batched(self) -> bool:
        """Never: scores and curves are means over all pairs."""
        return False

    @property
    def unequal_length_advice(self) -> str:
        """Prompts of unequal length have no edges in common."""
        return NO_EDGES_HINT

    def memory(self, tokens: Sequence[TokenPair], model: Model) -> int:
        """Bytes that the gradients of all edges of the longest pair take, about."""
        from patchwright.experiment.cost import graph_bytes, sequence_length

        return graph_bytes(max(map(sequence_length, tokens), default=0), model)


class EdgeAttribution(OnEdges):
    """Every edge between two parts of the model gets a score: the metric's change, to first
    order, when that edge alone is corrupted.

    With `steps` by integrated gradients. The `exact` strongest edges are corrupted themselves
    too, each alone. Source: Syed et al. 2023; Hanna et al. 2024.
    """

    main: ClassVar[str] = "edges"
    unit: ClassVar[str] = "change when the edge is corrupted"
    centred: ClassVar[bool] = True
    command: ClassVar[str] = "circuit"
    summary: ClassVar[str] = "Find a circuit's edges and measure what they keep."

    method: Literal["edge_attribution"] = "edge_attribution"
    steps: int | None = Field(
        default=None,
        title="Steps",
        description="Average the gradient over N runs between the prompts; 0 takes one gradient.",
    )
    exact: Annotated[int, Option(hidden=True)] = Field(
        default=0,
        title="Exact edges",
        description="How many of the strongest edges to measure exactly.",
    )

    @property
    def output(self) -> Output:
        """Each edge's score; of the strongest what it estimates."""
        over = ("receiver", "sender")
        return Output({"edges": over}, {"exact": over}, averaged=True)

    def title(self, result: Result) -> str:
        """What it is called."""
        return "Estimated change of the metric when one edge is corrupted"

    @property
    def question(self) -> str:
        """Which edges the answer needs."""
        return self.contest.parts_question("edges between the model's parts", "noise")

    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """A pass for each step, and for each edge that is measured exactly."""
        passes = len(tokens) * ((self.steps or 1) + self.exact)
        return Cost(passes=passes, memory=self.memory(tokens, model))

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """The array `edges`, [receiver, sender]: each edge's score; `exact` of the strongest."""
        import xarray as xr

        from patchwright.algorithms.batches import part_progress
        from patchwright.algorithms.circuits import edge_scores
        from patchwright.experiment.assembly import stopped_notice
        from patchwright.experiment.observation import measure_unpatched
        from patchwright.model.graph import Graph

        if self.exact < 0:
            raise ExperimentError(f"{self.exact} edges to measure exactly: give 0 or more.")
        graph = Graph(work.model.spec)
        network, steps = work.model.network, self.steps or 1
        passes = len(tokens) * steps
        n_exact = min(self.exact, int(graph.edge_mask().sum()))
        progress = part_progress(work.progress, 0, passes + n_exact)
        scored = edge_scores(network, tokens, self.metric, self.steps, progress)
        coords = {"receiver": graph.receivers, "sender": graph.senders}
        found = measure_unpatched(self, work, tokens, (), lambda _: {})
        found.arrays["edges"] = xr.DataArray(scored.values, dims=list(coords), coords=coords)
        if scored.steps < steps:
            found.notices.append(
                stopped_notice(
                    f"{scored.steps} of {steps} steps of a pair: scores are means over those."
                )
            )
        elif scored.done < len(tokens):
            found.notices.append(
                stopped_notice(
                    f"{scored.done} of {len(tokens)} pairs: scores are means over those."
                )
            )
        elif n_exact:
            progress = part_progress(work.progress, passes, passes + n_exact)
            done = 0 if scored.stopped else self._measure_exactly(found, work, progress)
            if done < n_exact:
                found.notices.append(
                    stopped_notice(
                        f"{done} of {n_exact} edges: the others are not measured exactly."
                    )
                )
        return found

    def _measure_exactly(
        self, found: RawResult, work: RunContext, progress: OnProgress | None
    ) -> int:
        """Add the array `exact`, the metric's change when one edge alone is corrupted; of how many."""
        import numpy as np
        import xarray as xr

        from patchwright.algorithms.circuits import edges_by_score, measure_circuits
        from patchwright.model.graph import Graph

        graph, network = Graph(work.model.spec), work.model.network
        edges = edges_by_score(found.arrays["edges"].values, graph)[: self.exact]
        every = set(graph.edges)
        others = [every - {edge} for edge in edges]
        ran = measure_circuits(
            network, found.tokens, others, self.metric, "corrupt", progress, work.budget
        )
        exact = xr.full_like(found.arrays["edges"], np.nan)
        for (sender, receiver), value in zip(edges, ran.values, strict=True):
            exact.loc[{"sender": sender, "receiver": receiver}] = value - ran.clean
        found.arrays["exact"] = exact
        return ran.done


class EvaluateCircuit(OnEdges):
    """All edges outside a circuit are corrupted. Faithfulness is the share of the gap that
    the circuit keeps.

    Beside each circuit of the first `sizes` of `edges` its complement, and `n_random` circuits
    of the same size.
    """

    # 2: with the gap that the shares are of.
    numbers: ClassVar[int] = 2
    main: ClassVar[str] = "faithfulness"
    unit: ClassVar[str] = "share of the gap kept"
    command: ClassVar[str] = "circuit"

    method: Literal["evaluate_circuit"] = "evaluate_circuit"
    edges: Annotated[tuple[tuple[str, str], ...], Option(hidden=True, max_items=10_000)] = Field(
        title="Edges", description="Sender and receiver of each edge, the first chosen first."
    )
    sizes: Annotated[tuple[int, ...], Option(usual="powers of 2")] = Field(
        title="Sizes", description="Numbers of edges, such as 10,50."
    )
    outside: Literal["corrupt", "mean"] = Field(
        default="corrupt",
        title="Other edges carry",
        description="What all other edges carry.",
    )
    n_random: Annotated[Natural, Option(older="randoms")] = Field(
        default=3, title="Random circuits", description="Random circuits of each size."
    )
    seed: Natural = Field(default=0, title="Seed", description="Random seed.")

    @property
    def output(self) -> Output:
        """What circuits of every size keep, their complements, and those drawn at random."""
        return Output(
            {
                **dict.fromkeys(("faithfulness", "complement"), ("size",)),
                "random": ("size", "sample"),
            },
            unlabelled=frozenset({"random"}),
            details=frozenset({"gap", "area", "random_area"}),
            averaged=True,
        )

    def title(self, result: Result) -> str:
        """What it shows."""
        return "What the circuit keeps, by its number of edges"

    @property
    def question(self) -> str:
        """How large a circuit has to be."""
        said = self.contest
        return f"How few edges are enough for {said.answer}{said.rival_after('instead of')}{said.over}?"

    def cost(self, tokens: Sequence[TokenPair], model: Model) -> Cost:
        """Each circuit, its complement, and circuits drawn at random."""
        passes = len(tokens) * len(self.sizes) * (2 + self.n_random)
        return Cost(passes=passes, memory=self.memory(tokens, model))

    def compute(self, work: RunContext, tokens: list[TokenPair]) -> RawResult:
        """Arrays over `size`: `faithfulness`, the `complement`, `random`; the gap and areas as details."""
        import numpy as np
        import xarray as xr

        from patchwright.algorithms.batches import check_budget
        from patchwright.algorithms.circuits import measure_circuits
        from patchwright.experiment.assembly import stopped_notice
        from patchwright.experiment.observation import measure_unpatched

        sizes = list(dict.fromkeys(self.sizes))
        if not sizes or sizes != sorted(sizes) or not 0 <= sizes[0] <= sizes[-1] <= len(self.edges):
            raise ExperimentError(
                f"Sizes {sizes}: give rising numbers of edges from 0 to {len(self.edges)}."
            )
        listed = sum(LIST_BYTES + 8 * size for size in sizes) * self.n_random
        check_budget("The random circuits take", listed, work.budget, "draw fewer")
        rows = self._known_rows(work)
        new = [size for size in sizes if size not in rows]
        network, circuits = work.model.network, self._circuits(new, work)
        asked = self.metric, self.outside, work.progress, work.budget
        ran = measure_circuits(network, tokens, circuits, *asked)
        width = 2 + self.n_random
        rows |= dict(zip(new, ran.faithfulness.reshape(-1, width), strict=True))
        kept = np.array([rows[size] for size in sizes])
        found = measure_unpatched(self, work, tokens, (), lambda _: {})
        columns = {"faithfulness": kept[:, 0], "complement": kept[:, 1], "random": kept[:, 2:]}
        for name, values in columns.items():
            dims = self.output.arrays[name]
            found.arrays[name] = xr.DataArray(values, dims=dims, coords={"size": sizes})
        if math.isfinite(gap := ran.clean - ran.outside):
            found.details["gap"] = gap
        found.details.update(_areas(sizes, kept))
        if (left := len(circuits) - ran.done) > 0:
            found.notices.append(
                stopped_notice(
                    f"{kept.size - left} of {kept.size} circuits: the others are empty, and areas "
                    "are over the sizes that are there."
                )
            )
        return found

    def _known_rows(self, work: RunContext) -> dict[int, NDArray[np.float64]]:
        """What an earlier result has of the same circuits, by size: the circuit, its complement, random ones."""
        import numpy as np

        from patchwright.experiment.assembly import provenance

        one = work.known
        if one is None or (one.method, one.numbers) != (self.method, self.numbers):
            return {}
        before = EvaluateCircuit.of(one.experiment)
        alike = before.model_copy(update={"edges": self.edges, "sizes": self.sizes}) == self
        if not alike or one.model != provenance(work.model):
            return {}
        names = ("faithfulness", "complement", "random")
        kept = np.column_stack([one.array(name).values for name in names])
        return {
            size: row
            for size, row in zip(one.array(self.main)["size"].values.tolist(), kept, strict=True)
            if before.edges[:size] == self.edges[:size] and np.isfinite(row).all()
        }

    def _circuits(self, sizes: list[int], work: RunContext) -> list[list[tuple[str, str]]]:
        """Of each size the first edges, all others, and some at random."""
        from patchwright.algorithms.circuits import random_circuits
        from patchwright.model.graph import Graph

        edges, every = list(self.edges), Graph(work.model.spec).edges
        circuits: list[list[tuple[str, str]]] = []
        for size in sizes:
            kept = set(edges[:size])
            drawn = random_circuits(every, min(size, len(every)), self.n_random, self.seed)
            circuits += [edges[:size], [one for one in every if one not in kept], *drawn]
        return circuits


def _areas(sizes: list[int], kept: Any) -> dict[str, float]:
    """Under the circuit's curve and the random ones', over the sizes that have their values."""
    import numpy as np

    from patchwright.algorithms.circuits import area_under_curve

    curves = {"area": kept[:, 0]}
    if kept.shape[1] > 2:
        curves["random_area"] = kept[:, 2:].mean(axis=1)
    areas: dict[str, float] = {}
    for name, values in curves.items():
        known = np.isfinite(values)
        if known.any():
            areas[name] = area_under_curve(np.array(sizes)[known].tolist(), values[known].tolist())
    return areas


def edge_attribution(
    model: Model,
    pair: Pair | Sequence[Pair],
    steps: int | None = None,
    metric: str = "logit_diff",
    bos: bool = True,
    exact: int = 0,
    progress: OnProgress | None = None,
) -> Result:
    """Every edge's score: the metric's change, to first order, when it alone is corrupted.

    The array `edges`, dims (receiver, sender), is the mean over pairs; with `steps`
    gradients are integrated over that many runs between the prompts. Of the `exact`
    strongest edges the array `exact` has what the score estimates, NaN elsewhere.
    `progress` counts passes, `steps` (or one) a pair, and then edges measured exactly, as one
    total; it is called before the first pass of the model and after each. Stopped, scores are means
    over the pairs that are done, and where there is none over the first one's passes; before
    the first of them all are NaN.
    See `algorithms.circuits`; `Circuit.choose` makes a circuit of it. Raises
    ExperimentError where `exact` is below 0.
    """
    from patchwright.experiment.run import run

    asked = EdgeAttribution.on(model, pair, bos, metric=metric, steps=steps, exact=exact)
    return run(asked, model, progress)


@accept_old_names(randoms="n_random")
def evaluate_circuit(
    model: Model,
    pair: Pair | Sequence[Pair],
    circuit: Circuit,
    sizes: Sequence[int] | None = None,
    outside: str = "corrupt",
    n_random: int = 3,
    seed: int = 0,
    metric: str = "logit_diff",
    bos: bool = True,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
) -> Result:
    """How much of the behaviour a circuit keeps when all edges outside it are corrupted.

    Arrays over `size`, the number of its first edges (by default powers of two and
    all): `faithfulness`, the share of the gap that is kept; that of the `complement`;
    and of `random` circuits (size, sample). `details` has the curve's `area`,
    normalised over size, and the random ones'. `outside="mean"` takes the clean
    prompts' mean activations instead of corrupted ones. `progress` counts circuits,
    small sizes first; stopped, the others are NaN. Raises ExperimentError for a circuit of
    another model.
    """
    from patchwright.experiment.run import run

    circuit.check(model)
    asked = EvaluateCircuit.on(
        model,
        pair,
        bos,
        metric=metric,
        edges=circuit.edges,
        sizes=default_sizes(len(circuit.edges)) if sizes is None else sizes,
        outside=outside,
        n_random=n_random,
        seed=seed,
    )
    return run(asked, model, progress, budget)


def default_sizes(n_edges: int) -> list[int]:
    """Powers of two below the number of edges, and all of them."""
    powers = [2**power for power in range(n_edges.bit_length())]
    return [size for size in powers if size < n_edges] + [n_edges]
