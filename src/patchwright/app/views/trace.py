"""Trace: noise on the subject ruins the answer; which clean activations bring it back?"""

from collections import Counter
from dataclasses import replace
from typing import Any, cast, get_args

import numpy as np
import pandas as pd
import streamlit as st

from patchwright.app import state
from patchwright.app.jobs import Job
from patchwright.app.text import plain, token
from patchwright.app.views import pair, side, taken
from patchwright.app.widgets.heat_map import heat_map
from patchwright.app.work import check_trace_size, desk, jobs_of
from patchwright.errors import PatchwrightError, PromptError
from patchwright.experiment import Trace
from patchwright.figures.grid import Grid, grid_of, on_one_scale
from patchwright.figures.interactive import samples_chart
from patchwright.methods.metrics import METRICS, NEEDS_WRONG
from patchwright.methods.result import Result
from patchwright.methods.suggest import likeliest
from patchwright.methods.tracing import Sever, TraceSite
from patchwright.model.load import Model
from patchwright.places import parse_place
from patchwright.prompts.tokens import encode_prompt, token_texts, visible

SITES: tuple[TraceSite, ...] = get_args(TraceSite)
SLOTS = tuple(f"trace-{site}" for site in SITES)
SITE_NAMES = {"resid_post": "Hidden state", "mlp_out": "MLP", "attn_out": "Attention"}
RESTORED = {"resid_post": "hidden state", "mlp_out": "MLP output", "attn_out": "attention output"}
SEVER_NAMES = {
    "nothing": "nothing",
    "mlp_out": "the MLPs (mlp_out)",
    "attn_out": "attention (attn_out)",
}


def show() -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    model = side.shown()
    if model is None:
        return
    st.header("Trace", anchor=False)
    st.caption(
        "Where does the model look up what it knows about a subject? Noise on the subject's tokens "
        "ruins the answer; then one clean activation at a time is put back, to see which brings it "
        "back (causal tracing)."
    )
    try:
        texts = _prompt(model)
        _subject(texts, model)
        _answers(model)
        _choices()
        _traced(_experiments(texts, model), model)
    except PatchwrightError as error:
        st.error(plain(str(error)))


def _prompt(model: Model) -> tuple[str, ...]:
    """The prompt's field; its tokens' texts."""
    st.text_area("Prompt", key="clean", height=80, max_chars=pair.MOST_CHARACTERS)
    return _texts("clean", model)


def _texts(key: str, model: Model) -> tuple[str, ...]:
    ids = encode_prompt(st.session_state[key], model.tokenizer, True)
    return token_texts(ids, model.tokenizer)


def _subject(texts: tuple[str, ...], model: Model) -> None:
    """The chips that the subject is chosen by."""
    try:
        other = _texts("corrupt", model)
    except PromptError:
        other = texts
    first = _first(model)
    complaint = state.settle_subject(st.session_state, texts, other, first)
    if complaint is not None:
        st.warning(complaint)
    st.pills(
        "Subject", range(first, len(texts)), key="subject", selection_mode="multi",
        format_func=lambda position: f"{token(texts[position])} :small[{position}]",
        on_change=_note_choice,
        help="The tokens that the noise falls on: what the prompt is about. Click a token to add it "
        "or take it out. The number is its position.",
    )  # fmt: skip


def _first(model: Model) -> int:
    """The first position that the subject may have: behind the beginning-of-text token."""
    ids = encode_prompt(st.session_state["clean"], model.tokenizer, True)
    return 1 if ids[0] == getattr(model.tokenizer, "bos_token_id", None) else 0


def _note_choice() -> None:
    st.session_state["subject_cleared"] = not st.session_state["subject"]
    st.session_state["subject_complaint"] = None


def _answers(model: Model) -> None:
    """The answer, and the wrong one where the metric compares with it."""
    needs_wrong = st.session_state["trace_metric"] in NEEDS_WRONG
    keys = ("answer", "wrong") if needs_wrong else ("answer",)
    columns = st.columns([3, 3, 2] if needs_wrong else [3, 2, 3], vertical_alignment="bottom")
    pair.answer_fields(keys, columns)
    columns[len(keys)].button(
        "Answer from the run", help="Take what the model puts first after the prompt.",
        on_click=_take_answer, args=(model,), width="stretch",
    )  # fmt: skip
    pair.answer_tokens(model, keys)


