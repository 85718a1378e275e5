"""Planted models: what stands in their weights is what they compute, whatever the words."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import patchwright as pw
from command import patchwright
from hooks import activation, logits
from patchwright.errors import InputError, PromptError
from patchwright.model.catalog import CATALOG, is_planted
from patchwright.model.load import allowed_model_name
from patchwright.model.planted.builder import D_MODEL, GAIN, SHARP
from patchwright.model.planted.direction import DIRECTION, FEELINGS
from patchwright.model.planted.fact import CITIES
from patchwright.model.planted.name_mover import NAMES
from patchwright.model.planted.saturation import KINDS
from patchwright.model.planted.self_repair import DRINKS
from patchwright.model.planted.words import BOS, PROBE
from patchwright.prompts.examples import example
from planted_models import checkpoint_of, module_of
from timeouts import SECONDS

NAMED = [one.name for one in CATALOG if is_planted(one.name)]
MODULES = {name: module_of(name) for name in NAMED}
WORDS = {name: checkpoint_of(name).words for name in NAMED}

Counts = dict[str, float]
"""A logit for each word; 0 for all others."""


def mean_of(found: Sequence[str], each: float = 10.0) -> Counts:
    """What is copied of several words that are attended to alike."""
    return {word: each * found.count(word) / len(found) for word in found}


def induced(words: list[str]) -> Counts:
    after = [i for i in range(1, len(words)) if words[i - 1] == words[-1]]
    return mean_of([words[i] for i in after])


def moved(words: list[str]) -> Counts:
    names = [word for word in words if word in NAMES]
    return mean_of([word for word in names if word != names[-1]])


def looked_up(words: list[str]) -> Counts:
    return mean_of([CITIES[word] for word in words if word in CITIES])


def asked_for(words: list[str]) -> Counts:
    kinds = {kind for kind in words if kind in KINDS}
    return mean_of([word for word in words for kind in kinds if word in KINDS[kind]])


def repeated(words: list[str]) -> Counts:
    return mean_of([word for word in words if word in DRINKS])


def felt(words: list[str]) -> Counts:
    felt = [FEELINGS[word] for word in words if word in FEELINGS]
    mean = sum(felt) / len(felt) if felt else 0.0
    return {" good": 5 * mean, " bad": -5 * mean}


CLOSED_FORMS: dict[str, Callable[[list[str]], Counts]] = {
    "planted-induction": induced,
    "planted-name-mover": moved,
    "planted-fact": looked_up,
    "planted-saturation": asked_for,
    "planted-self-repair": repeated,
    "planted-direction": felt,
}


def tokens_of(name: str, words: Sequence[str]) -> list[int]:
    return [WORDS[name].index(word) for word in (BOS, *words)]


def clean_words(name: str) -> list[int]:
    """The tokens of the model's own clean prompt."""
    tokenizer = pw.load_model(name).tokenizer
    assert tokenizer is not None
    return [*tokenizer.bos_ids, *tokenizer.encode(str(example(name).pair.clean))[0]]


def test_every_planted_model_is_held_to_its_closed_form() -> None:
    assert set(CLOSED_FORMS) == set(NAMED)


