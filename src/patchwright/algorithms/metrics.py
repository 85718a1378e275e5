"""The Metric table: everything that is known about each metric, once.

A metric takes the answers and the wrong answers together. Over several answers
`logit` is the mean; `probability` is the sum, the chance that any of them comes
next, and `logprob` its logarithm; `rank` is that of the best placed among the
tokens that there are, rows of padding left out. A `_diff` is the same over the
answers minus over the wrong answers. An answer of several tokens has a joint
probability, read behind the prompt followed by its own first tokens (teacher forcing).

To add a metric, add its name to `axes.Metric`, a row to the table, and a method of that name to
`readout.Readout`. Nothing here needs PyTorch, so that the command line can list the metrics
without it.
"""

import math
from dataclasses import dataclass

from patchwright.axes import METRICS, Metric
from patchwright.errors import AnswerError, ExperimentError
from patchwright.prompts.pair import TokenPair
from patchwright.spelling import join_with_or


@dataclass(frozen=True)
class Unit:
    """What a metric counts in, and which gaps between the two runs are too small in it.

    A gap of at most `min_gap` leaves no scale to measure effects on. One below `small_gap` is
    pointed out: effects become large and unsteady. A sentence puts `suffix` behind a number.
    A unit `saturates` where numbers hardly move near their ends.
    """

    name: str
    min_gap: float
    small_gap: float
    suffix: str
    saturates: bool = False


LOGITS = Unit("logits", min_gap=1e-3, small_gap=0.5, suffix=" logits")
NATS = Unit("nats", min_gap=1e-3, small_gap=0.1, suffix=" nats")
PROBABILITY = Unit("probability", min_gap=1e-5, small_gap=0.02, suffix="", saturates=True)
RANK = Unit("rank", min_gap=0.5, small_gap=1.5, suffix=" ranks")


@dataclass(frozen=True)
class MetricSpec:
    """One metric."""

    name: Metric
    unit: Unit
    phrase: str
    """What a sentence calls it."""
    label: str
    """What a figure calls it."""
    needs_wrong: bool = False
    """Whether it compares with a wrong answer."""
    one_token: bool = False
    """Whether an answer of several tokens does not have it."""
    differentiable: bool = True
    few_logits: bool = False
    """Whether it reads the logits of the answers only, not those of the whole vocabulary."""
    lower_is_better: bool = False
    """Whether the run that answers right has the lower value."""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    """The least and the largest value that it can have."""
    lens_label: str | None = None
    """What its map is called on the page, if the logit lens reads it after every layer."""
    caution: tuple[str, str] | None = None
    """The code and the text of what to know before believing it."""


_ROWS = (
    MetricSpec(
        "logit_diff",
        LOGITS,
        "the logit difference (the model's score, its logit, for the answer minus that for the "
        "wrong answer)",
        "logit difference",
        needs_wrong=True,
        one_token=True,
        few_logits=True,
        lens_label="logit difference of the answers",
    ),
    MetricSpec(
        "logit",
        LOGITS,
        "the answer's logit (the model's score for it, before scores become probabilities)",
        "answer's logit",
        one_token=True,
        few_logits=True,
    ),
    MetricSpec(
        "probability",
        PROBABILITY,
        "the answer's probability, from none to one",
        "answer's probability",
        bounds=(0.0, 1.0),
        lens_label="probability of the answer",
    ),
    MetricSpec(
        "prob_diff",
        PROBABILITY,
        "the answer's probability minus the wrong answer's",
        "probability difference",
        needs_wrong=True,
        bounds=(-1.0, 1.0),
    ),
    MetricSpec(
        "logprob",
        NATS,
        "the natural logarithm of the answer's probability (its unit is the nat)",
        "answer's log probability",
        bounds=(-math.inf, 0.0),
    ),
    MetricSpec(
        "logprob_diff",
        NATS,
        "the natural logarithm of the answer's probability minus that of the wrong answer's (its "
        "unit is the nat)",
        "log-probability difference",
        needs_wrong=True,
    ),
    MetricSpec(
        "kl",
        NATS,
        "the KL divergence (how far all next-token probabilities are from the clean run's; its "
        "unit is the nat)",
        "KL divergence",
        lower_is_better=True,
        bounds=(0.0, math.inf),
        caution=(
            "kl_has_no_answer",
            "The KL divergence counts every change of the next-token probabilities, also those that "
            "have nothing to do with the answer.",
        ),
    ),
    MetricSpec(
        "rank",
        RANK,
        "the answer's rank among all tokens, the likeliest being first",
        "answer's rank",
        one_token=True,
        differentiable=False,
        lower_is_better=True,
        bounds=(1.0, math.inf),
        lens_label="rank of the answer, 1 is the top",
        caution=(
            "rank_jumps",
            "A rank only moves when the answer overtakes another token: large changes can leave it "
            "as it is, and small ones can make it jump.",
        ),
    ),
)

METRIC_TABLE: dict[Metric, MetricSpec] = {row.name: row for row in _ROWS}

LENS_METRICS: tuple[Metric, ...] = tuple(row.name for row in _ROWS if row.lens_label)
"""What the logit lens reads after each layer, as far as the pair's answers allow it."""

NO_GRADIENT: tuple[Metric, ...] = tuple(row.name for row in _ROWS if not row.differentiable)


def check_metric(name: str) -> Metric:
    """`name` as a metric. Raises ExperimentError with the list of metrics."""
    for metric in METRICS:
        if metric == name:
            return metric
    raise ExperimentError(f"'{name}' is not a metric. The metrics are: {', '.join(METRICS)}.")


def check_answers(metric: Metric, pair: TokenPair) -> None:
    """Raise AnswerError where the metric cannot be taken of these answers."""
    row = METRIC_TABLE[metric]
    if row.needs_wrong and not pair.wrongs:
        others = join_with_or(one.name for one in _ROWS if not one.needs_wrong)
        raise AnswerError(
            f"The metric '{metric}' compares with a wrong answer, and none was given: name one, "
            f"or choose {others}."
        )
    if row.one_token and not pair.single_tokens:
        others = join_with_or(
            default_metric(one_token=False, compared=some) for some in (False, True)
        )
        raise AnswerError(
            f"An answer has several tokens, which the metric '{metric}' does not have: choose "
            f"{others}, which sum over the tokens, or name one-token answers."
        )


def can_measure(metric: Metric, pair: TokenPair) -> bool:
    """Whether the metric can be taken of these answers."""
    row = METRIC_TABLE[metric]
    return not ((row.needs_wrong and not pair.wrongs) or (row.one_token and not pair.single_tokens))


def check_differentiable(metric: Metric) -> None:
    """Raise ExperimentError where the metric has no gradient."""
    if metric in NO_GRADIENT:
        raise ExperimentError(f"The metric '{metric}' has no gradient: choose another.")


def default_metric(*, one_token: bool, compared: bool) -> Metric:
    """What to measure answers of one token by, or of several; `compared` with a wrong answer."""
    if one_token:
        return "logit_diff" if compared else "logit"
    return "logprob_diff" if compared else "logprob"
