"""Causal tracing against hooks that add the same noise and restore one place at a time."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedModel

import patchwright as pw
from hooks import Step, activation, changed_logits, embedding_of, logits
from patchwright.algorithms.tracing import TraceOptions, TraceStart, trace
from patchwright.axes import BUDGET
from patchwright.errors import ExperimentError, MemoryBudgetError, PromptError
from patchwright.model.edits import Edit
from patchwright.model.forward import forward
from patchwright.model.requests import patched_row
from patchwright.places import Site
from patchwright.prompts.pair import tokenize_prompt
from slow_patching import writing
from tiny import CONTEXT, N_LAYERS, VOCAB, WIDTH

PROMPT, SUBJECT, ANSWER, SAMPLES = [3, 8, 21, 5, 30], (1, 2), 7, 3


def traced_by_hooks(
    module: PreTrainedModel, site: Site, window: int, seed: int, sever: Site | None
) -> NDArray[np.float64]:
    """[sample, layer, position]: the paper's loop, one run a cell and sample."""
    embeddings = embedding_of(module, [PROMPT[i] for i in SUBJECT])
    sigma = embeddings.std().item()
    drawn = np.random.default_rng(seed).standard_normal((SAMPLES, len(SUBJECT), WIDTH))
    values = np.empty((SAMPLES, N_LAYERS, len(PROMPT)))
    cells = product(range(SAMPLES), range(N_LAYERS), range(len(PROMPT)))
    for sample, layer, position in cells:

        def noisy(live: Tensor, sample: int = sample) -> None:
            live[list(SUBJECT)] += torch.from_numpy(drawn[sample] * 3.0 * sigma)

        window_layers = [
            one
            for one in range(layer - window // 2, layer - window // 2 + window)
            if 0 <= one < N_LAYERS
        ]
        noise: list[Step] = [("embed", 0, noisy)]
        steps = [*noise]
        for one in window_layers:
            good = activation(module, PROMPT, site, one)
            steps.append(writing(pw.Place(site, one, position=position), good))
        if sever is not None:
            for one in range(N_LAYERS):
                bad = activation(module, PROMPT, sever, one, noise)
                steps.append(writing(pw.Place(sever, one, position=position), bad))
        shares = changed_logits(module, PROMPT, steps)[-1].softmax(-1)
        values[sample, layer, position] = shares[ANSWER].item()
    return values


@pytest.mark.every_family
@pytest.mark.parametrize(
    ("site", "window", "sever"),
    [
        *(("resid_post", 1, None), ("mlp_out", 1, None), ("attn_out", 2, None)),
        *(("mlp_out", 3, None), ("resid_post", 1, "mlp_out"), ("resid_post", 1, "attn_out")),
    ],
)
def test_tracing_equals_hooks(
    module: PreTrainedModel, model: pw.Model, site: Site, window: int, sever: Site | None
) -> None:
    result = pw.trace(
        *(model, PROMPT, SUBJECT, ANSWER),
        site=site, window=window, sever=sever, samples=SAMPLES, seed=5, bos=False,
    )  # fmt: skip
    expected = traced_by_hooks(module, site, window, 5, sever)
    np.testing.assert_allclose(result.arrays["samples"], expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.patched, expected.mean(axis=0), rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.arrays["spread"], expected.std(axis=0, ddof=1), atol=1e-9)


def test_the_mlps_can_be_severed_by_their_short_name(model: pw.Model) -> None:
    short, long = (
        pw.trace(model, PROMPT, SUBJECT, ANSWER, samples=2, sever=name, bos=False)
        for name in ("mlp", "mlp_out")
    )
    np.testing.assert_array_equal(short.patched, long.patched)
    assert short.experiment == long.experiment
    assert short.experiment["sever"] == "mlp_out"


@pytest.mark.every_family
def test_the_result_says_what_noise_was_used(module: PreTrainedModel, model: pw.Model) -> None:
    result = pw.trace(model, PROMPT, SUBJECT, ANSWER, samples=2, bos=False)
    embeddings = embedding_of(module, [8, 21])
    assert result.details["sigma"] == pytest.approx(embeddings.std().item(), abs=1e-12)
    assert result.details["subject"] == [1, 2]
    assert result.experiment["noise"] == 3.0
    assert len(result.corrupt.pairs) == 2
    assert result.corrupt.metric == pytest.approx(
        np.mean([one.metric for one in result.corrupt.pairs])
    )


@pytest.mark.parametrize("answer", [" Rome", " a zebra"])
def test_samples_that_do_not_fit_at_one_time_are_traced_in_turn(
    monkeypatch: pytest.MonkeyPatch, demo: pw.Model, answer: str
) -> None:
    """As many noisy runs at a time as the budget has room for; the same noise, the same values."""
    sizes: list[int] = []
    really = TraceStart.noisy_runs

    def counted(start: TraceStart, draw: np.random.Generator, samples: int) -> Any:
        sizes.append(samples)
        return really(start, draw, samples)

    monkeypatch.setattr(TraceStart, "noisy_runs", counted)
    told: list[int] = []
    asked = demo, "The Eiffel Tower is in", "Eiffel Tower", answer
    how: Any = {"samples": 30, "site": "mlp_out", "seed": 4}
    at_once = pw.trace(*asked, **how)
    assert sizes == [30]
    in_turn = pw.trace(
        *asked, **how, budget=6 * 2**20, progress=lambda now: told.append(now.done)
    )  # fmt: skip
    assert len(sizes) >= 3
    assert sum(sizes) == 60
    assert told == sorted(told)
    assert told[-1] == at_once.arrays["samples"].size
    for name in ("samples", "spread"):
        np.testing.assert_allclose(in_turn.arrays[name], at_once.arrays[name], rtol=0, atol=1e-6)
    assert [one.probability for one in in_turn.corrupt.pairs] == pytest.approx(
        [one.probability for one in at_once.corrupt.pairs], abs=1e-6
    )


def test_a_stop_between_the_samples_gives_means_over_those_that_are_whole(model: pw.Model) -> None:
    asked: Any = model, PROMPT, SUBJECT, ANSWER
    result = pw.trace(
        *asked, samples=40, bos=False,
        budget=400_000, progress=lambda now: now.done < now.total // 2,
    )  # fmt: skip
    of = result.arrays["samples"]
    whole = [i for i in range(40) if bool(of.sel(sample=i).notnull().all())]
    assert 0 < len(whole) < 40
    mean = of.sel(sample=whole).mean("sample")
    np.testing.assert_allclose(result.patched, mean, rtol=0, atol=1e-12)
    assert len(result.corrupt.pairs) == len(whole)
    said = [notice["message"] for notice in result.warnings if notice["code"] == "stopped"]
    assert said == [f"Stopped after {len(whole)} of 40 samples: means are over these."]
    early = pw.trace(*asked, samples=40, bos=False, budget=400_000, progress=lambda _: False)
    assert bool(early.patched.isnull().all())
    assert len(early.corrupt.pairs) == 40


@pytest.mark.parametrize("samples", [10**6, 10**30])
def test_more_samples_than_the_memory_holds_are_refused(model: pw.Model, samples: int) -> None:
    with pytest.raises(MemoryBudgetError, match=r"samples take .* draw fewer samples"):
        pw.trace(model, PROMPT, SUBJECT, ANSWER, samples=samples, bos=False)


@pytest.mark.parametrize("noise", [1e200, float("inf")])
def test_noise_without_measure_is_not_called_a_fault_of_the_weights(
    model: pw.Model, noise: float
) -> None:
    with pytest.raises(ExperimentError, match=r"A noise of .* give a smaller multiple"):
        pw.trace(model, PROMPT, SUBJECT, ANSWER, noise=noise, bos=False)


def test_without_noise_everything_is_the_clean_run(gpt2: GPT2LMHeadModel, model: pw.Model) -> None:
    result = pw.trace(model, PROMPT, SUBJECT, ANSWER, noise=0.0, samples=2, bos=False)
    clean = logits(gpt2, PROMPT)[-1].softmax(-1)[ANSWER].item()
    np.testing.assert_allclose(result.patched, clean, rtol=0, atol=1e-12)
    assert bool(result.effect.isnull().all())
    assert "flat_gap" in [notice["code"] for notice in result.warnings]


PROMPTS = st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=6)


