"""One function a method: plain arguments in, a Result out.

Every function builds the method's experiment, so that what was asked for is on
the result, and calls `run`, or what `done_by` put in its place. Arguments that all share: `pair` is one Pair or a
list of them (a list gives a leading `pair` dim); `metric` and `bos` as the
glossary has them; `progress` is called between batches and stops the work by
returning False. All raise InputError, whose subclasses say what was wrong.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from patchwright.algorithms.batches import BUDGET, OnProgress
from patchwright.algorithms.metrics import Metric, check_metric, usual_metric
from patchwright.algorithms.result import Result
from patchwright.axes import DIRECTIONS, PERS, Direction, Per
from patchwright.errors import ExperimentError, UnknownPlaceError, quoted
from patchwright.experiment.circuit import Circuit
from patchwright.experiment.run import run, tokens_of
from patchwright.experiment.types import (
    Ablate,
    AblateTogether,
    AnyExperiment,
    Attention,
    Attribute,
    Difference,
    EdgeAttribution,
    EvaluateCircuit,
    Experiment,
    HeadScores,
    LogitAttribution,
    LogitLens,
    Patch,
    PatchTogether,
    PathPatch,
    Trace,
)
from patchwright.model.load import Model
from patchwright.places import Place, check_site, parse_place
from patchwright.prompts.align import EDGES, NO_EDGES
from patchwright.prompts.pair import Pair, Prompt
from patchwright.prompts.tokens import encode_inside
from patchwright.validation import plain

Answer = str | int | Sequence[str] | Sequence[int]

Doing = Callable[..., Result]
"""What does an experiment, as `run` does: with a model, a progress, a budget, and `top` if asked for."""

_doing: ContextVar[Doing] = ContextVar("_doing", default=run)


@contextmanager
def done_by(doing: Doing) -> Generator[None]:
    """Inside, the functions below have their experiments done by `doing`.

    So a caller may look results up, or only learn which experiments are asked for.
    """
    before = _doing.set(doing)
    try:
        yield
    finally:
        _doing.reset(before)


def _do(
    experiment: AnyExperiment,
    model: Model,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
    **hints: int,
) -> Result:
    return _doing.get()(experiment, model, progress, budget, **hints)


def patch(
    model: Model,
    pair: Pair | Sequence[Pair],
    site: str = "resid_pre",
    per: str | None = None,
    direction: str = "denoise",
    metric: str = "logit_diff",
    bos: bool = True,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
    order: str = "layers",
    most: int | None = None,
    roles: Sequence[str] | None = None,
    top: int = 0,
) -> Result:
    """Patch every place of one kind, one at a time.

    `site` is one of `places.SITES`; `per` says which places are patched at once
    (default: by position, for heads by head); `positions` may count from the end.
    The result's arrays have the dims that `per` names. With `order="attribution"`
    the cells that a gradient estimate finds most promising come first, and of each
    pair only the first `most` are computed; `arrays["estimated"]` is 1 where a cell
    kept its estimate. With `roles`, such as `["subject", "last"]`, each pair is patched
    where its own `Pair.roles` stand, `last` being the last token: pairs of different
    lengths are compared, and the dim `role` is in the place of `position`. With `top=3`
    the arrays `top` (texts), `top_id` and `top_probability` have the three likeliest next
    tokens after each patch, by `choice` from 1; no other number changes.
    Source: Vig et al. 2020; Zhang & Nanda 2023.
    """
    checked = check_site(site)
    experiment = Patch.of(
        _asked(model, pair, check_metric(metric), bos)
        | {
            "direction": check_direction(direction),
            "site": checked,
            **_per(per),
            "layers": layers,
            "positions": positions,
            "heads": heads,
            "order": _chosen(order, ("layers", "attribution"), "order"),
            "most": most,
            "roles": roles,
        }
    )
    return _do(experiment, model, progress, budget, **({"top": top} if top else {}))


def patch_together(
    model: Model,
    pair: Pair | Sequence[Pair],
    places: Sequence[str | Place],
    direction: str = "denoise",
    metric: str = "logit_diff",
    bos: bool = True,
    budget: int = BUDGET,
) -> Result:
    """Patch several places in one run; the result's arrays have no dims but `pair`.

    Places are written as in `L9H9.z@-1`. Raises UnknownPlaceError for one that
    the model or the prompt does not have.
    """
    experiment = PatchTogether.of(
        _asked(model, pair, check_metric(metric), bos)
        | {
            "direction": check_direction(direction),
            "places": _places(places),
        }
    )
    return _do(experiment, model, budget=budget)


def ablate(
    model: Model,
    pair: Pair | Sequence[Pair],
    site: str = "z",
    per: str | None = None,
    how: str = "zero",
    prompts: Sequence[Prompt] = (),
    by_position: bool = True,
    seed: int = 0,
    metric: str = "logit_diff",
    bos: bool = True,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
) -> Result:
    """Replace each place of one kind in the clean run by what says nothing.

    `how`: `zero`; `mean` over `prompts`, at each position or (`by_position=False`)
    over all of theirs; `resample`, from one of `prompts` drawn by `seed`. `effect`
    is the share of the gap to the corrupted run that is lost. See `algorithms.ablation`.
    """
    checked = check_site(site)
    experiment = Ablate.of(
        _asked(model, pair, check_metric(metric), bos)
        | {
            "site": checked,
            **_per(per),
            "how": how,
            "prompts": prompts,
            "by_position": by_position,
            "seed": seed,
            "layers": layers,
            "positions": positions,
            "heads": heads,
        }
    )
    return _do(experiment, model, progress, budget)


def ablate_together(
    model: Model,
    pair: Pair | Sequence[Pair],
    places: Sequence[str | Place],
    how: str = "zero",
    prompts: Sequence[Prompt] = (),
    by_position: bool = True,
    seed: int = 0,
    metric: str = "logit_diff",
    bos: bool = True,
    budget: int = BUDGET,
) -> Result:
    """Ablate several places in one run; the result's arrays have no dims but `pair`.

    Places are written as in `L9H9.z@-1`, the rest is as for `ablate`; `resample`
    takes all places of a pair from the same one of `prompts`. Raises
    UnknownPlaceError for a place that the model or the prompt does not have.
    """
    experiment = AblateTogether.of(
        _asked(model, pair, check_metric(metric), bos)
        | {
            "places": _places(places),
            "how": how,
            "prompts": prompts,
            "by_position": by_position,
            "seed": seed,
        }
    )
    return _do(experiment, model, budget=budget)


def attribute(
    model: Model,
    pair: Pair | Sequence[Pair],
    site: str = "resid_pre",
    per: str | None = None,
    direction: str = "denoise",
    method: str = "gradient",
    steps: int = 10,
    metric: str = "logit_diff",
    bos: bool = True,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    exact: bool = False,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
) -> Result:
    """Estimate every patch of one kind from gradients: attribution patching.

    `method`: `gradient`; `qk_fix` for q and k, their softmax recomputed;
    `integrated`, the gradient's mean over `steps` runs between the two prompts.
    With `exact` the sweep itself is done too: `arrays["exact"]` beside `patched`,
    and `details` has their `correlation` and the `recall` of the strongest cells.
    Source: Nanda 2023; Kramár et al. 2024 (AtP*).
    """
    checked = check_site(site)
    experiment = Attribute.of(
        _asked(model, pair, check_metric(metric), bos)
        | {
            "direction": check_direction(direction),
            "site": checked,
            **_per(per),
            "how": _chosen(method, ("gradient", "qk_fix", "integrated"), "method"),
            "steps": steps,
            "layers": layers,
            "positions": positions,
            "heads": heads,
            "exact": exact,
        }
    )
    return _do(experiment, model, progress, budget)


def compare_with_exact(
    model: Model, pair: Pair | Sequence[Pair], site: str = "resid_pre", **choices: Any
) -> Result:
    """`attribute` with `exact=True`: the estimate, the exact sweep, and how they agree."""
    return attribute(model, pair, site, **choices, exact=True)


def path_patch(
    model: Model,
    pair: Pair | Sequence[Pair],
    receivers: Sequence[str] = ("logits",),
    site: str = "z",
    per: str | None = None,
    direction: str = "noise",
    mlps: str = "recompute",
    norms: str = "recompute",
    metric: str = "logit_diff",
    bos: bool = True,
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
) -> Result:
    """Path patching: each sender's effect by way of the receivers alone.

    Senders are the places of `site` (`z`, `attn_out`, `mlp_out`, `embed`), one at a
    time; `receivers` are `logits`, or places such as `L9H6.q`, `L5.mlp_out`. Heads
    on the way are held; MLPs are recomputed or (`mlps="freeze"`) held; norms are
    recomputed or (`norms="freeze"`) keep the scale of the run that is patched. A
    sender above every receiver has no path: its cell is the baseline. See
    `algorithms.paths`. Source: Wang et al. 2022.
    """
    checked = check_site(site)
    experiment = PathPatch.of(
        _asked(model, pair, check_metric(metric), bos)
        | {
            "direction": check_direction(direction),
            "site": checked,
            **_per(per),
            "receivers": receivers,
            "mlps": _chosen(mlps, ("recompute", "freeze"), "treatment of MLPs"),
            "norms": _chosen(norms, ("recompute", "freeze"), "treatment of norms"),
            "layers": layers,
            "positions": positions,
            "heads": heads,
        }
    )
    return _do(experiment, model, progress, budget)


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
    `progress` counts passes, `steps` (or one) a pair, then edges measured exactly;
    stopped, the pair under way is finished and the mean is over those that are done.
    See `algorithms.circuits`; `Circuit.choose` makes a circuit of it. Raises
    ExperimentError where `exact` is below 0.
    """
    experiment = EdgeAttribution.of(
        _asked(model, pair, check_metric(metric), bos)
        | {
            "steps": steps,
            "exact": exact,
        }
    )
    return _do(experiment, model, progress)


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
    *,
    randoms: int | None = None,
) -> Result:
    """How much of the behaviour a circuit keeps when all edges outside it are corrupted.

    Arrays over `size`, the number of its first edges (by default powers of two and
    all): `faithfulness`, the share of the gap that is kept; that of the `complement`;
    and of `random` circuits (size, sample). `details` has the curve's `area`,
    normalised over size, and the random ones'. `outside="mean"` takes the clean
    prompts' mean activations instead of corrupted ones. `progress` counts circuits,
    small sizes first; stopped, the others are NaN. `randoms` is the older name of
    `n_random`. Raises ExperimentError for a circuit of another model.
    """
    circuit.check(model)
    if sizes is None:
        powers = [2**power for power in range(len(circuit.edges).bit_length())]
        sizes = [size for size in powers if size < len(circuit.edges)] + [len(circuit.edges)]
    experiment = EvaluateCircuit.of(
        _asked(model, pair, check_metric(metric), bos)
        | {
            "edges": circuit.edges,
            "sizes": sizes,
            "outside": _chosen(outside, ("corrupt", "mean"), "way to fill what is outside"),
            "n_random": n_random if randoms is None else randoms,
            "seed": seed,
        }
    )
    return _do(experiment, model, progress, budget)


