"""Patch: two prompts, their runs, the heat map, and one place looked at closely."""

import math

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from patchwright.app import state
from patchwright.app.widgets.chips import chips_html
from patchwright.app.widgets.heat_map import heat_map
from patchwright.app.work import result_of
from patchwright.axes import DIRECTIONS
from patchwright.errors import PatchwrightError, UnequalLengthsError
from patchwright.experiment import Patch, tokens_of
from patchwright.figures.grid import Grid, grid_of, title_of
from patchwright.figures.interactive import pattern_chart, top_chart
from patchwright.methods.attention import attention
from patchwright.methods.batches import Progress
from patchwright.methods.metrics import METRICS
from patchwright.methods.result import Result
from patchwright.methods.suggest import same_length, suggested_answers
from patchwright.model.load import Model
from patchwright.places import SITE_MEANINGS, SITES, check_site, parse_place, pers_of
from patchwright.prompts.tokens import encode, encode_prompt, token_texts, visible


def show(model: Model) -> None:
    """The whole page, top to bottom; what is wrong is said in place of what follows."""
    st.header("Patch: copy activations from one run into the other", anchor=False)
    try:
        _prompts(model)
        _answers(model)
        experiment = state.experiment_of(st.session_state, model.name)
        tokens_of(state.pair_of(st.session_state), experiment, model)
    except UnequalLengthsError as error:
        st.error(str(error).split("\n", maxsplit=1)[0])
        _replacements(model)
        return
    except PatchwrightError as error:
        st.error(str(error))
        return
    baselines = st.container()
    experiment = _choices(model)
    try:
        result = _swept(experiment, model)
    except PatchwrightError as error:
        st.error(str(error))
        return
    with baselines:
        _baselines(result)
    for notice in result.warnings:
        st.warning(notice["message"])
    _map_and_place(experiment, result, model)


def _prompts(model: Model) -> None:
    """Both prompts side by side, each over its tokens."""
    names = {"clean": "Clean prompt", "corrupt": "Corrupted prompt"}
    columns = st.columns(2)
    for (key, name), column in zip(names.items(), columns, strict=True):
        column.text_area(name, key=key, height=80)
    texts = {
        key: token_texts(
            encode_prompt(st.session_state[key], model.tokenizer, True), model.tokenizer
        )
        for key in names
    }
    st.html(
        chips_html("Clean", texts["clean"], texts["corrupt"])
        + chips_html("Corrupted", texts["corrupt"], texts["clean"])
    )


def _answers(model: Model) -> None:
    """The answers, each with its tokens; or those that the two runs give."""
    columns = st.columns([3, 3, 2, 2], vertical_alignment="bottom")
    names = {"answer": "Answer", "wrong": "Wrong answer"}
    for (key, name), column in zip(names.items(), columns, strict=False):
        column.text_input(name, key=key, help="With its leading space; several are separated by |.")
    columns[2].button(
        "From the runs", help="Take what the model puts first after each prompt.",
        on_click=_take_answers, args=(model,), width="stretch",
    )  # fmt: skip
    columns[3].button(
        "Swap", help="Exchange the two prompts and their answers.",
        on_click=state.swap, args=(st.session_state,), width="stretch",
    )  # fmt: skip
    checks = [
        f"{name}: {_token_check(st.session_state[key], model)}" for key, name in names.items()
    ]
    st.caption("; ".join(checks))


def _token_check(text: str, model: Model) -> str:
    """How the answers split into tokens, in a line."""
    parts = [part for part in text.split(state.SEPARATOR) if part]
    split = [token_texts(encode(part, model.tokenizer), model.tokenizer) for part in parts]
    shown = [" ".join(f"`{visible(token)}`" for token in tokens) for tokens in split]
    counts = [f"{len(tokens)} token{'s' if len(tokens) > 1 else ''}" for tokens in split]
    return ", ".join(f"{a} ({b})" for a, b in zip(shown, counts, strict=True)) or "none yet"