@settings(max_examples=10)
@given(prompt=PROMPTS, data=st.data())
def test_without_noise_every_trace_is_the_clean_run(
    gpt2: GPT2LMHeadModel, model: pw.Model, prompt: list[int], data: st.DataObject
) -> None:
    site, sever = data.draw(
        st.sampled_from(
            [
                *(("resid_post", None), ("mlp_out", None), ("attn_out", "mlp")),
                *(("resid_post", "mlp"), ("resid_post", "attn_out"), ("mlp_out", "attn_out")),
            ]
        )
    )
    subject = data.draw(subjects(prompt))
    window = data.draw(st.integers(1, N_LAYERS))
    result = pw.trace(
        *(model, prompt, subject, ANSWER),
        noise=0.0, samples=1, site=site, sever=sever, window=window, bos=False,
    )  # fmt: skip
    clean = logits(gpt2, prompt)[-1].softmax(-1)[ANSWER].item()
    np.testing.assert_allclose(result.patched, clean, rtol=0, atol=1e-12)


def subjects(prompt: list[int]) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(prompt) - 1), min_size=1, max_size=4, unique=True)


@settings(max_examples=10)
@given(prompt=PROMPTS, data=st.data(), noise=st.floats(0.1, 10), seed=st.integers(0, 99))
def test_restoring_every_position_of_the_first_layers_input_gives_the_clean_run_back(
    gpt2: GPT2LMHeadModel,
    model: pw.Model,
    prompt: list[int],
    data: st.DataObject,
    noise: float,
    seed: int,
) -> None:
    subject = data.draw(subjects(prompt))
    tokens = tokenize_prompt(
        *(prompt, ANSWER, (), None), n_vocab=VOCAB, n_context=CONTEXT, bos=False
    )  # fmt: skip
    how = TraceOptions("resid_post", "logit", noise, 2, seed), tuple(sorted(subject))
    found = trace(model.network, tokens, *how, None, BUDGET)
    clean = found.clean[0].kept["resid_pre"][0]
    draw = np.random.default_rng(seed)
    with_noise = TraceStart.from_prompt(model.network, tokens, *how, BUDGET).noisy_runs(draw, 2)
    rows = [patched_row(some[0], Edit("resid_pre", 0, 0, clean)) for some in with_noise]
    expected = activation(gpt2, prompt, "resid_post", N_LAYERS - 1)[-1]
    for noisy, restored in zip(with_noise, forward(model.network, rows), strict=True):
        assert not torch.equal(noisy[0].kept["resid_pre"][0], clean)
        torch.testing.assert_close(restored.final[-1], expected, rtol=0, atol=1e-9)


