"""What the curve of a circuit shows, and how far estimates of its edges can be trusted.

Both take Results: of `evaluate_circuit`, and of `edge_attribution` with `exact` edges.
"""

import math

import numpy as np

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import has_scale
from patchwright.edges import edge_name, noun
from patchwright.insights.sentences import Numbers, Sentence


def kept_sentence(evaluated: Result, size: int, n_edges: int) -> Sentence:
    """How much of the gap the first `size` edges keep, of `n_edges` that the model has.

    Beside it what is left without them, and what random circuits of that size keep (the
    mean). `size` is one that was evaluated.
    """
    numbers = Numbers()
    count = f"{numbers.count(size)} of {numbers.count(n_edges)} edges"
    verb, these = ("keeps", "this edge") if size == 1 else ("keep", "these edges")
    share = float(evaluated.array("faithfulness").sel(size=size))
    stopped = any(notice["code"] == "stopped" for notice in evaluated.warnings)
    if has_scale(evaluated) and math.isnan(share) and stopped:
        return numbers.sentence(
            "not_measured", f"What {count} {verb} was not measured: the work was stopped."
        )
    if not has_scale(evaluated) or math.isnan(share):
        return numbers.sentence(
            "no_scale", f"The gap is too small to say what share of it {count} {verb}."
        )
    text = f"{count} {verb} {numbers.share(share)} of the gap"
    random = evaluated.array("random").sel(size=size).values
    if np.isfinite(random).any():
        text += f"; random circuits of that size keep {numbers.share(float(np.nanmean(random)))}"
    without = float(evaluated.array("complement").sel(size=size))
    if math.isfinite(without):
        text += f". Everything except {these} keeps {numbers.share(without)}"
    return numbers.sentence("kept", f"{text}.")


def smallest_size(evaluated: Result, share: float) -> int | None:
    """The smallest evaluated size that keeps at least `share` of the gap, if any does."""
    curve = evaluated.array("faithfulness")
    enough = curve["size"].values[curve.values >= share]
    return int(enough[0]) if len(enough) and has_scale(evaluated) else None


def pruned_sentence(evaluated: Result, share: float) -> Sentence:
    """Which evaluated size suffices for `share` of the gap; or how near the best one comes."""
    numbers = Numbers()
    curve = evaluated.array("faithfulness")
    size, wanted = smallest_size(evaluated, share), numbers.share(share)
    if size is not None:
        has = float(curve.sel(size=size))
        text = (
            f"The smallest evaluated circuit that keeps at least {wanted} of the gap has "
            f"{numbers.count(size)} {noun(size)}. It keeps {numbers.share(has)}."
        )
        return numbers.sentence("enough", text)
    if not has_scale(evaluated) or not np.isfinite(curve.values).any():
        return numbers.sentence(
            "no_scale", "No circuit size has a share of the gap that could be compared."
        )
    best = curve[int(np.nanargmax(curve.values))]
    size = int(best["size"])
    text = (
        f"No evaluated circuit keeps {wanted} of the gap. The best keeps "
        f"{numbers.share(float(best), share)}, with {numbers.count(size)} {noun(size)}."
    )
    return numbers.sentence("too_few", text)


def disagreement_sentence(scored: Result) -> Sentence | None:
    """Of the edges that were measured exactly, the one whose estimate is furthest off."""
    if "exact" not in scored.arrays:
        return None
    estimate, exact = scored.array("edges"), scored.array("exact")
    off = np.abs(estimate.values - exact.values)
    if not np.isfinite(off).any():
        return None
    row, column = np.unravel_index(int(np.nanargmax(off)), off.shape)
    edge = str(exact["sender"].values[column]), str(exact["receiver"].values[row])
    numbers = Numbers()
    text = (
        f"{numbers.count(int(np.isfinite(off).sum()))} edges were measured exactly. The estimate is "
        f"furthest off for {edge_name(edge)}: estimated "
        f"{numbers.amount(float(estimate[row, column]))}, exactly "
        f"{numbers.amount(float(exact[row, column]))}."
    )
    return numbers.sentence("disagreement", text)