def _take_answers(model: Model) -> None:
    prompts = [
        encode_prompt(st.session_state[key], model.tokenizer, True) for key in ("clean", "corrupt")
    ]
    answer, wrong = suggested_answers(model.network, prompts[0], prompts[1])
    texts = token_texts([answer, wrong], model.tokenizer)
    st.session_state["answer"], st.session_state["wrong"] = texts


def _replacements(model: Model) -> None:
    """Offer corrupted prompts that have as many tokens as the clean one."""
    clean, corrupt = (
        encode_prompt(st.session_state[key], model.tokenizer, True) for key in ("clean", "corrupt")
    )
    offered = same_length(model.network, clean, corrupt)
    if offered and model.tokenizer is not None:
        st.write("Corrupted prompts of the same length:")
    for i, tokens in enumerate(offered):
        shown = [
            token for token in tokens if token != getattr(model.tokenizer, "bos_token_id", None)
        ]
        text = "".join(token_texts(shown, model.tokenizer))
        st.button(text, key=f"same-{i}", on_click=_take_corrupt, args=(text,))
    st.button("Match only the common edges", on_click=_match_edges)


def _take_corrupt(text: str) -> None:
    st.session_state["corrupt"] = text


def _match_edges() -> None:
    st.session_state["align"] = "edges"


def _choices(model: Model) -> Patch:
    """What is patched, and how it is measured."""
    columns = st.columns(4)
    columns[0].selectbox(
        "Site", SITES, key="site", format_func=lambda site: f"{site}: {SITE_MEANINGS[site]}",
        on_change=state.take_usual_per, args=(st.session_state,),
    )  # fmt: skip
    pers = pers_of(check_site(st.session_state["site"]))
    if st.session_state["per"] not in pers:
        st.session_state["per"] = pers[0]
    columns[1].selectbox("One place is", pers, key="per", format_func=lambda per: _PER_NAMES[per])
    columns[2].selectbox(
        "Direction", DIRECTIONS, key="direction", format_func=lambda name: _DIRECTION_NAMES[name]
    )
    columns[3].selectbox("Metric", METRICS, key="metric")
    if st.session_state["per"] == "neuron":
        columns[1].number_input("Layer", 0, model.spec.n_layers - 1, key="neuron_layer")
    return state.experiment_of(st.session_state, model.name)


_PER_NAMES = {
    "position": "a position",
    "head": "a head, at all positions",
    "head_position": "a head at one position",
    "layer": "a layer, at all positions",
    "neuron": "a neuron, at all positions",
}
_DIRECTION_NAMES = {
    "denoise": "denoise: clean into corrupted (sufficient?)",
    "noise": "noise: corrupted into clean (necessary?)",
}


def _swept(experiment: Patch, model: Model) -> Result:
    """The sweep's result; long ones show how far they are."""
    place = st.empty()

    def progress(now: Progress) -> None:
        if now.done < now.total:
            place.progress(now.done / now.total, f"{now.done} of {now.total} cells")

    result = result_of(experiment, model, progress)
    place.empty()
    return result


def _baselines(result: Result) -> None:
    """Both unpatched runs and the gap between them."""
    metric = result.experiment["metric"]
    columns = st.columns(3)
    for column, name, baseline in zip(
        columns, ("Clean run", "Corrupted run"), (result.clean, result.corrupt), strict=False
    ):
        column.metric(f"{name}: {metric}", f"{baseline.metric:.3g}", help=_prediction(baseline.top))
    columns[2].metric("Gap", f"{result.clean.metric - result.corrupt.metric:.3g}")
    with st.expander("The ten likeliest next tokens of both runs", expanded=False):
        st.altair_chart(top_chart({"clean": result.clean, "corrupted": result.corrupt}))


def _prediction(top: list[dict[str, object]]) -> str:
    return "Likeliest next: " + ", ".join(f"`{visible(str(one['token']))}`" for one in top[:3])


