"""A circuit: some edges of one model, as a file that can be kept and shared."""

import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from patchwright.algorithms.circuits import edges_by_score, greedy_edges
from patchwright.algorithms.result import Result
from patchwright.atomic_files import write_atomic
from patchwright.errors import ExperimentError, InputError, OutputError
from patchwright.model.graph import Graph
from patchwright.model.load import Model


class Circuit(BaseModel):
    """Edges (sender, receiver) with their scores, the first chosen first, of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    fingerprint: str
    edges: tuple[tuple[str, str], ...]
    scores: tuple[float, ...]

    def __repr__(self) -> str:
        """One line: the model and how many edges."""
        return f"Circuit({self.model!r}: {len(self.edges)} edges)"

    __str__ = __repr__

    @classmethod
    def choose(
        cls,
        scored: Result,
        model: Model,
        top: int | None = None,
        threshold: float | None = None,
        connected: bool = False,
    ) -> Self:
        """The edges of an `edge_attribution` that are worth keeping.

        In the order of |score|, or (`connected`) of a greedy walk down from the
        logits; the first `top`, and those whose |score| is at least `threshold`.
        """
        scores = scored.array("edges")
        graph = Graph(model.spec)
        order = greedy_edges if connected else edges_by_score
        edges = order(scores.values, graph)[:top]
        # Looking up each edge by its labels takes seconds on a large model.
        row = {name: i for i, name in enumerate(graph.receivers)}
        column = {name: i for i, name in enumerate(graph.senders)}
        values = [float(scores.values[row[other], column[one]]) for one, other in edges]
        kept = list(zip(edges, values, strict=True))
        if threshold is not None:
            kept = [(edge, value) for edge, value in kept if abs(value) >= threshold]
        return cls(
            model=model.name,
            fingerprint=model.fingerprint,
            edges=tuple(edge for edge, _ in kept),
            scores=tuple(value for _, value in kept),
        )

    def check(self, model: Model) -> None:
        """Raise ExperimentError where the circuit is another model's."""
        if self.fingerprint != model.fingerprint:
            raise ExperimentError(
                f"The circuit was found in '{self.model}' ({self.fingerprint[:19]}…), and this is "
                f"'{model.name}' ({model.fingerprint[:19]}…): load the model that it belongs to."
            )

    def first(self, count: int) -> Self:
        """The circuit of the first `count` edges."""
        kept = {"edges": self.edges[:count], "scores": self.scores[:count]}
        return self.model_copy(update=kept)

    def to_json(self, path: str | Path | None = None) -> str:
        """The circuit as JSON text, written to `path` if one is given.

        Raises OutputError for a bad path.
        """
        text = json.dumps(self.model_dump(mode="json"), indent=1) + "\n"
        if path is not None:
            write_atomic(path, text)
        return text

    def plot(self, path: str | Path, *, width: float = 5.5, title: bool = False) -> None:
        """Draw the edges as a graph to a .png, .svg or .pdf file, `width` inches wide.

        Raises OutputError and InputError as `Result.plot` does.
        """
        # As with `Result.plot`, drawing is a floor above.
        from patchwright.figures.circuit_figure import draw_circuit
        from patchwright.figures.matplotlib_figures import save_figure
        from patchwright.figures.style import FigureStyle

        save_figure(draw_circuit(self.edges, self.scores, FigureStyle(width, title)), path)


def load_circuit(path: str | Path) -> Circuit:
    """The circuit that `Circuit.to_json` wrote. Raises InputError where it is none."""
    try:
        return Circuit.model_validate_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"'{path}' cannot be read: {error.strerror}.") from error
    except (ValidationError, ValueError) as error:
        raise InputError(f"'{path}' is not a circuit: give a file that --save wrote.") from error