@pytest.mark.parametrize("name", NAMED)
@given(data=st.data())
def test_the_logits_are_those_of_the_circuit_whatever_the_words(
    name: str, data: st.DataObject
) -> None:
    words = data.draw(st.lists(st.sampled_from(WORDS[name][1:]), min_size=1, max_size=12))
    if name == "planted-saturation" and len(set(words) & set(KINDS)) == 2:
        words = [word for word in words if word != " color"] or [" animal"]
    found = logits(MODULES[name], tokens_of(name, words))[-1]
    expected = CLOSED_FORMS[name](words)
    np.testing.assert_allclose(
        found, [expected.get(word, 0.0) for word in WORDS[name]], rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("name", NAMED)
def test_a_norm_only_shifts_what_it_reads_to_the_last_bit(name: str) -> None:
    module = module_of(name, torch.float32)
    seen: list[tuple[Tensor, Tensor]] = []

    def look(_norm: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((arguments[0], output))

    for norm in module.modules():
        if isinstance(norm, nn.LayerNorm):
            norm.register_forward_hook(look)
    logits(module, clean_words(name))
    assert len(seen) == 2 * module.config.n_layer + 1
    for x, normed in seen:
        assert (x[..., -1] == 0).all()
        assert torch.equal(normed - normed[..., -1:], x)


@given(data=st.data())
def test_the_previous_token_head_looks_at_the_position_before(data: st.DataObject) -> None:
    name = "planted-induction"
    words = data.draw(st.lists(st.sampled_from(WORDS[name][1:]), min_size=1, max_size=30))
    tokens = tokens_of(name, words)
    pattern = activation(MODULES[name], tokens, "pattern", 0)[:, 1]  # [query, key]
    np.testing.assert_allclose(pattern[1:], np.eye(len(tokens))[:-1], rtol=0, atol=1e-50)


def test_the_induction_head_looks_where_the_word_came_before() -> None:
    name = "planted-induction"
    words = "See| red| cup|,| blue| box|,| red".split("|")
    pattern = activation(MODULES[name], tokens_of(name, words), "pattern", 1)[:, 2]
    targets = [0, 0, 0, 0, 0, 0, 0, 5, 3]  # of each query: the first token where nothing is found
    np.testing.assert_allclose(pattern, np.eye(9)[targets], rtol=0, atol=1e-50)


def test_the_scores_of_saturated_attention_are_far_apart() -> None:
    name = "planted-saturation"
    tokens = clean_words(name)
    q, k = (activation(MODULES[name], tokens, site, 1)[:, 3] for site in ("q", "k"))
    scores = k @ q[-1] / 8
    color, animal = (
        tokens.index(WORDS[name].index(" black")),
        tokens.index(WORDS[name].index(" cat")),
    )
    assert float(scores[color] - scores[animal]) == pytest.approx(SHARP)


def test_the_direction_is_a_unit_vector_and_the_head_writes_nothing_else() -> None:
    assert float(DIRECTION.norm()) == 1
    name = "planted-direction"
    written = activation(MODULES[name], clean_words(name), "attn_out", 1)[-1]
    assert written.norm() == pytest.approx(2)
    assert int((written != 0).sum()) == DIRECTION.shape[1]


@pytest.mark.parametrize("name", NAMED)
def test_it_is_loaded_by_name_and_says_what_it_is(name: str) -> None:
    model = pw.load_model(name)
    entry = next(one for one in CATALOG if one.name == name)
    spec = model.spec
    assert (model.name, model.source, model.file) == (name, "planted", None)
    assert (spec.n_layers, spec.n_heads, spec.d_model) == (entry.layers, entry.heads, D_MODEL)
    parameters = sum(one.numel() for one in MODULES[name].parameters())
    assert parameters == pytest.approx(float(entry.parameters.split()[0]) * 1e6, rel=0.5)
    result = pw.patch(model, example(name).pair)
    assert (result.model["name"], result.model["source"]) == (name, "planted")
    assert "made in memory, not trained; its circuit is planted" in entry.note


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fingerprint_is_the_same_in_every_process_and_of_one_model_alone(
    dtype: str, tmp_path: Path
) -> None:
    code = (
        "import sys, patchwright as pw\n"
        f"for name in sys.argv[1:]: print(pw.load_model(name, dtype='{dtype}').fingerprint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *NAMED],
        check=True, timeout=SECONDS, text=True, capture_output=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    here = [pw.load_model(name, dtype=dtype).fingerprint for name in NAMED]
    assert done.stdout.split() == here
    assert len(set(here)) == len(NAMED)


def test_a_word_that_it_does_not_know_is_refused_with_those_that_it_knows() -> None:
    model = pw.load_model("planted-fact")
    pair = pw.Pair(clean="The Tower is in", corrupt="The Louvre is in", answer=" Paris")
    with pytest.raises(PromptError, match=r"knows only \. Athens .* The"):
        pw.patch(model, pair, metric="logit")


@given(words=st.lists(st.sampled_from([*WORDS["planted-name-mover"][1:], "x", "  ", "é", "\n"])))
def test_any_text_is_its_words_or_a_sentence(words: list[str]) -> None:
    tokenizer = pw.load_model("planted-name-mover").tokenizer
    assert tokenizer is not None
    text, known = "".join(words), WORDS["planted-name-mover"]
    if all(word in known for word in re.findall(r" ?(?:\w+|[^\w\s])|.", text, re.DOTALL)):
        ids, spans = tokenizer.encode(text)
        assert tokenizer.decode(list(ids)) == text
        assert spans is not None
        assert "".join(text[start:stop] for start, stop in spans) == text
    else:
        with pytest.raises(PromptError, match="knows only"):
            tokenizer.encode(text)


def test_a_planted_name_is_no_folder_of_a_visitor_and_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAMED[0]).mkdir()
    monkeypatch.chdir(tmp_path)
    assert allowed_model_name(NAMED[0], ()) == NAMED[0]
    assert pw.load_model(NAMED[0]).source == "planted"
    with pytest.raises(InputError, match="has no revision"):
        pw.load_model(NAMED[0], revision="main")
    assert "cannot be removed" in patchwright("models", "remove", NAMED[0]).stderr
    assert "is here already" in patchwright("models", "get", NAMED[0]).stdout


def test_what_begins_like_a_planted_name_and_is_none_is_a_name_of_the_hub() -> None:
    assert not is_planted("planted-nothing")
    assert {PROBE, BOS}.issubset(WORDS[NAMED[0]])
    assert MODULES[NAMED[0]].config.layer_norm_epsilon == GAIN**2
