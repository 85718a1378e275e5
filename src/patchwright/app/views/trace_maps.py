"""The three maps of a trace on one scale, and its noise in words."""

import math
from collections.abc import Sequence
from typing import Any, cast

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import has_scale, usable_effect
from patchwright.app.text import escape, token_markdown
from patchwright.app.views import controls, trace_place, workbench
from patchwright.figures.grid import grid_of, on_one_scale
from patchwright.methods.trace import TraceSite
from patchwright.places import parse_place

SITE_NAMES: dict[TraceSite, str] = {
    "resid_post": "Hidden state",
    "mlp_out": "MLP",
    "attn_out": "Attention",
}
SITES = tuple(SITE_NAMES)


def noise_in_words(runs: Result, held: str) -> str:
    """The noise and what it does to the answer, and what is `held` at its noisy values, as Markdown."""
    done, drawn = runs.experiment, runs.experiment["samples"]
    subject = " ".join(
        f"**{token_markdown(str(runs.tokens['clean'][one]))}**" for one in runs.details["subject"]
    )
    more = ""
    if held != "nothing":
        more += f" {escape(held)} stays noisy where a place is restored, but in its own map."
    if trace_place.is_noise_too_weak(runs):
        more += " Most noisy runs still say what A says: more noise may take more away."
    return (
        f"Noise on {subject}, {done['noise']:g} × σ strong (σ = {runs.details['sigma']:.3g}, the "
        f"spread of these tokens' embeddings) and drawn {'once' if drawn == 1 else f'{drawn} times'}: "
        f"the {escape(controls.METRIC_NAMES[done['metric']])} goes from {runs.clean.metric:.3g} to "
        f"**{runs.corrupt.metric:.3g}**.{more}"
    )


def maps_of(results: Sequence[Result], under_way: dict[str, Any] | None = None) -> workbench.Maps:
    """Finished traces of all sites, or what there is of them, on one scale.

    What is looked at first is the strongest MLP. The hidden state is no place to begin: its last
    position holds the answer itself.
    """
    first, mlp = results[0], results[SITES.index("mlp_out")]
    grids = on_one_scale([grid_of(one) for one in results])
    legend = "share of what the noise took away that comes back"
    if not grids[0].centred:
        legend = f"{grids[0].unit} with the place restored"
    usual = workbench.strongest_place(grids[SITES.index("mlp_out")], mlp)
    captions = [_caption(one) for one in results]
    spreads = [spread_of(one) for one in results]
    return workbench.Maps(grids, first, usual, captions, under_way, legend, True, spreads)


def site_name(result: Result) -> str:
    """What a trace restores, as its map is called."""
    return SITE_NAMES[cast("TraceSite", result.experiment["site"])]


def _caption(result: Result) -> str:
    """What a map restores, and of how many layers at once."""
    window = result.experiment["window"]
    return site_name(result) if window == 1 else f"{site_name(result)}, {window} layers at once"


def result_of_place(chosen: str, results: Sequence[Result]) -> Result:
    """The trace whose map has the place."""
    return results[SITES.index(cast("TraceSite", parse_place(chosen).site))]


def effect_at(chosen: str, results: Sequence[Result]) -> float:
    """The share of what the noise took away that restoring a place brings back."""
    effect = usable_effect(result_of_place(chosen, results))
    return float(effect.sel(trace_place.cell_coordinates(chosen)))


def spread_of(result: Result) -> list[list[float | None]]:
    """How far the samples of each cell spread, in the unit of the map."""
    gap = abs(result.clean.metric - result.corrupt.metric) if has_scale(result) else 1.0
    values = result.array("spread").values / gap
    return [[None if math.isnan(one) else one for one in row] for row in values.tolist()]


def warnings_of(results: Sequence[Result]) -> list[str]:
    """What the traces warn of, each once; what only one map says begins with its name."""
    found: dict[str, None] = {}
    for result in results:
        for notice in result.warnings:
            if notice["message"] not in controls.warning_texts(result):
                continue
            stopped = notice["code"] == "stopped"
            said = f"{site_name(result)}: {notice['message']}" if stopped else notice["message"]
            found[said] = None
    return list(found)