def trace(
    model: Model,
    prompt: Prompt,
    subject: str | Sequence[int],
    answer: Answer,
    wrong: Answer = (),
    noise: float = 3.0,
    samples: int = 10,
    window: int = 1,
    site: str = "resid_post",
    metric: str = "probability",
    seed: int = 0,
    sever: str | None = None,
    occurrence: int = 1,
    bos: bool = True,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
) -> Result:
    """Causal tracing: noise on the subject, clean activations restored at each place.

    `subject` is a text of the prompt (its `occurrence`-th, from 1; only whole words where
    there are any) or positions; `details["subject"]` has the positions of its tokens,
    `details["subject_tokens"]` their texts.
    `patched` is the mean over `samples` of the metric, dims (layer, position);
    `arrays["spread"]` its standard deviation, `arrays["samples"]` each sample's;
    `details["sigma"]` the standard deviation of the subject's embeddings, of which
    the noise's is `noise` times. `corrupt` is the mean of the noisy runs. With
    `window` > 1 that many layers around each are restored; `sever` freezes `mlp`
    (it means `mlp_out`, as the experiment has it) or `attn_out` at the noisy run's
    values. Source: Meng et al. 2022.
    """
    if sever:
        sever = _chosen(sever, ("mlp", "mlp_out", "attn_out"), "path to sever")
    experiment = Trace.of(
        {
            "model": model.name,
            "revision": model.revision,
            "prompt": prompt,
            "subject": plain(subject),
            "occurrence": occurrence,
            "answer": answer,
            "wrong": wrong,
            "noise": noise,
            "samples": samples,
            "window": window,
            "site": _chosen(site, ("resid_post", "mlp_out", "attn_out"), "site to trace"),
            "metric": check_metric(metric),
            "seed": seed,
            "sever": "mlp_out" if sever == "mlp" else sever,
            "bos": bos,
        }
    )
    return _do(experiment, model, progress, budget)


