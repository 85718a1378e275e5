"""Charts for print: curves, bars, intervals, estimates against exact values."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from patchwright.algorithms.metrics import METRIC_TABLE
from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import has_scale, measure_label, nothing_moved
from patchwright.algorithms.statistics import (
    FALSE_DISCOVERY_RATE,
    STATISTIC_NAMES,
    Statistics,
    stored_statistics,
)
from patchwright.axes import Metric
from patchwright.errors import InputError
from patchwright.figures.grid import title_of
from patchwright.figures.sheet import (
    POINTS,
    TEXT,
    add_title,
    empty_figure,
    fit_height,
    print_settings,
    wrapped,
)
from patchwright.figures.style import BLUE, BROWN, DEFAULT_STYLE, GREY, RED, FigureStyle
from patchwright.spelling import percent, run_name

RUN_COLORS = {"clean": BLUE, "corrupt": RED, "patched": BROWN}
STRONGEST = 15
"""Places whose intervals are drawn."""

_ROW = 12.0
"""Points from one bar to the next."""


def draw_intervals(result: Result, style: FigureStyle = DEFAULT_STYLE) -> Figure:
    """The strongest places from the top down, with error bars; open dots do not differ from zero."""
    found = stored_statistics(result)
    if found is None:
        raise InputError(
            "The result has no statistics: put them on it with `statistics(result).on`."
        )
    if found.array == "effect" and not has_scale(result):
        raise InputError(
            f"The mean gap over the pairs ({baselines_text(result)}) is too small to rank places by their "
            "share of it, so there are no intervals to draw: choose pairs, answers or a metric on "
            "which the runs differ more."
        )
    frame = found.strongest(STRONGEST)
    rows = frame.to_dict("records")
    with print_settings():
        figure, axes = _new_chart(style, 1.5)
        for at, row in enumerate(rows):
            mean, low, high = (float(row[name]) for name in ("mean_effect", "low", "high"))
            face = BLUE if row["q_value"] <= FALSE_DISCOVERY_RATE else "white"
            axes.plot([low, high], [at, at], color=BLUE)
            axes.plot(mean, at, marker="o", color=BLUE, markerfacecolor=face, linestyle="none")
        labels = [name for name in frame.columns if name not in STATISTIC_NAMES]
        labels = ["place"] if "place" in labels else labels
        axes.set_yticks(
            range(len(rows)), [_cell_label({n: row[n] for n in labels}) for row in rows]
        )
        axes.invert_yaxis()
        axes.axvline(0, color="#444444", linewidth=0.6)
        what = measure_label(result) if found.array == "effect" else found.array
        label = f"{what}, {percent(found.level)} intervals over pairs"
        axes.set_xlabel(wrapped(label, TEXT, 0.75 * POINTS * style.width))
        if style.title:
            add_title(figure, title_of(result), open_circle_note(found))
        fit_height(figure, axes, _ROW * max(2, len(rows)))
    return figure


def _cell_label(cell: dict[str, object]) -> str:
    """'L9H6.z', or 'clean, layer 9, head 6'."""
    texts = [str(one) if isinstance(one, str) else f"{name} {one}" for name, one in cell.items()]
    return ", ".join(texts)


def open_circle_note(found: Statistics) -> str:
    """What an open circle means."""
    return (
        f"open circle: does not differ from zero over {int(found.pairs.max())} pairs (false discovery "
        f"rate {percent(FALSE_DISCOVERY_RATE)})"
    )


def draw_layer_lines(result: Result, style: FigureStyle = DEFAULT_STYLE) -> Figure:
    """The logit difference as each layer's output reads, at the last position; a line a run."""
    lines = result.array("accumulated")
    if "pair" in lines.dims:
        lines = lines.mean("pair")
    with print_settings():
        figure, axes = _new_chart(style)
        for run, color in RUN_COLORS.items():
            if run in lines["run"].values:
                values = lines.sel(run=run)
                axes.plot(values["layer"], values, color=color, marker="o", label=run_name(run))
        axes.axhline(0, color="#444444", linewidth=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("after layer")
        axes.set_ylabel("logit difference at the last token")
        axes.legend()
        if style.title:
            add_title(figure, "Logit difference by layer")
    return figure


def draw_scatter(result: Result, style: FigureStyle = DEFAULT_STYLE) -> Figure:
    """Each cell of an attribution: its exact value against its estimate."""
    exact, estimate = result.array("exact"), result.patched
    with print_settings():
        figure, axes = _new_chart(style, 0.8)
        axes.scatter(exact.values.ravel(), estimate.values.ravel(), s=6, color=BLUE, alpha=0.7)
        ends = [float(min(exact.min(), estimate.min())), float(max(exact.max(), estimate.max()))]
        axes.plot(ends, ends, color=GREY, linewidth=0.6)
        metric: Metric = result.experiment["metric"]
        axes.set_xlabel(f"{METRIC_TABLE[metric].label} after the patch, exact")
        axes.set_ylabel("estimate")
        said = agreement_text(result)
        if style.title or not said.startswith("correlation"):
            add_title(figure, said)
    return figure


def agreement_text(result: Result) -> str:
    """How far estimates agree with exact values."""
    found = result.details
    if nothing_moved(result):
        return "nothing moves: there are no strongest places to find"
    if "recall" not in found:
        return "stopped before anything could be compared"
    recall = f"{percent(found['recall'])} of the {found['most']} strongest found"
    return f"correlation {found.get('correlation', float('nan')):.2f}; {recall}"


def draw_curve(result: Result, style: FigureStyle = DEFAULT_STYLE) -> Figure:
    """Faithfulness against size: the circuit, its complement, and random circuits."""
    known = has_scale(result)
    kept, complement, random = (
        result.array(name).where(known) for name in ("faithfulness", "complement", "random")
    )
    with print_settings():
        figure, axes = _new_chart(style)
        sizes = kept["size"].values
        for sample in random.transpose("sample", "size").values:
            axes.plot(sizes, sample, color="#999999", linewidth=0.6, label="random")
        axes.plot(sizes, complement, color=RED, label="all but the circuit")
        axes.plot(sizes, kept, color=BLUE, marker="o", label="circuit")
        axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter("{x:,.0f}")  # Matplotlib's own would be formulas.
        axes.axhline(0, color="#444444", linewidth=0.6)
        axes.axhline(1, color="#444444", linewidth=0.6, linestyle=":")
        axes.set_xlabel("edges")
        axes.set_ylabel("share of the gap kept")
        lines, names = axes.get_legend_handles_labels()
        unique = dict(zip(names, lines, strict=True))
        axes.legend(unique.values(), unique.keys())
        said = area_text(result)
        if style.title:
            add_title(figure, title_of(result), said)
        elif said.startswith("no area"):
            add_title(figure, said)
    return figure


def area_text(result: Result) -> str:
    """The area under the curve of a circuit, or why there is none."""
    if not has_scale(result):
        return "no area: the gap is too small to share out"
    if "area" not in result.details:
        return "no area: nothing was measured"
    return f"area under the circuit's curve {result.details['area']:.2f}"


def draw_bars(result: Result, style: FigureStyle = DEFAULT_STYLE) -> Figure:
    """The metric of the clean, the corrupted and the patched run, for places taken together."""
    done = result.experiment
    changed = "ablated" if "ablation" in done else "patched"
    values = [result.clean.metric, float(result.patched.mean()), result.corrupt.metric]
    with print_settings():
        figure, axes = _new_chart(style, 1.0)
        bars = axes.barh(["clean", changed, "corrupted"], values, color=[BLUE, GREY, RED])
        axes.bar_label(bars, fmt=lambda value: f"{value:.3g}".replace("-", "−"), padding=2)
        axes.margins(x=0.18)
        axes.axvline(0, color="#444444", linewidth=0.6)
        axes.invert_yaxis()
        metric: Metric = done["metric"]
        axes.set_xlabel(METRIC_TABLE[metric].label)
        if style.title:
            add_title(figure, title_of(result))
        fit_height(figure, axes, 3 * 1.4 * _ROW)
    return figure


def baselines_text(result: Result) -> str:
    """The metric of both unpatched runs."""
    metric: Metric = result.experiment["metric"]
    other = "noisy" if "prompt" in result.experiment else "corrupted"
    runs = f"clean {result.clean.metric:.3g}, {other} {result.corrupt.metric:.3g}"
    return f"{METRIC_TABLE[metric].label}: {runs}".replace(" -", " −")


def _new_chart(style: FigureStyle, high: float = 0.62) -> tuple[Figure, Axes]:
    """A figure of one chart, so `high` for its width, and at most as high as a third of a page."""
    figure = empty_figure(style, min(high * style.width, 3.4))
    return figure, figure.add_subplot()
