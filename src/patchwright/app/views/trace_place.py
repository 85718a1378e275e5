"""What a trace says of one place, and of its noisy runs: words and numbers, and the samples."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from patchwright.algorithms.result import Result
from patchwright.algorithms.scale import usable_effect
from patchwright.algorithms.tracing import window_around
from patchwright.app import build_experiment
from patchwright.app.views import controls, inspector
from patchwright.errors import PatchwrightError
from patchwright.figures.altair_charts import samples_chart
from patchwright.model.load import Model
from patchwright.places import Place, parse_place
from patchwright.prompts.tokens import visible
from patchwright.spelling import percent

RESTORED = {"resid_post": "hidden state", "mlp_out": "MLP output", "attn_out": "attention output"}


def inspector_data(chosen: str, result: Result, model: Model) -> inspector.Json:
    """A place for the inspector: where restoring it leads to between the noisy runs and the clean one."""
    place, (after, _) = parse_place(chosen), metric_and_spread(chosen, result)
    noisy, clean, answer = result.corrupt, result.clean, answer_label(result)
    runs: list[inspector.Json] = [{"name": "A with noise", "tokens": [(answer, noisy.probability)]}]
    if result.experiment["metric"] == "probability" and np.isfinite(after):
        runs.append({"name": "this restored", "tokens": [(answer, after)], "strong": True})
    runs.append({"name": "A", "tokens": inspector.likeliest_tokens(clean)})
    return {
        "place": chosen,
        "title": inspector.place_title(place, result),
        "sentence": sentence(chosen, result),
        "ruler": inspector.ruler_data("clean", "noisy", noisy.metric, clean.metric, after),
        "runs": runs,
        "facts": facts(chosen, result, model),
    }


def metric_and_spread(chosen: str, result: Result) -> tuple[float, float]:
    """The metric where a place is restored, mean and spread over the samples; NaN: not computed."""
    where = cell_coordinates(chosen)
    return float(result.patched.sel(where)), float(result.array("spread").sel(where))


def cell_coordinates(chosen: str) -> dict[str, Any]:
    """Where the arrays of a trace have a place."""
    place = parse_place(chosen)
    return {"layer": place.layer, "position": place.position}


def answer_label(result: Result) -> str:
    """The answer whose probability is told of each run; of several it is their sum."""
    given = result.experiment["answer"]
    return visible(str(given[0])) if len(given) == 1 else "the answers"


def sentence(chosen: str, result: Result) -> str:
    """What restoring a place did, with its numbers."""
    place, done = parse_place(chosen), result.experiment
    text = visible(str(result.tokens["clean"][place.position or 0]))
    after, spread = metric_and_spread(chosen, result)
    if np.isnan(after):
        return controls.NOT_COMPUTED
    if (place.position or 0) < min(result.details["subject"]):
        return (
            f"{text} stands before the subject, and attention looks only back: the noise never "
            "reaches this place, and restoring it changes nothing."
        )
    effect = float(usable_effect(result).sel(cell_coordinates(chosen)))
    share = "" if np.isnan(effect) else f": {percent(effect)} of what the noise took away"
    window = f" in a window of {done['window']} layers" if done["window"] > 1 else ""
    severed = f" and {done['sever']} severed" if done["sever"] else ""
    over = (
        f" on average over {samples_text(done['samples'])} (standard deviation {spread:.2g})"
        if done["samples"] > 1
        else " in the one sample"
    )
    return (
        f"With the clean {RESTORED[done['site']]} of layer {place.layer}{window} put back at "
        f"{text}{severed}, the {controls.METRIC_NAMES[done['metric']]} goes from {result.corrupt.metric:.3g} to "
        f"{after:.3g}{over}{share}."
    )


def samples_text(count: int) -> str:
    """So many draws of the noise, in words."""
    return "1 sample" if count == 1 else f"{count} samples"


def facts(chosen: str, result: Result, model: Model) -> list[inspector.Fact]:
    """What is restored, how far the samples lie apart, what noisy runs say, and other methods."""
    place, done = parse_place(chosen), result.experiment
    window = window_around(place.layer or 0, done["window"], model.spec.n_layers)
    layers = "this layer alone" if len(window) == 1 else f"layers {window[0]} to {window[-1]}"
    told: list[inspector.Fact] = [("restored at once", layers)]
    values = result.array("samples").sel(cell_coordinates(chosen)).values
    if len(values) > 1 and np.isfinite(values).all():
        told.append(("over the samples", f"from {values.min():.3g} to {values.max():.3g}"))
    runs = result.corrupt.pairs
    who = "the noisy run says" if len(runs) == 1 else f"the {len(runs)} noisy runs say"
    return [*told, (who, noisy_answers(result)), *_other_facts(place, model)]


def _other_facts(place: Place, model: Model) -> list[inspector.Fact]:
    """What the place does when it is patched or ablated, where there is a pair to ask."""
    try:
        swept = build_experiment.patch_of(st.session_state, model.name)
    except PatchwrightError:
        return []
    return [
        *inspector.copy_facts(place, swept, model),
        *inspector.ablation_facts(place, swept, model),
    ]


def noisy_answers(result: Result) -> str:
    """What the noisy runs put first, and how many of them."""
    firsts = Counter(str(one.top[0]["token"]) for one in result.corrupt.pairs).most_common()
    counts = [f"{visible(text)} ({count})" for text, count in firsts[:3]]
    if others := sum(count for _, count in firsts[3:]):
        counts.append(f"other tokens ({others})")
    return ", ".join(counts)


def is_noise_too_weak(result: Result) -> bool:
    """Whether most noisy runs say what the clean one says."""
    first, runs = result.clean.top[0]["token"], result.corrupt.pairs
    return 2 * sum(one.top[0]["token"] == first for one in runs) > len(runs)


def show_details(chosen: str, result: Result) -> None:
    """Each sample before and after a place is restored, and what the runs predict."""
    values = result.array("samples").sel(cell_coordinates(chosen)).values
    if np.isfinite(values).all():
        noisy = [one.metric for one in result.corrupt.pairs]
        metric = str(result.experiment["metric"])
        with st.expander("Each sample of the noise, without and with this place restored"):
            left, right = st.columns([3, 2], gap="medium")
            left.altair_chart(samples_chart(noisy, values.tolist(), result.clean.metric, metric))
            table = {"sample": range(len(noisy)), "noisy": noisy, "restored": values}
            height = min(38 + 35 * len(noisy), 390)
            right.dataframe(pd.DataFrame(table).round(4), hide_index=True, height=height)
    with st.expander("What the clean and the noisy runs predict"):
        st.dataframe(predictions_table(result), hide_index=True, height="content")


def predictions_table(result: Result) -> pd.DataFrame:
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