@settings(max_examples=10)
@given(prompt=PROMPTS, noise=st.floats(0.1, 10), seed=st.integers(0, 99))
def test_restoring_the_stream_where_alone_there_was_noise_gives_the_clean_run_back(
    model: pw.Model, prompt: list[int], noise: float, seed: int
) -> None:
    # Nothing after the last position has read what the noise did there.
    result = pw.trace(
        *(model, prompt, [len(prompt) - 1], ANSWER),
        noise=noise, seed=seed, samples=2, bos=False,
    )  # fmt: skip
    restored = result.arrays["samples"].sel(position=len(prompt) - 1)
    np.testing.assert_allclose(restored, result.clean.metric, rtol=0, atol=1e-12)


def test_restoring_the_whole_depth_at_the_last_position_gives_the_clean_answer(
    model: pw.Model,
) -> None:
    result = pw.trace(model, PROMPT, SUBJECT, ANSWER, samples=2, bos=False)
    last = result.patched.sel(layer=N_LAYERS - 1, position=len(PROMPT) - 1)
    assert float(last) == pytest.approx(result.clean.metric, abs=1e-12)


def test_places_left_of_the_subject_are_the_noisy_run_exactly(model: pw.Model) -> None:
    result = pw.trace(model, PROMPT, SUBJECT, ANSWER, samples=2, bos=False)
    noisy = [one.metric for one in result.corrupt.pairs]
    for sample, value in enumerate(noisy):
        left = result.arrays["samples"].sel(sample=sample, position=0)
        np.testing.assert_allclose(left, value, rtol=0, atol=1e-14)