def _take_answer(model: Model) -> None:
    try:
        ids = encode_prompt(st.session_state["clean"], model.tokenizer, True)
        found = token_texts(likeliest(model.network, ids, 2), model.tokenizer)
    except PatchwrightError:
        return  # The page says what is wrong with the prompt.
    st.session_state["answer"], st.session_state["wrong"] = found


def _choices() -> None:
    """How much noise, how much is restored at a time, and how it is measured."""
    first, second = st.columns(3), st.columns(3)
    low, high = state.BOUNDS["noise"]
    first[0].number_input(
        "Noise", low, high, key="noise", step=0.5, format="%g",
        help="In multiples of σ, the standard deviation of the subject tokens' embeddings. The "
        "paper uses 3. Too little leaves the answer standing, then there is nothing to bring back.",
    )  # fmt: skip
    first[1].number_input(
        "Samples", *_whole("samples"), key="samples",
        help="How often the noise is drawn. Every place is tried with the same samples; effects "
        "are means over them.",
    )  # fmt: skip
    second[0].number_input(
        "Window", *_whole("window"), key="window",
        help="How many layers around each are restored at once in the MLP and attention panels. A "
        "window inflates effects: look at single layers first. The hidden state is always restored "
        "at one layer, which holds all that went before.",
    )  # fmt: skip
    first[2].number_input(
        "Seed", *_whole("seed"), key="seed", help="The same seed draws the same noise."
    )
    second[1].selectbox(
        "Sever", ("nothing", *get_args(Sever)), key="sever", format_func=lambda name: SEVER_NAMES[name],
        help="What is held at its noisy values at the restored position, in every layer. If a place "
        "brings back less with the MLPs severed, its effect went by way of them.",
    )  # fmt: skip
    second[2].selectbox(
        "Metric", METRICS, key="trace_metric",
        help="The paper traces the probability of the answer. logit_diff compares with a wrong "
        "answer.",
    )  # fmt: skip


def _whole(name: str) -> tuple[int, int]:
    low, high = state.BOUNDS[name]
    return int(low), int(high)


def _experiments(texts: tuple[str, ...], model: Model) -> list[Trace]:
    """One trace a site. Raises InputError where nothing can be traced."""
    if not st.session_state["subject"]:
        raise PromptError(
            "No subject is chosen: click the tokens that name what the prompt is about, above."
        )
    check_trace_size(len(texts), int(st.session_state["samples"]), model)
    return [state.trace_of(st.session_state, model.name, site) for site in SITES]


def _traced(experiments: list[Trace], model: Model) -> None:
    """The three traces: finished, or as far as they are."""
    jobs = jobs_of(dict(zip(SLOTS, experiments, strict=True)), model)
    for job in jobs:
        if job.error is not None:
            raise job.error
    if not all(job.over for job in jobs):
        _under_way(experiments, model)
        return
    _finished(results_of(jobs))


def results_of(jobs: list[Job]) -> dict[TraceSite, Result]:
    """The results that are there, by site."""
    return {site: job.result for site, job in zip(SITES, jobs, strict=True) if job.result}


@st.fragment(run_every=0.4)
def _under_way(experiments: list[Trace], model: Model) -> None:
    """The panels that are finished, how far the others are, and Stop."""
    jobs = jobs_of(dict(zip(SLOTS, experiments, strict=True)), model)
    if all(job.over for job in jobs) or any(job.error for job in jobs):
        st.rerun()
    stopping = all(job.over or job.stopping for job in jobs)
    st.button(
        "Stop", on_click=_stop, args=(jobs,), disabled=stopping, key="stop",
        help="Keeps what is finished.",
    )  # fmt: skip
    done = results_of(jobs)
    grids = dict(zip(done, grids_of_sites(done), strict=True))
    for site, job, column in zip(SITES, jobs, st.columns(3, gap="medium"), strict=True):
        with column:
            if site in grids:
                _panel(grids[site], f"so-far-{site}")
            else:
                st.markdown(f"**{SITE_NAMES[site]}**")
                st.progress(*how_far(job, desk().ahead_of(job)))