def difference(
    model: Model,
    pair: Pair | Sequence[Pair],
    site: str = "resid_post",
    per: str | None = None,
    bos: bool = True,
) -> Result:
    """How far clean and corrupted activations of a site are apart, place by place.

    Arrays with the dims that `per` names: `norm` of the difference, the same
    `relative` to `clean_norm`, and the `cosine`. Nothing is patched.
    """
    checked = check_site(site)
    experiment = Difference.of(
        _asked(model, pair, None, bos)
        | {
            "site": checked,
            **_per(per),
        }
    )
    return _do(experiment, model)


def attention(
    model: Model, pair: Pair | Sequence[Pair], layer: int, head: int, bos: bool = True
) -> Result:
    """What one head attends to: `pattern` (run, query, key), and clean − corrupted `difference`."""
    experiment = Attention.of(
        _asked(model, pair, None, bos)
        | {
            "layer": layer,
            "head": head,
        }
    )
    return _do(experiment, model)


def head_scores(
    model: Model,
    pair: Pair | Sequence[Pair],
    length: int = 20,
    repeats: int = 4,
    seed: int = 0,
    bos: bool = True,
    words: str | Sequence[int] = "",
) -> Result:
    """Scores of every head as a previous-token, duplicate-token and induction head; entropy.

    Arrays (prompt, layer, head): on the clean and the corrupted prompt, and on
    `repeats` prompts of `length` random tokens said twice, drawn from the tokens of
    `words` (without repetition) or from the whole vocabulary. A small model may
    repeat only words that it has seen. See `algorithms.attention`.
    """
    experiment = HeadScores.of(
        _asked(model, pair, None, bos)
        | {
            "length": length,
            "repeats": repeats,
            "seed": seed,
            "words": words,
        }
    )
    return _do(experiment, model)


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
    experiment = LogitLens.of(
        _asked(model, pair, None, bos)
        | {
            "places": _places(places),
            "direction": check_direction(direction),
        }
    )
    return _do(experiment, model)