def test_an_answer_of_several_tokens_can_be_traced(demo: pw.Model) -> None:
    result = pw.trace(
        demo, "The capital of Iceland is", "Iceland", " Reykjavik", metric="logprob", samples=2
    )
    assert result.patched.shape == (6, 6)
    assert result.clean.metric > result.corrupt.metric


def test_a_stopped_trace_keeps_what_is_finished(model: pw.Model) -> None:
    result = pw.trace(
        *(model, PROMPT, SUBJECT, ANSWER),
        samples=2, bos=False, budget=60_000, progress=lambda now: now.done < 20,
    )  # fmt: skip
    assert "stopped" in [notice["code"] for notice in result.warnings]
    assert 0 < int(result.patched.notnull().sum()) < result.patched.size


def test_the_subject_is_found_in_the_tokens(demo: pw.Model) -> None:
    def subject(text: str, occurrence: int = 1) -> list[int]:
        prompt = "Tom says the Eiffel Tower is in Rome. Really, the Eiffel Tower is in"
        result = pw.trace(demo, prompt, text, " Paris", samples=1, noise=1.0, occurrence=occurrence)
        texts = result.tokens["clean"]
        return [position for position in result.details["subject"] if texts[position]]

    first, second = subject("Eiffel Tower"), subject("Eiffel Tower", 2)
    assert len(first) == len(second) == 2
    assert second[0] > first[1]
    assert subject("Eif") == first[:1]


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"subject": "Berlin"}, PromptError, "is not in the prompt"),
        ({"subject": ""}, PromptError, "is not in the prompt"),
        ({"subject": "Tower", "occurrence": 2}, PromptError, "stands 1 times"),
        ({"subject": [9]}, PromptError, "0-5"),
        ({"subject": []}, PromptError, "no positions"),
        ({"window": 7}, ExperimentError, "Choose 1-6"),
        ({"window": 0}, ExperimentError, "Choose 1-6"),
        ({"noise": -1.0}, ExperimentError, "0 or more"),
        ({"noise": float("nan")}, ExperimentError, "0 or more"),
        ({"samples": 0}, ExperimentError, "at least 1"),
        ({"site": "z"}, ExperimentError, "'resid_post', 'mlp_out' or 'attn_out'"),
        ({"sever": "q"}, ExperimentError, "'mlp_out' or 'attn_out'"),
        ({"site": "mlp_out", "sever": "mlp_out"}, ExperimentError, "at once"),
        ({"site": "mlp_out", "sever": "mlp"}, ExperimentError, "at once"),
        ({"prompt": ""}, PromptError, "empty"),
    ],
)
def test_what_cannot_be_traced_is_refused(
    demo: pw.Model, changes: dict[str, object], error: type[Exception], says: str
) -> None:
    given = {"prompt": "The Eiffel Tower is in", "subject": "Eiffel Tower", "answer": " Paris"}
    with pytest.raises(error, match=says):
        pw.trace(demo, **{**given, **changes})  # pyright: ignore[reportArgumentType]
