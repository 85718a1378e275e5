"""Golden: what the table says of a metric is so, and everything that takes a metric takes it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import patchwright as pw
from command import IOI, patchwright
from http_service import client_of
from patchwright.algorithms import readout
from patchwright.algorithms.metrics import LENS_METRICS, METRIC_TABLE
from patchwright.algorithms.pair_runs import run_pairs, stack_finals
from patchwright.algorithms.readout import logits as readout_logits
from patchwright.axes import METRICS, Metric
from patchwright.errors import AnswerError, ExperimentError
from patchwright.experiment.run import tokens_of
from patchwright.model.requests import BASE_SITES
from tiny import Splitting, pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])
WITHOUT_WRONG = pair_of([1, 2, 3, 4], [1, 5, 3, 4], wrong=[])
DOCUMENTED = Path(__file__).parents[1] / "docs" / "methods" / "README.md"


def test_the_table_has_each_metric_once_in_the_order_of_its_type() -> None:
    assert tuple(METRIC_TABLE) == METRICS
    assert all(row.name == name for name, row in METRIC_TABLE.items())
    assert len({row.phrase for row in METRIC_TABLE.values()}) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_has_a_unit_a_phrase_and_a_row_of_documentation(metric: Metric) -> None:
    row = METRIC_TABLE[metric]
    assert 0 < row.unit.min_gap < row.unit.small_gap
    assert row.phrase.startswith("the ")
    assert not row.phrase.endswith(".")
    rows = [line for line in DOCUMENTED.read_text(encoding="utf-8").splitlines() if "|" in line]
    assert [line for line in rows if f"`{metric}`" in line and f"| {row.unit.name} |" in line]


@pytest.mark.parametrize("metric", METRICS)
def test_the_command_line_offers_and_takes_a_metric(metric: Metric) -> None:
    said = patchwright("patch", "--help").stdout
    assert re.search(rf"\b{metric}\b", said)
    done = patchwright("patch", *IOI, "--metric", metric, "--experiment", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metric"] == metric


def test_the_http_interface_takes_exactly_the_metrics_of_the_table(model: pw.Model) -> None:
    with client_of(model) as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
    offered = [
        one["properties"]["metric"]["enum"]
        for one in schemas.values()
        if "enum" in one.get("properties", {}).get("metric", {})
    ]
    assert offered
    assert all(tuple(some) == METRICS for some in offered)


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_compares_with_a_wrong_answer_where_its_row_says_so(
    model: pw.Model, metric: Metric
) -> None:
    experiment = pw.Patch(
        model="tiny", pairs=WITHOUT_WRONG, site="embed", per="layer", metric=metric
    )
    if METRIC_TABLE[metric].needs_wrong:
        with pytest.raises(AnswerError, match="or choose logit, probability, logprob, kl or rank"):
            pw.run(experiment, model)
    else:
        assert pw.run(experiment, model).clean.logit_diff is None


@pytest.mark.parametrize("metric", METRICS)
def test_answers_of_several_tokens_have_a_metric_unless_its_row_says_no(
    model: pw.Model, metric: Metric
) -> None:
    splitting = replace(model, tokenizer=Splitting({" yes": [7, 30], " no": [11]}))
    pair = pw.Pair(clean=[1, 2, 3, 4], corrupt=[1, 5, 3, 4], answer=" yes", wrong=" no")

    def patched() -> pw.Result:
        return pw.patch(splitting, pair, "embed", "layer", metric=metric, bos=False)

    if METRIC_TABLE[metric].one_token:
        with pytest.raises(AnswerError, match="choose logprob or logprob_diff, which sum"):
            patched()
    else:
        assert patched().clean.answer_logit is None


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_has_a_gradient_unless_its_row_says_no(model: pw.Model, metric: Metric) -> None:
    if METRIC_TABLE[metric].differentiable:
        assert pw.attribute(model, PAIR, "z", metric=metric).effect.notnull().any()
    else:
        with pytest.raises(ExperimentError, match=f"'{metric}' has no gradient"):
            pw.attribute(model, PAIR, "z", metric=metric)


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_keeps_its_bounds(model: pw.Model, metric: Metric) -> None:
    likeliest = int(pw.patch(model, PAIR, "embed", "layer").clean.top[0]["id"])
    low, high = METRIC_TABLE[metric].bounds
    for answer, wrong in ((likeliest, 7), (7, likeliest)):
        pair = pair_of([1, 2, 3, 4], [1, 5, 3, 4], answer=answer, wrong=wrong)
        values = pw.patch(model, pair, "mlp_act", "position", metric=metric).patched
        assert low - 1e-12 <= values.min()
        assert values.max() <= high + 1e-12


@pytest.mark.parametrize("metric", METRICS)
def test_only_a_metric_of_few_logits_leaves_the_vocabulary_alone(
    model: pw.Model, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: list[bool] = []

    def logits(*given: Any, **more: Any) -> Tensor:
        tokens = given[2] if len(given) > 2 else more.get("tokens")
        whole.append(tokens is None)
        return readout_logits(*given, **more)

    monkeypatch.setattr(readout, "logits", logits)
    tokens = tokens_of(PAIR, pw.Patch(model="tiny", pairs=PAIR, per="layer"), model)
    runs = run_pairs(model.network, [tokens], BASE_SITES)[0]
    runs.reader.read(metric, stack_finals([runs.clean, runs.corrupt]))
    assert any(whole) != METRIC_TABLE[metric].few_logits


def test_the_lens_reads_the_metrics_that_have_a_label(model: pw.Model) -> None:
    labels = {name for name, row in METRIC_TABLE.items() if row.lens_label}
    assert labels == set(LENS_METRICS)
    assert (
        set(pw.logit_lens(model, PAIR).arrays) - {"top", "top_probability", "accumulated"} == labels
    )