def _map_and_place(experiment: Patch, result: Result, model: Model) -> None:
    """The heat map, and beside it the selected place (at first the strongest)."""
    grid = grid_of(result)
    strongest = str(result.top(1)["place"].iloc[0])
    chosen = st.session_state.get("chosen")
    selected = str(chosen) if any(chosen in row for row in grid.places) else strongest
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.markdown(f"#### {title_of(result)}")
        clicked = heat_map(grid, selected, key=f"map-{experiment.hash}")
        st.caption(_legend(grid))
    if clicked is not None and clicked != chosen:
        st.session_state["chosen"] = selected = clicked
    with right:
        _place(selected, experiment, result, model)


def _legend(grid: Grid) -> str:
    if grid.centred:
        return (
            "Each cell is one patched run: its effect is the share of the gap that the patch moved. "
            "0 (white) is nothing, 1 (red) all the way to the other run, below 0 (blue) away from it."
        )
    return f"Each cell is one patched run: its {grid.unit}. The gap is too small for effects."


def _place(place: str, experiment: Patch, result: Result, model: Model) -> None:
    """One place: a sentence, the three predictions, and its attention if it is a head."""
    one = result_of(state.together_of(experiment, [place]), model)
    assert one.altered is not None, "places patched together are one altered run"
    st.markdown(f"#### `{place}`")
    st.write(sentence(place, one))
    runs = {"clean": one.clean, "corrupted": one.corrupt, "patched": one.altered}
    if one.altered.wrong_logit is not None:
        logits = [
            f"{name} {run.answer_logit:.2f} / {run.wrong_logit:.2f}" for name, run in runs.items()
        ]
        st.caption(f"Logits of the answer / the wrong answer: {'; '.join(logits)}")
    st.altair_chart(top_chart(runs))
    st.button("Add to set", on_click=_add_to_set, args=(place,))
    parsed = parse_place(place)
    if parsed.head is not None and parsed.layer is not None:
        _attention(parsed.layer, parsed.head, experiment, model)
    _set(experiment, model, st.container())


def sentence(place: str, one: Result) -> str:
    """What patching a place did, with its numbers."""
    assert one.altered is not None, "places patched together are one altered run"
    done = one.experiment
    direction = "clean" if done["direction"] == "denoise" else "corrupted"
    moved = f"{one.base.metric:.2f} to {one.altered.metric:.2f}"
    effect = float(one.effect)
    share = "" if math.isnan(effect) else f", {effect:.0%} of the gap"
    first = visible(one.altered.top[0]["token"])
    return (
        f"With the {direction} run's `{place}` copied in, {done['metric']} goes from {moved}{share}; "
        f"the likeliest next token is then `{first}`."
    )


def _attention(layer: int, head: int, experiment: Patch, model: Model) -> None:
    pair = tokens_of(state.pair_of(st.session_state), experiment, model)
    if len(pair.clean) != len(pair.corrupt):
        return
    patterns = attention(model.network, pair, layer, head)
    st.caption(f"What head {layer}.{head} attends to: rows attend to columns")
    st.altair_chart(pattern_chart(patterns, pair.clean_texts, pair.corrupt_texts))


def _add_to_set(place: str) -> None:
    if place not in st.session_state["places"]:
        st.session_state["places"] = [*st.session_state["places"], place]


def _set(experiment: Patch, model: Model, at: DeltaGenerator) -> None:
    """The places collected so far, patched in one run."""
    places: list[str] = st.session_state["places"]
    if not places:
        return
    at.subheader("The set, patched together", anchor=False)
    at.write(", ".join(f"`{place}`" for place in places))
    try:
        joint = result_of(state.together_of(experiment, places), model)
    except PatchwrightError as error:
        at.error(str(error))
    else:
        effect = float(joint.effect)
        shown = "empty: the gap is too small" if math.isnan(effect) else f"{effect:.3f}"
        at.write(f"{experiment.metric} {float(joint.patched):.3g}, effect {shown}")
    at.button("Clear the set", on_click=_clear_set)


def _clear_set() -> None:
    st.session_state["places"] = []
