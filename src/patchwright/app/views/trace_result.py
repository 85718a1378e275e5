"""What a trace found: the three panels on one scale, and one place looked at closely."""

from collections import Counter
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import shares
from patchwright.app.text import escape, token
from patchwright.app.views import controls, export
from patchwright.app.widgets.heat_map import heat_map
from patchwright.figures.altair_charts import samples_chart
from patchwright.figures.grid import Grid, grid_of, on_one_scale
from patchwright.figures.matplotlib_figures import drawing_of
from patchwright.methods.trace import TraceSite
from patchwright.places import parse_place
from patchwright.prompts.tokens import visible
from patchwright.spelling import percent

SITE_NAMES = {"resid_post": "Hidden state", "mlp_out": "MLP", "attn_out": "Attention"}
RESTORED = {"resid_post": "hidden state", "mlp_out": "MLP output", "attn_out": "attention output"}


def grids_of_sites(results: dict[TraceSite, Result]) -> list[Grid]:
    """The panels of finished traces, by site, on one scale, each with its window in its title."""
    grids = [replace(grid_of(one), title=panel_title(one)) for one in results.values()]
    return on_one_scale(grids) if grids else []


def panel_title(result: Result) -> str:
    """What a panel restores, and of how many layers at once."""
    done = result.experiment
    window = "single layers" if done["window"] == 1 else f"window of {done['window']} layers"
    return f"{SITE_NAMES[done['site']]}: {done['site']}, {window}"


def panel(grid: Grid, key: str, selected: str = "", clickable: bool = False) -> None:
    """One heat map under its name and what it restores."""
    name, what = grid.title.split(": ")
    st.markdown(f"**{name}**")
    st.caption(escape(what))
    heat_map(grid, key, selected, _choose if clickable else None)


def _choose(chosen: str) -> None:
    st.session_state["trace_chosen"] = chosen


def finished(results: dict[TraceSite, Result]) -> None:
    """Baselines, the three panels, and the selected place (at first the strongest MLP)."""
    _baselines(results["resid_post"])
    for text in warnings_of(results):
        st.warning(escape(text))
    site, chosen = place_shown(st.session_state["trace_chosen"], results)
    grids = grids_of_sites(results)
    for one, grid, column in zip(results, grids, st.columns(3, gap="medium"), strict=True):
        with column:
            panel(grid, f"map-{one}", chosen, clickable=True)
    st.caption(legend(results["resid_post"], grids[0]))
    st.divider()
    _place(chosen, results[site])
    export.shown(results[site], drawings=[drawing_of(*results.values())])
    st.caption(
        f"The figure has all three panels; the other files hold that of the selected cell, "
        f"{SITE_NAMES[site]}: select a cell of another panel for its numbers."
    )


def _baselines(result: Result) -> None:
    """Both runs that restoring lies between, and what the noise took away."""
    metric, n = result.experiment["metric"], len(result.corrupt.pairs)
    columns = st.columns(3)
    columns[0].metric(f"Clean run: {metric}", f"{result.clean.metric:.3g}")
    columns[1].metric(
        f"Noisy runs: {metric}", f"{result.corrupt.metric:.3g}", help=f"Mean of {_samples(n)}."
    )
    columns[2].metric(
        "Total effect",
        f"{result.clean.metric - result.corrupt.metric:.3g}",
        help="Clean minus noisy: what the noise took away, and what effects are shares of.",
    )
    with st.expander("What the clean and the noisy runs predict"):
        st.dataframe(predictions(result), hide_index=True, height="content")


def predictions(result: Result) -> pd.DataFrame:
    """The likeliest next token of the clean run and of each noisy one, a row each."""
    runs = {"clean": result.clean}
    runs |= {f"noise sample {i}": one for i, one in enumerate(result.corrupt.pairs)}
    return pd.DataFrame(
        {
            "run": list(runs),
            "likeliest next token": [visible(str(run.top[0]["token"])) for run in runs.values()],
            "its probability": [round(run.top[0]["probability"], 4) for run in runs.values()],
            "probability of the answer": [round(run.probability, 4) for run in runs.values()],
        }
    )


def warnings_of(results: dict[TraceSite, Result]) -> list[str]:
    """What the traces warn of, each once; what only one panel says begins with its name."""
    found: dict[str, None] = {}
    for site, result in results.items():
        for notice in result.warnings:
            if notice["message"] not in controls.warned(result):
                continue
            stopped = notice["code"] == "stopped"
            found[f"{SITE_NAMES[site]}: {notice['message']}" if stopped else notice["message"]] = (
                None
            )
    return list(found)


def place_shown(chosen: str, results: dict[TraceSite, Result]) -> tuple[TraceSite, str]:
    """The site and the place to look at: the chosen one if the maps have it, else the strongest MLP.

    The hidden state is no place to begin: its last position holds the answer itself.
    """
    if chosen:
        place = parse_place(chosen)
        site = cast("TraceSite", place.site)
        sizes = results[site].patched.sizes if site in results else {"layer": 0, "position": 0}
        named = place.layer is not None and place.position is not None and place.head is None
        if named and (place.layer or 0) < sizes["layer"]:
            position = place.position or 0
            position += sizes["position"] if position < 0 else 0
            if 0 <= position < sizes["position"]:
                return site, str(replace(place, position=position))
    top = results["mlp_out"].top(1)["place"]
    return "mlp_out", "L0.mlp_out@0" if top.empty else str(top.iloc[0])


