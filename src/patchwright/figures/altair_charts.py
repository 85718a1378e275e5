"""Figures for the page: Altair charts with the palette of the printed ones."""

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd
import xarray as xr

from patchwright.algorithms.result import Baseline, Result
from patchwright.figures.circuit_layout import LOWERS
from patchwright.figures.style import BLUE, BROWN, RED
from patchwright.prompts.tokens import visible
from patchwright.spelling import percent, run_name

RUN_COLORS = {
    "clean": BLUE,
    "A alone": BLUE,
    "corrupted": RED,
    "B alone": RED,
    "patched": BROWN,
}

_LEGEND = alt.Legend(orient="top", title=None, symbolStrokeWidth=0)


def top_tokens_chart(runs: Mapping[str, Baseline]) -> alt.Chart:
    """The likeliest next tokens of several runs as paired bars, most probable first."""
    rows = [
        {
            "token": visible(one["token"]),
            "run": name,
            "probability": one["probability"],
            "in per cent": percent(one["probability"], 2),
        }
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
            tooltip=["run:N", "token:N", alt.Tooltip("in per cent:N", title="probability")],
        )
        .properties(height=34 * len(order) + 90)
    )


def logit_difference_chart(values: xr.DataArray) -> alt.Chart:
    """The logit difference that each run has reached after each layer, dims (run, layer)."""
    frame = _long_frame(values, "logit difference")
    names = frame["run"].unique().tolist()
    return (
        alt.Chart(frame)
        .mark_line(point=alt.OverlayMarkDef(size=60, filled=True))
        .encode(
            x=alt.X("layer:O", title="after layer", axis=alt.Axis(labelAngle=0)),
            y="logit difference:Q",
            color=_run_color(names),
            strokeDash=alt.StrokeDash("run:N", sort=names, legend=_LEGEND),
            shape=alt.Shape("run:N", sort=names, legend=_LEGEND),
            tooltip=["run:N", "layer:O", alt.Tooltip("logit difference:Q", format=".3f")],
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


def _long_frame(values: xr.DataArray, unit: str) -> pd.DataFrame:
    """A row for each value of dims (run, other), under its unit; runs as people read them."""
    frame = values.to_dataframe(unit).reset_index()
    return frame.assign(run=frame["run"].map(run_name))[[*map(str, values.dims), unit]]


def _run_color(names: Sequence[str]) -> alt.Color:
    colors = alt.Scale(domain=list(names), range=[RUN_COLORS.get(name, BROWN) for name in names])
    return alt.Color("run:N", scale=colors, sort=list(names), legend=_LEGEND)


def components_chart(values: xr.DataArray) -> alt.Chart:
    """What each part adds to the logit difference, dims (run, component), as paired bars."""
    frame = _long_frame(values.rename(component="part"), "logits")
    names, components = (frame[name].unique().tolist() for name in ("run", "part"))
    return (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            y=alt.Y("part:N", sort=components, title=None, axis=alt.Axis(labelOverlap=False)),
            yOffset=alt.YOffset("run:N", sort=names),
            x=alt.X("logits:Q", title="logits added to the difference"),
            color=_run_color(names),
            tooltip=["run:N", "part:N", alt.Tooltip("logits:Q", format=".3f")],
        )
        .properties(height=26 * len(components) + 90)
    )


def circuit_curve(evaluated: Result, chosen: int) -> alt.LayerChart | alt.FacetChart:
    """Faithfulness against size: the circuit, all but the circuit, random circuits; `chosen` marked."""
    names = list(_CURVES)
    key = alt.Legend(orient="right", title=None, labelLimit=0, symbolStrokeWidth=0)
    base = alt.Chart(curve_rows(evaluated)).encode(
        x=alt.X("edges:Q", scale=alt.Scale(type="log", base=2), axis=_INTEGER_AXIS, title=None),
        y=alt.Y("share:Q", title=None, axis=_PERCENT_AXIS),
        color=alt.Color(
            "runs:N", scale=alt.Scale(domain=names, range=list(_CURVES.values())), legend=key
        ),
        detail="sample:N",
        tooltip=["runs", "edges", alt.Tooltip("in per cent:N", title="share")],
    )
    lines = base.mark_line().encode(
        strokeDash=alt.StrokeDash(
            "runs:N", scale=alt.Scale(domain=names, range=_DASHES), legend=None
        )
    )
    points = base.mark_point(filled=True, size=50, opacity=1).encode(
        shape=alt.Shape("runs:N", scale=alt.Scale(domain=names, range=_SHAPES), legend=key)
    )
    at = pd.DataFrame({"edges": [chosen], "share": [0.0]})
    mark = alt.Chart(at).mark_rule(color="#888888", strokeDash=[2, 3]).encode(x=alt.X("edges:Q"))
    whole = pd.DataFrame({"share": [0.0, 1.0]})
    levels = alt.Chart(whole).mark_rule(color="#888888", opacity=0.6).encode(y="share:Q")
    return alt.layer(levels, mark, lines, points).properties(height=_CHART_HEIGHT)


_CURVES = {"circuit": BLUE, "all but it": RED, "random": "#8a8a8a"}
_DASHES, _SHAPES = [[1, 0], [5, 3], [2, 2]], ["circle", "square", "triangle-up"]
_CHART_HEIGHT = 190
"""Pixels of a chart below a workbench, with its axes and its legend."""
_INTEGER_AXIS = alt.Axis(format="d", grid=False)
_PERCENT_AXIS = alt.Axis(labelExpr="format(100 * datum.value, '.0f') + ' %'")


def curve_rows(evaluated: Result) -> pd.DataFrame:
    """One row a circuit that was measured: its curve, its size, the share of the gap it keeps."""
    rows = [
        {"runs": name, "sample": 0, "edges": int(one["size"]), "share": float(one)}
        for name, array in zip(_CURVES, ("faithfulness", "complement"), strict=False)
        for one in evaluated.array(array)
    ]
    random = evaluated.array("random")
    rows += [
        {"runs": "random", "sample": i, "edges": int(one["size"]), "share": float(one)}
        for i in range(random.sizes["sample"])
        for one in random.isel(sample=i)
    ]
    frame = pd.DataFrame(rows)
    frame["in per cent"] = [percent(share, 1) for share in frame["share"]]
    return frame[frame["share"].notna() & (frame["edges"] > 0)]


def estimates_chart(checked: pd.DataFrame, unit: str) -> alt.LayerChart | alt.FacetChart:
    """Edges' estimates against their exact effects, rows of `edge`, `estimate`, `exact`."""
    both = checked[["estimate", "exact"]].to_numpy()
    ends = [float(both.min()), float(both.max())]
    line = (
        alt.Chart(pd.DataFrame({"exact": ends, "estimate": ends}))
        .mark_line(color="#888888", strokeDash=[4, 3], strokeWidth=1)
        .encode(x="exact:Q", y="estimate:Q")
    )
    points = (
        alt.Chart(checked)
        .mark_point(filled=True, size=80, color=LOWERS)
        .encode(
            x=alt.X("exact:Q", title=f"exact: change of {unit}", scale=alt.Scale(zero=False)),
            y=alt.Y("estimate:Q", title="estimate", scale=alt.Scale(zero=False)),
            tooltip=[
                "edge",
                *(alt.Tooltip(f"{one}:Q", format=".3f") for one in ("estimate", "exact")),
            ],
        )
    )
    return alt.layer(line, points).properties(height=_CHART_HEIGHT)