def _stop(jobs: list[Job]) -> None:
    for job in jobs:
        job.stop()


def how_far(job: Job, ahead: int) -> tuple[float, str]:
    """The share of a trace that is done, and a line about it; `ahead` jobs wait before it."""
    now, left = job.progress, job.seconds_left
    if now is None:
        waits = f"Waiting: {ahead} before it" if ahead else "Waiting for its turn"
        return 0.0, "Running the prompt with noise" if job.running else waits
    time = "" if left is None else f", about {left:.0f} s left"
    return now.done / now.total, f"{now.done:,} of {now.total:,} runs{time}"


def grids_of_sites(results: dict[TraceSite, Result]) -> list[Grid]:
    """The panels of finished traces, by site, on one scale, each with its window in its title."""
    grids = [replace(grid_of(one), title=panel_title(one)) for one in results.values()]
    return on_one_scale(grids) if grids else []


def panel_title(result: Result) -> str:
    """What a panel restores, and of how many layers at once."""
    done = result.experiment
    window = "single layers" if done["window"] == 1 else f"window of {done['window']} layers"
    return f"{SITE_NAMES[done['site']]}: {done['site']}, {window}"


def _panel(grid: Grid, key: str, selected: str = "", clickable: bool = False) -> None:
    name, what = grid.title.split(": ")
    st.markdown(f"**{name}**")
    st.caption(plain(what))
    heat_map(grid, key, selected, _choose if clickable else None)


def _choose(chosen: str) -> None:
    st.session_state["trace_chosen"] = chosen


def _finished(results: dict[TraceSite, Result]) -> None:
    """Baselines, the three panels, and the selected place (at first the strongest MLP)."""
    _baselines(results["resid_post"])
    for text in warnings_of(results):
        st.warning(plain(text))
    if any(_stopped(one) for one in results.values()):
        st.button("Compute the rest", on_click=_start_again)
    site, chosen = place_shown(st.session_state["trace_chosen"], results)
    grids = grids_of_sites(results)
    for one, grid, column in zip(results, grids, st.columns(3, gap="medium"), strict=True):
        with column:
            _panel(grid, f"map-{one}", chosen, clickable=True)
    st.caption(legend(results["resid_post"], grids[0]))
    st.divider()
    _place(chosen, results[site])
    taken.away(results[site])
    st.caption(
        f"The files hold the panel of the selected cell, {SITE_NAMES[site]}: select a cell of "
        "another panel to take that one away."
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
        "Total effect", f"{result.clean.metric - result.corrupt.metric:.3g}",
        help="Clean minus noisy: what the noise took away, and what effects are shares of.",
    )  # fmt: skip
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
            stopped = notice["code"] == "stopped"
            found[f"{SITE_NAMES[site]}: {notice['message']}" if stopped else notice["message"]] = (
                None
            )
    return list(found)


def _stopped(result: Result) -> bool:
    return any(notice["code"] == "stopped" for notice in result.warnings)


def _start_again() -> None:
    for slot in SLOTS:
        desk().forget(st.session_state.pop(slot))


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
        severed = f" Severed, except in its own panel: {plain(held)}."
    noise = (
        f"Noise: {done['noise']:g} × σ on {_subject_text(result)}, where σ = "
        f"{result.details['sigma']:.3g} is the standard deviation of these tokens' embeddings; "
        f"{_samples(done['samples'])}, seed {done['seed']}.{severed}"
    )
    if not grid.centred:
        return f"{noise} Each cell is the {plain(done['metric'])} with that place restored."
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
    effect = float(result.effect.sel(cell))
    share = "" if np.isnan(effect) else f", **{effect:.0%}** of what the noise took away"
    window = f" in a window of {done['window']} layers" if done["window"] > 1 else ""
    severed = f" and {plain(done['sever'])} severed" if done["sever"] else ""
    over = (
        f" on average over {_samples(done['samples'])} (standard deviation {spread:.2g})"
        if done["samples"] > 1
        else " in the one sample"
    )
    return (
        f"With the clean {RESTORED[done['site']]} of layer {place.layer}{window} put back at **{text}**{severed}, {plain(done['metric'])} goes "
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