def legend(result: Result, grid: Grid) -> str:
    """The noise, and how to read the panels."""
    done, severed = result.experiment, ""
    if done["sever"]:
        held = f"{done['sever']} held at its noisy values where a place is restored, in every layer"
        severed = f" Severed, except in its own panel: {escape(held)}."
    noise = (
        f"Noise: {done['noise']:g} × σ on {_subject_text(result)}, where σ = "
        f"{result.details['sigma']:.3g} is the standard deviation of these tokens' embeddings; "
        f"{_samples(done['samples'])}, seed {done['seed']}.{severed}"
    )
    if not grid.centred:
        return f"{noise} Each cell is the {escape(done['metric'])} with that place restored."
    return (
        f"{noise} Each cell is the share of the total effect that restoring it brings back, the "
        "mean over the samples: 0 (white) is nothing, 1 (red) all of it, below 0 (blue) makes it "
        "worse. All panels have one scale. The hidden state of the last token in the last "
        "layer always brings back all: what lies before it tells where the information moves. Click a cell, or move with the arrow keys and press Enter."
    )


def _subject_text(result: Result) -> str:
    texts = result.tokens["clean"]
    return " ".join(f"**{token(str(texts[one]))}**" for one in result.details["subject"])


def _samples(count: int) -> str:
    return "1 sample" if count == 1 else f"{count} samples"


def _place(chosen: str, result: Result) -> None:
    """One place: a sentence, and each sample before and after."""
    place, metric = parse_place(chosen), str(result.experiment["metric"])
    st.markdown(f"#### `{chosen}`")
    st.markdown(sentence(chosen, result))
    values = result.array("samples").sel(layer=place.layer, position=place.position).values
    if not np.isfinite(values).all():
        return
    noisy = [one.metric for one in result.corrupt.pairs]
    left, right = st.columns([3, 2], gap="medium")
    left.altair_chart(samples_chart(noisy, values.tolist(), result.clean.metric, metric))
    with right:
        st.markdown(after_noise(result))
        frame = pd.DataFrame({"sample": range(len(noisy)), "noisy": noisy, "restored": values})
        st.dataframe(frame.round(4), hide_index=True, height=min(38 + 35 * len(noisy), 390))


def sentence(chosen: str, result: Result) -> str:
    """What restoring a place did, with its numbers, as Markdown."""
    place, done = parse_place(chosen), result.experiment
    cell: dict[str, Any] = {"layer": place.layer, "position": place.position}
    text = token(str(result.tokens["clean"][place.position or 0]))
    after, spread = (float(result.array(name).sel(cell)) for name in ("patched", "spread"))
    if np.isnan(after):
        return "This cell was not computed: the trace was stopped before it."
    if (place.position or 0) < min(result.details["subject"]):
        return (
            f"**{text}** stands before the subject, and attention looks only back: the noise never "
            "reaches this place, and restoring it changes nothing."
        )
    effect = float(shares(result).sel(cell))
    share = "" if np.isnan(effect) else f", **{percent(effect)}** of what the noise took away"
    window = f" in a window of {done['window']} layers" if done["window"] > 1 else ""
    severed = f" and {escape(done['sever'])} severed" if done["sever"] else ""
    over = (
        f" on average over {_samples(done['samples'])} (standard deviation {spread:.2g})"
        if done["samples"] > 1
        else " in the one sample"
    )
    return (
        f"With the clean {RESTORED[done['site']]} of layer {place.layer}{window} put back at **{text}**{severed}, {escape(done['metric'])} goes "
        f"from {result.corrupt.metric:.3g} to {after:.3g}{over}{share}."
    )


def after_noise(result: Result) -> str:
    """What the clean run predicts, and what the noisy ones do, as Markdown."""
    runs = result.corrupt.pairs
    firsts = Counter(str(one.top[0]["token"]) for one in runs).most_common()
    counts = [f"**{token(text)}** ({count})" for text, count in firsts[:3]]
    if others := sum(count for _, count in firsts[3:]):
        counts.append(f"other tokens ({others})")
    noisy = "the noisy run" if len(runs) == 1 else f"the {len(runs)} noisy runs"
    return (
        f"The clean run's likeliest next token is **{token(str(result.clean.top[0]['token']))}**; "
        f"that of {noisy} is {', '.join(counts)}.{_too_little(result)}"
    )


def _too_little(result: Result) -> str:
    """What to do where most noisy runs say what the clean one says."""
    first, runs = result.clean.top[0]["token"], result.corrupt.pairs
    if 2 * sum(one.top[0]["token"] == first for one in runs) <= len(runs):
        return ""
    return " Most noisy runs still say what the clean one says: more noise may take more away."
