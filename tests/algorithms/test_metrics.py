import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from patchwright.algorithms.metrics import check_metric
from patchwright.axes import METRICS
from patchwright.errors import ExperimentError
from tiny import VOCAB, pair_of

CLEAN, CORRUPT = [1, 2, 3, 4], [1, 5, 3, 4]
token = st.integers(0, VOCAB - 1)


def final_logits(model: pw.Model, prompt: list[int]) -> torch.Tensor:
    from patchwright.algorithms.readout import logits
    from patchwright.model.forward import forward
    from patchwright.model.requests import Row

    return logits(model.network, forward(model.network, [Row(tuple(prompt), 3)])[0].final[0])


@given(st.lists(token, min_size=2, max_size=6, unique=True), st.integers(1, 5))
def test_baselines_are_the_formulas(model: pw.Model, chosen: list[int], cut: int) -> None:
    answers, wrongs = chosen[: min(cut, len(chosen) - 1)], chosen[min(cut, len(chosen) - 1) :]
    pair = pair_of(CLEAN, CORRUPT, answer=answers, wrong=wrongs)
    values = final_logits(model, CLEAN)
    shares = values.softmax(-1)
    best = max(values[answers]).item()
    expected = {
        "logit_diff": (values[answers].mean() - values[wrongs].mean()).item(),
        "logit": values[answers].mean().item(),
        "probability": shares[answers].sum().item(),
        "prob_diff": (shares[answers].sum() - shares[wrongs].sum()).item(),
        "logprob": shares[answers].sum().log().item(),
        "logprob_diff": (shares[answers].sum().log() - shares[wrongs].sum().log()).item(),
        "kl": 0.0,
        "rank": 1.0 + int((values > best).sum()),
    }
    assert expected.keys() == set(METRICS)
    for metric, value in expected.items():
        result = pw.patch(model, pair, "mlp_out", "layer", metric=metric, layers=[0])
        assert result.clean.metric == pytest.approx(value, abs=1e-9), metric
        assert result.clean.answer_logit == pytest.approx(expected["logit"], abs=1e-9)
        assert result.clean.wrong_logit == pytest.approx(values[wrongs].mean().item(), abs=1e-9)


def test_kl_is_that_of_the_clean_run_from_the_other_in_nats(model: pw.Model) -> None:
    clean, corrupt = (final_logits(model, prompt).log_softmax(-1) for prompt in (CLEAN, CORRUPT))
    expected = (clean.exp() * (clean - corrupt)).sum().item()
    result = pw.patch(model, pair_of(CLEAN, CORRUPT), metric="kl", layers=[0])
    assert result.corrupt.metric == pytest.approx(expected, abs=1e-9)
    assert expected > 0


def test_an_unknown_metric_is_refused_with_those_there_are() -> None:
    with pytest.raises(ExperimentError, match="logit_diff, logit, probability"):
        check_metric("accuracy")
