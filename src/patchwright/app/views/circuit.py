"""Circuit: estimate every edge, choose the best, measure what they keep, and draw them."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.algorithms.metrics import NO_GRADIENT
from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import has_scale
from patchwright.app import address_bar, build_experiment, page_fields
from patchwright.app.page_controls import CONTROLS, MOST_EDGES
from patchwright.app.resources import job_queue
from patchwright.app.results import cache_key
from patchwright.app.session_jobs import PATIENCE, job_of, stop
from patchwright.app.text import error_markdown, escape, sentence_html
from patchwright.app.views import (
    circuit_place,
    controls,
    explore,
    export,
    fields,
    progress,
    topbar,
)
from patchwright.app.views.file_button import file_button
from patchwright.app.widgets.workbench import workbench
from patchwright.axes import METRICS
from patchwright.edges import edge_name, node_name, noun
from patchwright.errors import PatchwrightError
from patchwright.experiment.circuit import Circuit
from patchwright.figures.altair_charts import circuit_curve, estimates_chart
from patchwright.figures.matplotlib_figures import circuit_drawing, drawings_of
from patchwright.insights.circuits import (
    disagreement_sentence,
    kept_sentence,
    pruned_sentence,
    smallest_size,
)
from patchwright.jobs import Job
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.spelling import percent
from patchwright.warnings import is_stopped

_ESTIMATES = {
    "integrated": "integrated (5 runs)",
    "gradient": "gradient (1 run)",
}

SLOTS = ("edges job", "circuit job")
"""The works of this page: the scores of all edges, then what the chosen ones keep."""


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    explore.show_tab("circuit", _show_content)


def _show_content(experiment: Patch | None, bar: topbar.Bar) -> None:
    model = bar.model
    _show_controls()
    if experiment is None:
        return
    swept = experiment.model_copy(update={"metric": st.session_state["metric"]})
    found = _run_jobs(swept, model, PATIENCE)
    again = None if found.job is None else progress.LOOK_AGAIN
    st.fragment(_draw, run_every=again)(swept, model, found.job is not None)
    if found.job is None:
        _show_findings(found, bar)


def _show_controls() -> None:
    """What the page asks, and how edges are scored and put in order."""
    columns = st.container(key="controls").columns([14, 1.2], vertical_alignment="center")
    columns[0].markdown(
        "**Which connections between the model's parts carry the answer?**",
        help="Edges join the embedding, heads and MLPs to the queries, keys and values of heads, the "
        "MLPs and the logits above them. Each is scored by about how much the metric changes when "
        "that edge alone carries the corrupted run.",
    )
    with columns[1].popover("⚙", help="Metric, estimate, order of the edges", width="stretch"):
        place = st.container()
        fields.choice(
            place,
            "Metric",
            METRICS,
            "metric",
            controls.METRIC_NAMES,
            help=f"What the answer is measured by; {', '.join(NO_GRADIENT)} has no gradient.",
        )
        fields.choice(
            place,
            "Scores are",
            list(page_fields.EDGE_ESTIMATES),
            "edge_estimate",
            _ESTIMATES,
            help="Integrated: the mean gradient over 5 runs between the two prompts. Gradient: at the "
            "clean run alone, which is faster, and misses edges where a softmax is saturated.",
        )
        fields.choice(
            place,
            "Which edges first",
            CONTROLS["edge_order"].choices,
            "edge_order",
            help="Connected: from the logits down, always the strongest edge into what is reached, so "
            "that every edge leads to the answer. Strongest: by the size of the score alone.",
        )


@dataclass(frozen=True)
class _CircuitState:
    """What there is so far: the `job` under way, if one is, and what others have found."""

    job: Job | None = None
    scored: Result | None = None
    circuit: Circuit | None = None
    evaluated: Result | None = None
    timed_out: bool = False
    """Whether the work was stopped because it took longer than this page allows."""


def _run_jobs(swept: Patch, model: Model, patience: float) -> _CircuitState:
    """The scores of all edges, then what the chosen ones keep; waits for each a while.

    Raises what the work raised.
    """
    edges = build_experiment.edge_attribution_of(st.session_state, swept)
    job = job_of(edges, model, SLOTS[0], patience)
    if not job.finished:
        return _CircuitState(job)
    scored = progress.result_of_job(job, edges, model)
    if scored is None:
        return _CircuitState()
    now = st.session_state
    # Scores of a work that was stopped are others than those of the whole: their warnings say so.
    key = " ".join([cache_key(edges, model), *controls.warning_texts(scored)])
    circuit = _ordered_circuit(key, now["edge_order"], scored, model)
    if not circuit.edges:
        return _CircuitState(timed_out=job.timed_out)
    size = now["edges"] = min(max(1, int(now["edges"])), len(circuit.edges))
    if is_stopped(scored.warnings):
        return _CircuitState(None, scored, circuit, timed_out=job.timed_out)
    experiment = build_experiment.evaluation_of(swept, circuit, size)
    job = job_of(experiment, model, SLOTS[1], patience, known=now.get("curve"))
    if not job.finished:
        return _CircuitState(job, scored, circuit)
    evaluated = progress.result_of_job(job, experiment, model)
    if evaluated is not None:
        now["curve"] = evaluated  # another size takes over what is measured here
    return _CircuitState(None, scored, circuit, evaluated, job.timed_out)


@st.cache_resource(max_entries=32, show_spinner=False)
def _ordered_circuit(key: str, order: str, _scored: Result, _model: Model) -> Circuit:
    """All edges that may be chosen, the first chosen first."""
    connected = order == "connected"
    return Circuit.choose(_scored, _model, MOST_EDGES, connected=connected)


def _draw(swept: Patch, model: Model, under_way: bool) -> None:
    """The graph with its inspector, as far as the work is; another run of the page where that turns."""
    try:
        found = _run_jobs(swept, model, 0.0)
    except PatchwrightError as error:
        st.error(error_markdown(error))
        return
    if st.session_state.pop("zoomed", False) or under_way != (found.job is not None):
        st.rerun()
    size = int(st.session_state["edges"])
    if found.scored is None or found.circuit is None:
        graph, said = circuit_place.empty_graph(size, under_way), None
    else:
        chosen = st.session_state["edge_shown"] = _selected_part(found.circuit, model)
        graph = circuit_place.graph_data(found.circuit, size, found.scored, chosen)
        said = circuit_place.inspector_data(chosen, found.circuit, size, found.scored, swept, model)
    data = {
        "state": "rest" if found.job is None else "computing",
        "progress": None if found.job is None else _progress(found),
        "maps": [],
        "graph": graph,
        "inspector": said or {"place": "", "title": "Nothing to look at yet", "facts": []},
        "set": None,
    }
    # Both at once: a conclusion never stands above the graph of another size.
    st.html(_conclusion_html(found))
    workbench(data, "workbench", _ACTIONS)
    address_bar.write_in_fragment("circuit")


def _conclusion_html(found: _CircuitState) -> str:
    """One sentence: what the chosen edges keep; text, never markup."""
    text = "Stopped before the edges were scored."
    size = int(st.session_state["edges"])
    kept_edges = "1 edge keeps" if size == 1 else f"{size:,} edges keep"
    if found.job is not None:
        text = "Scoring all edges." if found.scored is None else f"Measuring what {kept_edges}."
    elif found.evaluated is not None and found.scored is not None:
        text = kept_sentence(found.evaluated, size, _n_edges(found.scored)).text
    elif found.scored is not None:
        text = f"Stopped: what {kept_edges} is not measured."
    return f'<div data-testid="conclusion"><strong>{sentence_html(text)}</strong></div>'


def _n_edges(scored: Result) -> int:
    return int(scored.array("edges").notnull().sum())


def _progress(found: _CircuitState) -> dict[str, Any]:
    """How far the work under way is."""
    assert found.job is not None, "asked of work under way"
    what = "passes" if found.scored is None else "circuits"
    share, said = progress.job_progress(found.job, job_queue().queue_position(found.job), what)
    stoppable = not (found.job.finished or found.job.stopping)
    return {"share": share, "said": said, "stoppable": stoppable}


def _selected_part(circuit: Circuit, model: Model) -> str:
    """The node or edge that was chosen, if the model has it; at first what writes the answer most."""
    chosen: str = st.session_state["edge_chosen"]
    usual = circuit.edges[0][0]
    if chosen and not circuit_place.is_in_model(chosen, model):
        st.warning(f"This model has no '{escape(chosen)}'. Shown is {node_name(usual)}.")
        return usual
    return chosen or usual


def _choose(chosen: Any) -> None:
    st.session_state["edge_chosen"] = str(chosen)


def _take_size(size: Any) -> None:
    st.session_state["edges"] = int(size)


def _go_to_tab(to: Any) -> None:
    """See the selected head on another tab."""
    now = st.session_state
    now.update(chosen=f"{now['edge_shown']}.z", go_to=str(to), zoomed=True)


_ACTIONS = {
    "zoom": _go_to_tab,
    "place": _choose,
    "edges": _take_size,
    "stop": lambda _: stop(SLOTS),
}


def _show_findings(found: _CircuitState, bar: topbar.Bar) -> None:
    """What follows from the scores: the curve, the checked estimates, all edges, and files."""
    scored, circuit, evaluated = found.scored, found.circuit, found.evaluated
    if found.timed_out:
        st.warning(progress.TOO_LONG)
    elif evaluated is None or is_stopped(evaluated.warnings):
        progress.show_rest_button(list(SLOTS))
    if scored is None or circuit is None:
        return
    messages = [
        *controls.warning_texts(scored),
        *(controls.warning_texts(evaluated) if evaluated else []),
    ]
    for message in dict.fromkeys(messages):
        st.warning(escape(message))
    left, right = st.columns(2, gap="medium")
    with left:
        if evaluated is not None:
            _show_curve(evaluated)
    with right:
        _show_estimate_check(scored)
    _show_edges(circuit, scored)
    if evaluated is not None:
        size = int(st.session_state["edges"])
        graph = circuit_drawing(circuit.edges[:size], circuit.scores[:size], scored)
        export.show(bar, evaluated, linked=scored, drawings=[graph, *drawings_of(evaluated)])


def _show_curve(evaluated: Result) -> None:
    """What circuits of every size keep, and the smallest that suffices."""
    size = int(st.session_state["edges"])
    if has_scale(evaluated) and bool(evaluated.array("faithfulness").notnull().any()):
        title = "**Share of the gap that circuits keep, by their number of edges**"
        st.markdown(title, help=escape(curve_help(evaluated)))
        st.altair_chart(circuit_curve(evaluated, size))
        _show_pruning(evaluated, size)


def curve_help(evaluated: Result) -> str:
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


def _show_pruning(evaluated: Result, size: int) -> None:
    """The smallest size that suffices, and a button that takes it."""
    left, middle, right = st.columns([1.2, 1.4, 2.4], vertical_alignment="bottom")
    fields.number_input(left, "Keep at least (%)", 1, 100, "edge_share", step=5)
    share = int(st.session_state["edge_share"]) / 100
    enough = smallest_size(evaluated, share)
    if enough is not None:
        middle.button(
            f"Prune to {enough:,} {noun(enough)}",
            on_click=_take_size,
            args=(enough,),
            key="prune",
            disabled=enough == size,
            width="stretch",
        )
    right.caption(escape(pruned_sentence(evaluated, share).text))


def _show_estimate_check(scored: Result) -> None:
    """The strongest edges' estimates against their exact effects."""
    frame = checked_rows(scored)
    if frame.empty:
        return
    metric = controls.METRIC_NAMES[scored.experiment["metric"]]
    st.markdown(
        "**Estimates against exact values**",
        help=f"The {len(frame)} edges with the strongest scores, each corrupted alone: the change of "
        f"the {escape(metric)}. On the dashed line estimate and exact value agree.",
    )
    st.altair_chart(estimates_chart(frame, metric))
    worst = disagreement_sentence(scored)
    if worst is not None:
        st.caption(escape(worst.text))


