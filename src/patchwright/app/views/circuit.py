"""Circuit: estimate every edge, choose the best, measure what they keep, and draw them."""

import numpy as np
import pandas as pd
import streamlit as st

from patchwright.algorithms.metrics import NO_GRADIENT
from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import has_scale
from patchwright.app import build_experiment, page_fields, session_state
from patchwright.app.text import error_markdown, escape
from patchwright.app.views import controls, export, fields, pair, tabs, topbar
from patchwright.app.views.progress import finished
from patchwright.axes import METRICS
from patchwright.errors import PatchwrightError
from patchwright.experiment.circuit import Circuit
from patchwright.figures.altair_charts import checked_chart, circuit_curve, circuit_graph
from patchwright.figures.matplotlib_figures import circuit_drawing, drawings_of
from patchwright.insights.circuits import disagreement, kept, pruned, smallest
from patchwright.methods.circuit import EdgeAttribution
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.spelling import percent

MOST_DRAWN = 100
"""Edges that a graph shows; with more nobody can follow one."""


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    bar = topbar.shown()
    if bar is None:
        return
    model = bar.model
    experiment = pair.shown(model)
    tabs.shown("circuit")
    st.caption(
        "Which connections between the model's parts carry the answer, and how much of it do the best "
        "of them keep when all others are corrupted?"
    )
    if experiment is None:
        return
    try:
        scored = _estimated(experiment, model)
        if scored is not None:
            _circuit(scored, experiment, bar)
    except PatchwrightError as error:
        st.error(error_markdown(error))


def _circuit(scored: Result, experiment: Patch, bar: topbar.Bar) -> None:
    """All that follows from the scores."""
    model = bar.model
    circuit = _chosen(scored, model)
    evaluated = _confirmed(scored, circuit, experiment, model)
    _checked(scored)
    _drawn(circuit)
    if evaluated is not None:
        graph = circuit_drawing(circuit.edges, circuit.scores, scored)
        export.shown(bar, evaluated, linked=scored, drawings=[graph, *drawings_of(evaluated)])


def _estimated(swept: Patch, model: Model) -> Result | None:
    """Step 1: a score for every edge."""
    st.subheader("1. Estimate", anchor=False)
    left, right = st.columns(2)
    fields.choice(
        left,
        "Metric",
        METRICS,
        "metric",
        controls.METRIC_NAMES,
        help=f"What the answer is measured by; {', '.join(NO_GRADIENT)} has no gradient.",
    )
    fields.choice(
        right,
        "Scores are",
        list(page_fields.EDGE_ESTIMATES),
        "edge_estimate",
        _ESTIMATES,
        help="Integrated: the mean gradient over 5 runs between the two prompts. Gradient: at the clean "
        "run alone, which is faster, and misses edges where a softmax is saturated.",
    )
    swept = swept.model_copy(update={"metric": st.session_state["metric"]})
    experiment: EdgeAttribution = build_experiment.edges_of(st.session_state, swept)
    scored = finished(experiment, model, "edges job", "steps")
    if scored is None:
        return None
    n_edges = int(scored.array("edges").notnull().sum())
    st.markdown(
        f"**{n_edges:,} edges** join the embedding, heads and MLPs to the queries, keys and values of "
        "heads, the MLPs and the logits above them. Each has a score: about how much "
        f"{escape(swept.metric)} changes when that edge alone carries the corrupted run."
    )
    for message in controls.warned(scored):
        st.warning(escape(message))
    return scored


_ESTIMATES = {
    "integrated": "integrated (5 runs)",
    "gradient": "gradient (1 run)",
}


def _chosen(scored: Result, model: Model) -> Circuit:
    """Step 2: how many edges, taken in which order; all of them in that order."""
    st.subheader("2. Choose", anchor=False)
    left, right = st.columns(2)
    order = fields.choice(
        right,
        "Which edges first",
        session_state.EDGE_ORDERS,
        "edge_order",
        help="Connected: from the logits down, always the strongest edge into what is reached, so that "
        "every edge leads to the answer. Strongest: by the size of the score alone.",
    )
    circuit = Circuit.choose(
        scored, model, session_state.MOST_EDGES, connected=order == "connected"
    )
    most = len(circuit.edges)
    st.session_state["edges"] = min(max(1, int(st.session_state["edges"])), most)
    fields.number_input(left, "Edges in the circuit", 1, most, "edges", step=1)
    return circuit


def _confirmed(scored: Result, circuit: Circuit, swept: Patch, model: Model) -> Result | None:
    """Step 3: what the circuit keeps, measured, against its size."""
    st.subheader("3. Confirm", anchor=False)
    size = int(st.session_state["edges"])
    swept = swept.model_copy(update={"metric": st.session_state["metric"]})
    experiment = build_experiment.evaluation_of(swept, circuit, size)
    evaluated = finished(experiment, model, "circuit job", "circuits")
    if evaluated is None:
        return None
    n_edges = int(scored.array("edges").notnull().sum())
    st.markdown(f"**{escape(kept(evaluated, size, n_edges).text)}**")
    for notice in evaluated.warnings:
        if notice not in scored.warnings:
            st.warning(escape(notice["message"]))
    if has_scale(evaluated) and bool(evaluated.array("faithfulness").notnull().any()):
        st.altair_chart(circuit_curve(evaluated, size))
        st.caption(escape(areas(evaluated)))
        _pruned(evaluated, size)
    return evaluated


