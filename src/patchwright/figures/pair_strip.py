"""One cell over the pairs of a set: each pair's value, sorted, the mean and its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import pandas as pd

_PAIR, _ODD, _MEAN = "#4393c3", "#b2182b", "#8c6d1f"


@dataclass(frozen=True)
class Interval:
    """A mean and its bounds, NaN where it has none."""

    mean: float
    low: float
    high: float


def strip_chart(
    values: Sequence[float], names: Sequence[str], odd: Sequence[int], over: Interval, unit: str
) -> alt.LayerChart | alt.FacetChart:
    """The pairs' values in one cell from the lowest to the highest; `odd` pairs are squares.

    `names` tell which pair it is; a band and a dashed line show the mean and its interval,
    a grey one zero where there are values on both sides of it.
    """
    frame = strip_rows(values, names, odd, unit)
    kinds = ["pair", "stands out"]
    points = (
        alt.Chart(frame)
        .mark_point(filled=True, size=55, opacity=0.9)
        .encode(
            x=alt.X("rank:Q", title="pairs, sorted", axis=alt.Axis(format="d", tickMinStep=1)),
            y=alt.Y(f"{unit}:Q", title=unit, scale=alt.Scale(zero=False)),
            shape=alt.Shape(
                "kind:N",
                scale=alt.Scale(domain=kinds, range=["circle", "square"]),
                legend=alt.Legend(orient="top", title=None),
            ),
            color=alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[_PAIR, _ODD])),
            tooltip=["number", "pair", alt.Tooltip(f"{unit}:Q", format=".4g")],
        )
    )
    band = pd.DataFrame([{"low": over.low, "high": over.high, "mean": over.mean}]).dropna()
    line = alt.Chart(band).mark_rule(color=_MEAN, strokeDash=[5, 3], strokeWidth=2)
    between = alt.Chart(band).mark_rect(color=_MEAN, opacity=0.22)
    around = frame[unit].min() <= 0 <= frame[unit].max()
    zero = alt.Chart(pd.DataFrame({"zero": [0.0] if around else []}))
    return alt.layer(
        zero.mark_rule(color="#888888", opacity=0.7, aria=False).encode(y="zero:Q"),
        between.encode(y="low:Q", y2="high:Q"),
        line.encode(y="mean:Q", tooltip=[alt.Tooltip("mean:Q", format=".4g")]),
        points,
    ).properties(height=260)


def strip_rows(
    values: Sequence[float], names: Sequence[str], odd: Sequence[int], unit: str
) -> pd.DataFrame:
    """One row a pair that has the cell, the lowest value first; pairs count from 1."""
    frame = pd.DataFrame({"number": range(1, len(values) + 1), "pair": names, unit: values})
    frame["kind"] = ["stands out" if i in set(odd) else "pair" for i in range(len(values))]
    frame = frame.dropna(subset=[unit]).sort_values(unit, kind="stable").reset_index(drop=True)
    frame.insert(0, "rank", range(1, len(frame) + 1))
    return frame