def checked_rows(scored: Result) -> pd.DataFrame:
    """The edges that were measured exactly, the strongest estimate first."""
    scores, exact = scored.array("edges"), circuit_place.exact_effects(scored)
    rows = [
        (edge_name(edge), float(scores.sel(sender=edge[0], receiver=edge[1])), value)
        for edge, value in exact.items()
    ]
    rows = sorted(rows, key=lambda row: -abs(row[1]))
    frame = pd.DataFrame(rows, columns=["edge", "estimate", "exact"])
    return frame.assign(difference=frame["estimate"] - frame["exact"])


def _show_edges(circuit: Circuit, scored: Result) -> None:
    """All chosen edges, and the circuit as a file."""
    size = int(st.session_state["edges"])
    all_edges, file = st.columns([5, 2])
    with all_edges.expander("The edges as a table"):
        left, right = st.columns(2, gap="medium")
        _show_table(left, f"Edges kept: {size:,}", edge_rows(circuit, size, scored))
        _show_table(right, "The edges that were measured exactly", checked_rows(scored))
    with file:
        file_button(
            "Save the circuit (JSON)",
            lambda: circuit.first(size).to_json(),
            "patchwright-circuit.json",
            "application/json",
            "take-circuit",
            width="stretch",
            help="Its edges and their scores; `patchwright circuit --circuit FILE` measures it again, on "
            "other prompts too.",
        )


def _show_table(place: DeltaGenerator, title: str, rows: pd.DataFrame) -> None:
    numbers = {name: st.column_config.NumberColumn(format="%.3f") for name in rows.columns[1:]}
    place.caption(title)
    place.dataframe(rows, column_config=numbers)


def edge_rows(circuit: Circuit, size: int, scored: Result) -> pd.DataFrame:
    """The first `size` edges by rank: estimates, and exact values where they were measured."""
    edges, exact = circuit.edges[:size], circuit_place.exact_effects(scored)
    table = pd.DataFrame(
        {
            "edge": [edge_name(edge) for edge in edges],
            "estimate": circuit.scores[:size],
            "exact": [exact.get(edge) for edge in edges],
        }
    )
    table.index += 1
    return table
