import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

import patchwright as pw
from hooks import activation
from patchwright.errors import AnswerError
from slow_patching import writing
from tiny import N_LAYERS, pair_of

CLEAN, CORRUPT = [3, 8, 21, 5], [3, 9, 22, 5]
PAIR = pair_of(CLEAN, CORRUPT)


def read(gpt2: GPT2LMHeadModel, resid: torch.Tensor) -> torch.Tensor:
    """[position, vocab] of a residual stream taken for the last."""
    with torch.no_grad():
        return gpt2.lm_head(gpt2.transformer.ln_f(resid))


def check(found: pw.Result, run: str, layer: int, values: torch.Tensor) -> None:
    shares = values.softmax(-1)
    expected = {
        "logit_diff": values[:, 7] - values[:, 11],
        "probability": shares[:, 7],
        "rank": 1.0 + (values > values[:, 7:8]).sum(-1),
        "top_probability": shares.max(-1).values,
    }
    for name, column in expected.items():
        lens = found.arrays[name].sel(run=run, layer=layer)
        np.testing.assert_allclose(lens, column, rtol=0, atol=1e-9)
    tops = [f"[{token}]" for token in values.argmax(-1).tolist()]
    assert found.arrays["top"].sel(run=run, layer=layer).values.tolist() == tops


def test_every_layer_and_position_equals_the_unembedding_of_the_hooked_stream(
    gpt2: GPT2LMHeadModel, model: pw.Model
) -> None:
    result = pw.logit_lens(model, PAIR, bos=False)
    for run, prompt in (("clean", CLEAN), ("corrupt", CORRUPT)):
        for layer in range(N_LAYERS):
            resid = activation(gpt2, prompt, "resid_post", layer)
            check(result, run, layer, read(gpt2, resid))


@pytest.mark.parametrize("patched", range(N_LAYERS))
def test_a_patched_run_is_read_too(gpt2: GPT2LMHeadModel, model: pw.Model, patched: int) -> None:
    result = pw.logit_lens(model, PAIR, [f"L{patched}.mlp_out@2"], bos=False)
    source = activation(gpt2, CLEAN, "mlp_out", patched)
    copy = writing(pw.Place("mlp_out", patched, position=2), source)
    for layer in range(N_LAYERS):
        resid = activation(gpt2, CORRUPT, "resid_post", layer, [copy])
        check(result, "patched", layer, read(gpt2, resid))


def test_the_last_layer_is_the_models_own_prediction(model: pw.Model) -> None:
    result = pw.logit_lens(model, PAIR, ["L0.resid_pre@1"], bos=False)
    last = result.arrays["accumulated"].sel(layer=N_LAYERS - 1)
    assert float(last.sel(run="clean")) == pytest.approx(result.clean.logit_diff, abs=1e-9)
    assert float(last.sel(run="corrupt")) == pytest.approx(result.corrupt.logit_diff, abs=1e-9)
    patched = pw.patch_together(model, PAIR, ["L0.resid_pre@1"], bos=False)
    assert float(last.sel(run="patched")) == pytest.approx(float(patched.patched), abs=1e-9)


def test_unequal_prompts_are_read_at_their_own_last_positions(model: pw.Model) -> None:
    pair = pair_of([1, 2, 6, 3], [1, 4, 3], align="edges")
    result = pw.logit_lens(model, pair, bos=False)
    assert result.arrays["probability"].sel(run="corrupt", position=3).isnull().all()
    last = result.arrays["accumulated"].sel(layer=N_LAYERS - 1, run="corrupt")
    assert float(last) == pytest.approx(result.corrupt.logit_diff, abs=1e-9)


@pytest.mark.parametrize("places", [(), ("L1.mlp_out@2", "L0H1.z")])
def test_what_is_reached_after_each_layer_is_had_alone(
    model: pw.Model, places: tuple[str, ...]
) -> None:
    pair = pair_of([1, 2, 6, 3], [1, 4, 3], align="edges")
    found = pw.LogitLens(model="tiny", pairs=pair, places=places).accumulated_logit_diff(model)
    whole = pw.logit_lens(model, pair, places)
    assert found is not None
    assert found.identical(whole.arrays["accumulated"])
    ends = {"clean": len(whole.tokens["clean"]) - 1, "corrupt": len(whole.tokens["corrupt"]) - 1}
    for run in whole.arrays["accumulated"].run.values:
        column = whole.arrays["logit_diff"].sel(run=run, position=ends.get(run, ends["corrupt"]))
        np.testing.assert_allclose(found.sel(run=run), column, rtol=0, atol=1e-12)
    alone = pair_of(CLEAN, CORRUPT, wrong=[])
    assert (
        pw.LogitLens(model="tiny", pairs=alone, metric="logit").accumulated_logit_diff(model)
        is None
    )


def test_numbers_and_words_survive_json(
    model: pw.Model, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lens") / "lens.json"
    result = pw.logit_lens(model, PAIR, bos=False)
    result.to_json(path)
    assert pw.load_result(path).document() == result.document()


def test_an_answer_of_several_tokens_is_refused(demo: pw.Model) -> None:
    pair = pw.Pair(clean="The capital of Iceland is", corrupt="The capital of Norway is",
                   answer=" Reykjavik", wrong=" Oslo")  # fmt: skip
    with pytest.raises(AnswerError, match="several tokens"):
        pw.logit_lens(demo, pair)