def areas(evaluated: Result) -> str:
    """What the curve shows, and the mean heights of its lines."""
    found = evaluated.details
    means = ""
    if "area" in found:
        means = f" Mean height of the curve over these sizes: circuit {percent(found['area'])}"
        if "random_area" in found:
            means += f", random circuits {percent(found['random_area'])}"
        means += "."
    return (
        "Every point is a run in which all edges outside the circuit carry the corrupted run's "
        "activations: 100 % is the whole clean-corrupted gap, 0 % none of it; above 100 %, edges that "
        "work against the answer were left out. All but it: every edge except the circuit's. Random: "
        "circuits of the same size, drawn by chance." + means
    )


def _pruned(evaluated: Result, size: int) -> None:
    """The smallest size that suffices, and a button that takes it."""
    left, middle, right = st.columns([2, 5, 2], vertical_alignment="bottom")
    fields.number_input(left, "Keep at least (%)", 1, 100, "edge_share", step=5)
    share = int(st.session_state["edge_share"]) / 100
    middle.markdown(escape(pruned(evaluated, share).text))
    enough = smallest(evaluated, share)
    if enough is not None:
        right.button(
            f"Prune to {enough} edges",
            on_click=_take_size,
            args=(enough,),
            key="prune",
            disabled=enough == size,
            width="stretch",
        )


def _take_size(size: int) -> None:
    st.session_state["edges"] = size


def _checked(scored: Result) -> None:
    """Step 4: the strongest edges' estimates beside their exact effects."""
    frame = checked_rows(scored)
    if frame.empty:
        return
    st.subheader("4. Check the estimate", anchor=False)
    worst = disagreement(scored)
    if worst is not None:
        st.markdown(escape(worst.text))
    metric = scored.experiment["metric"]
    left, right = st.columns(2, gap="medium")
    left.altair_chart(checked_chart(frame, metric))
    right.dataframe(
        frame,
        hide_index=True,
        height="content",
        column_config={
            name: st.column_config.NumberColumn(format="%.3f") for name in frame.columns[1:]
        },
    )
    st.caption(
        f"The {len(frame)} edges with the strongest scores, each corrupted alone: the change of "
        f"{escape(metric)}. On the dashed line estimate and exact value agree."
    )


def checked_rows(scored: Result) -> pd.DataFrame:
    """The edges that were measured exactly, the strongest estimate first."""
    if "exact" not in scored.arrays:
        return pd.DataFrame()
    table = scored.table()
    table = table[table["exact"].notna()]
    frame = pd.DataFrame(
        {
            "edge": table["sender"] + " → " + table["receiver"],
            "estimate": table["edges"],
            "exact": table["exact"],
            "difference": table["edges"] - table["exact"],
        }
    )
    order = np.argsort(-frame["estimate"].abs().to_numpy(), kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def _drawn(circuit: Circuit) -> None:
    """Step 5: the circuit as a graph."""
    st.subheader("5. The circuit", anchor=False)
    size = int(st.session_state["edges"])
    edges, scores = strongest_of(circuit, size, MOST_DRAWN)
    if size > len(edges):
        st.caption(f"Drawn are the {len(edges)} strongest of its {size:,} edges.")
    st.altair_chart(circuit_graph(edges, scores))
    st.caption(
        "Layers grow upward from the embedding (emb) to the logits (out); heads stand side by side, "
        "MLPs to their right. The wider an edge, the stronger its score. Point at an edge to see which "
        "input of a head it feeds: q, k or v."
    )
    with st.expander("The edges as a table"):
        names = [f"{sender} → {receiver}" for sender, receiver in circuit.edges[:size]]
        table = pd.DataFrame({"edge": names, "score": circuit.scores[:size]})
        table.index += 1
        st.dataframe(table, column_config={"score": st.column_config.NumberColumn(format="%.4f")})
    st.download_button(
        "Save the circuit (JSON)",
        lambda: circuit.first(size).to_json(),
        "patchwright-circuit.json",
        "application/json",
        key="take-circuit",
        on_click="ignore",
        help="Its edges and their scores; `patchwright circuit --circuit FILE` measures it again, on "
        "other prompts too.",
    )


def strongest_of(
    circuit: Circuit, size: int, most: int
) -> tuple[list[tuple[str, str]], list[float]]:
    """Of a circuit's first `size` edges the `most` with the highest |score|, and the scores."""
    pairs = list(zip(circuit.edges, circuit.scores, strict=True))[:size]
    pairs = sorted(pairs, key=lambda one: -abs(one[1]))[:most]
    return [edge for edge, _ in pairs], [score for _, score in pairs]
