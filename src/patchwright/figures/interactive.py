"""Figures for the page: Altair charts with the palette of the printed ones."""

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd
import xarray as xr

from patchwright.methods.result import Baseline
from patchwright.prompts.tokens import visible

RUN_COLORS = {"clean": "#2166ac", "corrupted": "#b2182b", "patched": "#8c6d1f"}


def top_chart(runs: Mapping[str, Baseline]) -> alt.Chart:
    """The likeliest next tokens of several runs as paired bars, most probable first."""
    rows = [
        {"token": visible(one["token"]), "probability": one["probability"], "run": name}
        for name, run in runs.items()
        for one in run.top
    ]
    frame = pd.DataFrame(rows)
    best = frame.groupby("token")["probability"].max().sort_values(ascending=False)
    order = best.head(10).index.tolist()
    names = list(runs)
    return (
        alt.Chart(frame[frame["token"].isin(order)])
        .mark_bar()
        .encode(
            y=alt.Y("token:N", sort=order, title=None, axis=alt.Axis(labelOverlap=False)),
            yOffset=alt.YOffset("run:N", sort=names),
            x=alt.X("probability:Q", scale=alt.Scale(domain=[0, 1]), title="probability"),
            color=_run_color(names),
            tooltip=["run", "token", alt.Tooltip("probability:Q", format=".2%")],
        )
        .properties(height=34 * len(order) + 90)
    )


def accumulated_chart(values: xr.DataArray) -> alt.Chart:
    """The logit difference that each run has reached after each layer, dims (run, layer)."""
    names = ["corrupted" if run == "corrupt" else str(run) for run in values["run"].values]
    rows = [
        {"layer": int(layer), "run": name, "logit difference": float(values[i, j])}
        for i, name in enumerate(names)
        for j, layer in enumerate(values["layer"].values)
    ]
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(point=alt.OverlayMarkDef(size=60, filled=True))
        .encode(
            x=alt.X("layer:O", title="after layer", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("logit difference:Q", title="logit difference"),
            color=_run_color(names),
            strokeDash=alt.StrokeDash("run:N", sort=names, legend=None),
            shape=alt.Shape("run:N", sort=names, legend=None),
            tooltip=["run", "layer", alt.Tooltip("logit difference:Q", format=".3f")],
        )
        .properties(height=260)
    )


def samples_chart(
    noisy: Sequence[float], restored: Sequence[float], clean: float, metric: str
) -> alt.LayerChart | alt.FacetChart:
    """Each noise sample before and after a place was restored, and the clean run as a line."""
    names = ("noisy", "restored")
    rows = [
        {"sample": i, "run": name, metric: value}
        for i, values in enumerate(zip(noisy, restored, strict=True))
        for name, value in zip(names, values, strict=True)
    ]
    value = alt.X(f"{metric}:Q", title=f"{metric} (dashed line: clean run)")
    colors = alt.Scale(domain=names, range=[RUN_COLORS["corrupted"], RUN_COLORS["patched"]])
    legend = alt.Legend(orient="top", title=None)
    samples = alt.Chart(pd.DataFrame(rows)).encode(
        x=value, y=alt.Y("sample:O", title="noise sample")
    )
    way = samples.mark_line(color="#888888", strokeWidth=1.5).encode(detail="sample:O")
    points = samples.mark_point(filled=True, size=70, opacity=1).encode(
        color=alt.Color("run:N", scale=colors, legend=legend),
        shape=alt.Shape("run:N", scale=alt.Scale(domain=names, range=["square", "circle"])),
        tooltip=["sample", "run", alt.Tooltip(f"{metric}:Q", format=".4g")],
    )
    frame = pd.DataFrame([{metric: clean, "run": "clean"}])
    line = (
        alt.Chart(frame)
        .mark_rule(color=RUN_COLORS["clean"], strokeDash=[5, 3], strokeWidth=2)
        .encode(x=value, tooltip=["run", alt.Tooltip(f"{metric}:Q", format=".4g")])
    )
    return alt.layer(line, way, points).properties(height=max(160, min(420, 20 * len(noisy))) + 80)


def _run_color(names: Sequence[str]) -> alt.Color:
    colors = alt.Scale(domain=list(names), range=[RUN_COLORS[name] for name in names])
    legend = alt.Legend(orient="top", title=None)
    return alt.Color("run:N", scale=colors, sort=list(names), legend=legend)


def components_chart(values: xr.DataArray) -> alt.Chart:
    """What each part adds to the logit difference, dims (run, component), as paired bars."""
    names = ["corrupted" if run == "corrupt" else str(run) for run in values["run"].values]
    components = [str(name) for name in values["component"].values]
    rows = [
        {"part": part, "run": name, "logits": float(values[i, j])}
        for i, name in enumerate(names)
        for j, part in enumerate(components)
    ]
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar()
        .encode(
            y=alt.Y("part:N", sort=components, title=None, axis=alt.Axis(labelOverlap=False)),
            yOffset=alt.YOffset("run:N", sort=names),
            x=alt.X("logits:Q", title="logits added to the difference"),
            color=_run_color(names),
            tooltip=["run", "part", alt.Tooltip("logits:Q", format=".3f")],
        )
        .properties(height=26 * len(components) + 90)
    )