def logit_attribution(
    model: Model, pair: Pair | Sequence[Pair], part: str = "head", bos: bool = True
) -> Result:
    """What each part adds to the logit difference directly, in logits, in both runs.

    `part`: `layer`, `head`, `position` (heads by source position) or `neuron`. The
    array `components` (run, component) sums to the logit difference; `contribution`
    divides it further. See `algorithms.direct`.
    """
    parts = ("layer", "head", "position", "neuron")
    experiment = LogitAttribution.of(
        _asked(model, pair, None, bos)
        | {
            "part": _chosen(part, parts, "part"),
        }
    )
    return _do(experiment, model)


def check_pair(
    pair: Pair, model: Model, metric: str = "logit_diff", bos: bool = True, edges: bool = True
) -> None:
    """Raise what running `pair` would: prompts or answers that do not fit model and metric.

    `edges` says whether the method can match prompts of unequal length at their edges.
    """
    asked = Experiment(model=model.name, metric=check_metric(metric), bos=bos)
    tokens_of(pair, asked, model, EDGES if edges else NO_EDGES)


def check_direction(name: str) -> Direction:
    """`name` as a direction. Raises ExperimentError with the two there are."""
    for direction in DIRECTIONS:
        if direction == name:
            return direction
    raise ExperimentError(
        f"'{name}' is not a direction. Choose denoise (clean activations into the corrupted run) "
        "or noise (the other way round)."
    )


def _per(name: str | None) -> dict[str, Per]:
    """The field `per` where it is given: the experiment knows what it usually is."""
    return {} if name is None else {"per": check_per(name)}


def check_per(name: str) -> Per:
    """`name` as a kind of sweep. Raises ExperimentError with those there are."""
    for per in PERS:
        if per == name:
            return per
    raise ExperimentError(f"'{name}' is not a kind of sweep. Choose {', '.join(PERS)}.")


def _chosen(name: str, allowed: Sequence[str], what: str) -> str:
    if name not in allowed:
        raise ExperimentError(f"'{name}' is not a {what}. Choose {', '.join(allowed)}.")
    return str(name)


def _asked(
    model: Model, pair: Pair | Sequence[Pair], metric: Metric | None, bos: bool
) -> dict[str, Any]:
    """The fields that every experiment on pairs has; without a metric the one that baselines show."""
    pairs = _pairs(pair)
    return {
        "model": model.name,
        "revision": model.revision,
        "pairs": pairs,
        "metric": metric or _usual_metric(model, pairs),
        "bos": bos,
    }


def _pairs(given: object) -> Pair | tuple[Pair, ...]:
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


def _usual_metric(model: Model, pair: Pair | Sequence[Pair]) -> Metric:
    """For methods that measure no metric: what baselines show."""
    pairs = [pair] if isinstance(pair, Pair) else pair
    every = [answer for one in pairs for answer in (*one.answers, *one.wrongs)]
    tokens = [
        1 if isinstance(one, int) else len(encode_inside(one, model.tokenizer)) for one in every
    ]
    compared = all(one.wrongs for one in pairs)
    return usual_metric(one_token=max(tokens, default=1) <= 1, compared=compared)


def _places(places: object) -> tuple[str, ...]:
    if isinstance(places, str | Place) or not isinstance(places, Iterable):
        raise UnknownPlaceError(
            f"{quoted(str(places))} is not a list of places: give one, such as ['L9H6.z@-1']."
        )
    some = cast("Iterable[object]", places)
    return tuple(str(parse_place(str(place))) for place in some)
