"""The two unpatched runs of a pair, and what is read off them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch

from patchwright.algorithms.metrics import METRIC_TABLE, can_measure
from patchwright.algorithms.readout import Finals, MetricReader, Readout, check_finite, read_each
from patchwright.algorithms.result import Baseline
from patchwright.axes import Direction, Metric
from patchwright.model.base_runs import base_runs, kept_bytes
from patchwright.model.forward import forward
from patchwright.model.requests import Row, Run
from patchwright.model.weights import Network
from patchwright.places import KEYED_SITES, Site
from patchwright.prompts.pair import TokenPair
from patchwright.prompts.tokens import quoted_token
from patchwright.warnings import Notice

TokenText = Callable[[int], str]
"""The text of a token id."""

BASELINE_TOKENS = 10
"""Most probable next tokens that a baseline lists."""


@dataclass(frozen=True)
class PairRuns:
    """The runs of both prompts, each once for every continuation of the pair.

    `known` are the metric of the clean and of the corrupted run, once they are read.
    """

    pair: TokenPair
    reader: MetricReader
    clean: tuple[Run, ...]
    corrupt: tuple[Run, ...]
    known: tuple[float, ...] = ()

    def base(self, direction: Direction) -> tuple[Run, ...]:
        """The runs that are patched."""
        return self.corrupt if direction == "denoise" else self.clean

    def source(self, direction: Direction) -> tuple[Run, ...]:
        """The runs that activations are copied from."""
        return self.clean if direction == "denoise" else self.corrupt

    def without_activations(self) -> "PairRuns":
        """The same without kept activations: enough to read baselines from."""
        clean, corrupt = (
            tuple(run.without_activations() for run in runs) for runs in (self.clean, self.corrupt)
        )
        reader = replace(self.reader, clean_final=clean[0].final[0])
        return replace(self, reader=reader, clean=clean, corrupt=corrupt)

    def matched_positions(self, direction: Direction) -> list[tuple[int, int]]:
        """Matched positions: (in the patched run, in the source)."""
        pairs = self.pair.matching
        return [(b, a) for a, b in pairs] if direction == "denoise" else list(pairs)


def run_pairs(network: Network, pairs: Sequence[TokenPair], keep: Iterable[Site]) -> list[PairRuns]:
    """Both runs of each pair, keeping the sites in `keep` (with `requests.BASE_SITES`).

    The corrupted run starts from the clean one's where their tokens part, so that
    what comes before is the same bit for bit. Those of a single pair are made once for
    all that is asked about it (`base_runs`); many pairs share their products instead.
    Raises NonFiniteError where the model itself is broken.
    """
    keep = frozenset(keep)
    rows: list[Row] = []
    for pair in pairs:
        one_length = len(pair.corrupt) == len(pair.clean)
        for more in pair.continuations:
            clean = Row(pair.clean + more, len(pair.clean) - 1)
            base = clean if one_length or KEYED_SITES.isdisjoint(keep) else None
            rows += [clean, Row(pair.corrupt + more, len(pair.corrupt) - 1, base)]
    ran = base_runs(network, rows, keep) if len(pairs) == 1 else forward(network, rows, keep)
    check_runs(ran)
    both = iter(zip(ran[::2], ran[1::2], strict=True))
    return [_pair_runs(network, pair, [next(both) for _ in pair.continuations]) for pair in pairs]


def check_runs(runs: Iterable[Run]) -> None:
    """Raise NonFiniteError where the model is broken on the unpatched prompts."""
    for run in runs:
        check_finite(run.final)


def spans_of(positions: Iterable[int]) -> list[tuple[int, int]]:
    """Rising positions as stretches (start, stop)."""
    spans: list[tuple[int, int]] = []
    for position in positions:
        if spans and spans[-1][1] == position:
            spans[-1] = (spans[-1][0], position + 1)
        else:
            spans.append((position, position + 1))
    return spans


def run_in_groups(
    network: Network,
    pairs: Sequence[TokenPair],
    keep: frozenset[Site],
    budget: int,
    metric: Metric | None = None,
) -> Iterator[list[PairRuns]]:
    """`run_pairs` for as many pairs at a time as keep within `budget` bytes; `metric` is read.

    A list that was handed out is emptied before the next pairs run.
    """
    for group in _groups_within_budget(network, pairs, keep, budget):
        ran = run_pairs(network, group, keep)
        if metric is not None:
            ran = _with_metrics(ran, metric)
        yield ran
        ran.clear()


def _groups_within_budget(
    network: Network, pairs: Sequence[TokenPair], keep: frozenset[Site], budget: int
) -> Iterator[list[TokenPair]]:
    group: list[TokenPair] = []
    size = 0
    for pair in pairs:
        length = max(len(pair.clean), len(pair.corrupt))
        longest = max(len(more) for more in pair.continuations) + length
        cost = 2 * len(pair.continuations) * kept_bytes(network, longest, keep)
        if group and size + cost > budget:
            yield group
            group, size = [], 0
        group.append(pair)
        size += cost
    yield group


def _pair_runs(network: Network, pair: TokenPair, runs: list[tuple[Run, Run]]) -> PairRuns:
    clean, corrupt = zip(*runs, strict=True)
    return PairRuns(pair, MetricReader(network, pair, clean[0].final[0]), clean, corrupt)


def _with_metrics(runs: Sequence[PairRuns], metric: Metric) -> list[PairRuns]:
    """The same, with the metric of the clean and of the corrupted run, which `baselines` repeats."""
    both = [stack_finals([one.clean, one.corrupt]) for one in runs]
    read = read_each(metric, [one.reader for one in runs], both)
    known = [(float(clean), float(corrupt)) for clean, corrupt in (one.tolist() for one in read)]
    return [replace(one, known=values) for one, values in zip(runs, known, strict=True)]


def baselines(
    read: Readout, metric: Metric, texts: TokenText, known: Sequence[float] = ()
) -> list[Baseline]:
    """What each of some runs of one pair predicts; `known` are metrics that have been read."""

    def optional_values(other: Metric) -> list[float | None]:
        return read(other).tolist() if can_measure(other, read.pair) else [None] * len(read)

    numbers = zip(
        [*known, *read(metric).tolist()[len(known) :]],
        optional_values("logit"),
        optional_values("logit_diff"),
        read("probability").tolist(),
        optional_values("rank"),
        strict=True,
    )
    return [
        Baseline(
            metric=value,
            logit_diff=difference,
            answer_logit=answer,
            wrong_logit=None if answer is None or difference is None else answer - difference,
            probability=probability,
            rank=rank,
            top=[
                {"token": texts(i), "id": i, "probability": p}
                for i, p in read.top(row, BASELINE_TOKENS)
            ],
        )
        for row, (value, answer, difference, probability, rank) in enumerate(numbers)
    ]


def stack_finals(runs: Sequence[Sequence[Run]]) -> Finals:
    """One row for each run, one tensor for each continuation, as a `MetricReader` takes them.

    A run comes once for each continuation of its pair.
    """
    return [torch.stack([run.final for run in some]) for some in zip(*runs, strict=True)]


def mean_baseline(baselines: Sequence[Baseline]) -> Baseline:
    """The baseline of several pairs: means, and each pair's own under `pairs`."""
    return Baseline(
        metric=fmean(one.metric for one in baselines),
        logit_diff=_mean_or_none([one.logit_diff for one in baselines]),
        answer_logit=_mean_or_none([one.answer_logit for one in baselines]),
        wrong_logit=_mean_or_none([one.wrong_logit for one in baselines]),
        probability=fmean(one.probability for one in baselines),
        rank=_mean_or_none([one.rank for one in baselines]),
        top=[],
        pairs=list(baselines),
    )


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def pair_notices(
    pair: TokenPair, clean: Baseline, corrupt: Baseline, metric: Metric
) -> list[Notice]:
    """What to know before trusting effects that are measured on this pair."""
    found = [*pair.notices]
    if clean.top[0]["id"] not in {answer[0] for answer in pair.answers}:
        found.append(
            Notice(
                code="answer_not_top",
                message="The model's most likely next token after the clean prompt is "
                f"{quoted_token(clean.top[0]['token'])}, not the answer, so the effects do not show "
                "how the model finds the answer.",
            )
        )
    return [*found, *gap_notices(clean, corrupt, metric)]


def gap_notices(
    clean: Baseline, corrupt: Baseline, metric: Metric, runs: str = "The two runs"
) -> list[Notice]:
    """Whether the two `runs` are too close for effects, or for conclusions from effects."""
    gap, unit = clean.metric - corrupt.metric, METRIC_TABLE[metric].unit
    if abs(gap) <= unit.min_gap:
        return [
            Notice(
                code="flat_gap",
                message=f"{runs} give the same {metric} (they differ by {abs(gap):.2g}), so shares of "
                "this gap mean nothing: only patched values are given. Choose prompts, answers or a "
                "metric on which the runs differ.",
            )
        ]
    if abs(gap) < unit.small_gap:
        return [
            Notice(
                code="small_gap",
                message=f"{runs} differ by only {abs(gap):.2g} in {metric}. Effects are shares of "
                "this small number and look larger than they are, so no place is ranked by them. "
                "Choose prompts, answers or a metric on which the runs differ more.",
            )
        ]
    return []
