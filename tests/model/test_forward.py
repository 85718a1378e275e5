"""The engine against plain hooks on the Hugging Face model."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

import hooks
import patchwright as pw
from families import FAMILIES, VARIANTS, variant
from patchwright.algorithms.readout import logits
from patchwright.model.edits import Edit
from patchwright.model.forward import forward
from patchwright.model.requests import BASE_SITES, Row, Run, patched_row
from patchwright.model.spec import ModelSpec
from patchwright.places import HEAD_SITES, SITES, Site, n_heads_of
from tiny import N_LAYERS, VOCAB, WIDTH, random_gpt2, token_pairs

CLEAN, CORRUPT = [49, 3, 8, 8, 21, 5, 30], [49, 3, 9, 8, 22, 5, 30]


def base_run(model: pw.Model, tokens: list[int], keep: frozenset[Site]) -> Run:
    return forward(model.network, [Row(tuple(tokens), len(tokens) - 1)], keep)[0]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_site_of_a_full_run_equals_the_hugging_face_model(name: str) -> None:
    module = variant(name)
    model = pw.wrap_model(module)
    run = base_run(model, CLEAN, BASE_SITES | frozenset(model.spec.sites))
    for site in model.spec.sites:
        for layer in range(1 if site == "embed" else N_LAYERS):
            expected = hooks.activation(module, CLEAN, site, layer)
            torch.testing.assert_close(run.kept[site][layer], expected, rtol=0, atol=1e-12)
    expected = hooks.logits(module, CLEAN)[-1:]
    torch.testing.assert_close(logits(model.network, run.final), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", VARIANTS)
def test_an_untouched_float32_model_is_met_to_a_ten_thousandth(name: str) -> None:
    module = variant(name, dtype=torch.float32)
    model = pw.wrap_model(module)
    run = forward(model.network, [Row(tuple(CLEAN), 0)])[0]
    with torch.no_grad():
        expected = module(torch.tensor([CLEAN])).logits[0]
    torch.testing.assert_close(logits(model.network, run.final), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["mistral as it is", "qwen2 as it is", "a window of one"])
def test_a_window_moves_the_numbers_of_prompts_that_are_longer(name: str) -> None:
    """The windows of these models are shorter than the prompt that all are compared on."""
    family, changes = VARIANTS[name]
    whole = {"sliding_window": None} if family == "mistral" else {"use_sliding_window": False}
    one, other = (
        base_run(pw.wrap_model(FAMILIES[family](seed=1, **settings)), CLEAN, frozenset()).final
        for settings in (changes, changes | whole)
    )
    assert (one - other).abs().max() > 1e-3


@pytest.mark.every_family
@pytest.mark.parametrize("part", range(len(CLEAN)))
def test_a_run_over_anothers_prefix_equals_a_run_from_nothing(model: pw.Model, part: int) -> None:
    other = [*CLEAN[:part], *((token + 1) % VOCAB for token in CLEAN[part:])]
    sites = BASE_SITES | frozenset(model.spec.sites)
    base = base_run(model, CLEAN, sites)
    row = Row(tuple(other), len(other) - 1, base)
    over, alone = forward(model.network, [row], sites)[0], base_run(model, other, sites)
    torch.testing.assert_close(over.final, alone.final, rtol=0, atol=1e-12)
    for site in sites:
        for mine, theirs in zip(over.kept[site], alone.kept[site], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
            assert torch.equal(mine[:part], base.kept[site][0][:part]) or site != "embed"


@st.composite
def edits(
    draw: st.DrawFn, spec: ModelSpec, length: int
) -> tuple[Site, int, int, int, int | None, bool, int]:
    site = draw(st.sampled_from(spec.sites))
    layer = 0 if site == "embed" else draw(st.integers(0, N_LAYERS - 1))
    start = draw(st.integers(0, length - 1))
    stop = draw(st.integers(start + 1, length))
    heads = n_heads_of(site, spec) if site in HEAD_SITES else None
    size = spec.d_mlp if site == "mlp_act" else heads
    index = None if size is None else draw(st.none() | st.integers(0, size - 1))
    return site, layer, start, stop, index, draw(st.booleans()), draw(st.integers(0, 99))


def as_edit(like: Tensor, drawn: tuple[Site, int, int, int, int | None, bool, int]) -> Edit:
    site, layer, start, stop, index, add, seed = drawn
    shape = like[start:stop] if index is None else like[start:stop, index]
    value = torch.randn(shape.shape, generator=torch.Generator().manual_seed(seed)).to(like.dtype)
    return Edit(site, layer, start, value, index, add)


def as_change(edit: Edit) -> tuple[str, int, hooks.Change]:
    def change(live: Tensor) -> None:
        part = live[edit.start : edit.stop]
        part = part if edit.index is None else part[:, edit.index]
        part.copy_(part + edit.value if edit.add else edit.value)

    return edit.site, edit.layer, change


@pytest.mark.every_family
@given(data=st.data(), prompts=token_pairs())
def test_any_edits_in_one_batch_equal_hooks_one_row_at_a_time(
    module: PreTrainedModel,
    model: pw.Model,
    data: st.DataObject,
    prompts: tuple[list[int], list[int]],
) -> None:
    tokens = prompts[0]
    read = data.draw(st.integers(0, len(tokens) - 1))
    keep = BASE_SITES | frozenset(model.spec.sites)
    base = forward(model.network, [Row(tuple(tokens), read)], keep)[0]
    drawn = data.draw(
        st.lists(st.lists(edits(model.spec, len(tokens)), max_size=3), min_size=1, max_size=6)
    )
    rows = [[as_edit(base.kept[one[0]][one[1]], one) for one in some] for some in drawn]
    finished = forward(model.network, [patched_row(base, *some) for some in rows])
    for run, some in zip(finished, rows, strict=True):
        expected = hooks.changed_logits(module, tokens, [as_change(edit) for edit in some])[read:]
        found = logits(model.network, run.final)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.every_family
@given(data=st.data(), prompts=token_pairs())
def test_any_edits_over_several_bases_in_one_batch_equal_each_row_alone(
    module: PreTrainedModel,
    model: pw.Model,
    data: st.DataObject,
    prompts: tuple[list[int], list[int]],
) -> None:
    """Rows that differ in the same stretch form one group, whatever they lie over."""
    whole = BASE_SITES | frozenset(model.spec.sites)
    tokens = [*prompts, prompts[0][: len(prompts[0]) // 2 + 1]]
    bases = [
        forward(model.network, [Row(tuple(one), data.draw(st.integers(0, len(one) - 1)))], whole)[0]
        for one in tokens
    ]
    kept = [one for base in bases for layers in base.kept.values() for one in layers]
    before = [one.clone() for one in kept]
    drawn = data.draw(
        st.lists(
            st.integers(0, len(bases) - 1).flatmap(
                lambda i: st.tuples(
                    st.just(i), st.lists(edits(model.spec, len(tokens[i])), max_size=2)
                )
            ),
            min_size=2,
            max_size=8,
        )
    )
    rows = [
        patched_row(bases[i], *(as_edit(bases[i].kept[one[0]][one[1]], one) for one in some))
        for i, some in drawn
    ]
    keep = data.draw(st.sampled_from([frozenset[Site](), BASE_SITES, whole]))
    finished = forward(model.network, rows, keep)
    for row, (i, _), run in zip(rows, drawn, finished, strict=True):
        expected = hooks.changed_logits(module, tokens[i], [as_change(one) for one in row.edits])
        found = logits(model.network, run.final)
        torch.testing.assert_close(found, expected[row.read :], rtol=0, atol=1e-10)
        alone = forward(model.network, [row], keep)[0]
        for site in keep:
            for mine, theirs in zip(run.kept[site], alone.kept[site], strict=True):
                torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)
    assert all(map(torch.equal, kept, before))


@pytest.mark.every_family
@settings(max_examples=40)
@given(
    data=st.data(),
    prompts=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=2, max_size=6),
)
def test_rows_over_bases_under_way_equal_runs_from_nothing(
    model: pw.Model, data: st.DataObject, prompts: list[list[int]]
) -> None:
    """Of a few tokens only, so that prompts share beginnings, or are one another's beginning."""
    rows: list[Row] = []
    for tokens in prompts:
        based = [row for row in rows if row.base is None and row.tokens != tuple(tokens)]
        base = data.draw(st.sampled_from([None, *based])) if based else None
        rows.append(Row(tuple(tokens), len(tokens) - 1, base))
    for row, run in zip(rows, forward(model.network, rows, BASE_SITES), strict=True):
        alone = base_run(model, list(row.tokens), BASE_SITES)
        torch.testing.assert_close(run.final, alone.final, rtol=0, atol=1e-12)
        for site in BASE_SITES:
            for mine, theirs in zip(run.kept[site], alone.kept[site], strict=True):
                torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


@pytest.mark.every_family
def test_keeping_activations_of_an_edited_run_gives_those_of_the_hooked_run(
    module: PreTrainedModel, model: pw.Model
) -> None:
    sites = BASE_SITES | frozenset(model.spec.sites)
    base = base_run(model, CLEAN, sites)
    edit = Edit("z", 1, 3, base.kept["z"][1][3:5, 2] * 2, index=2)
    run = forward(model.network, [patched_row(base, edit)], sites)[0]
    site, layer, change = as_change(edit)
    with hooks.at_site(module, site, layer, change):
        for kept in model.spec.sites:
            for at in range(1 if kept == "embed" else N_LAYERS):
                if (kept, at) == (site, layer):
                    continue
                expected = hooks.activation(module, CLEAN, kept, at)
                torch.testing.assert_close(run.kept[kept][at], expected, rtol=0, atol=1e-11)


@pytest.mark.every_family
def test_rows_over_different_bases_and_lengths_share_a_batch(model: pw.Model) -> None:
    bases = [base_run(model, tokens, BASE_SITES) for tokens in (CLEAN, CORRUPT, CLEAN[:4])]
    rows = [
        patched_row(base, Edit("resid_pre", layer, position, torch.ones(1, WIDTH).double()))
        for layer in range(N_LAYERS)
        for base in bases
        for position in (0, 3)
    ]
    together = forward(model.network, rows)
    for row, run in zip(rows, together, strict=True):
        alone = forward(model.network, [row])[0]
        torch.testing.assert_close(run.final, alone.final, rtol=0, atol=1e-12)


@pytest.mark.every_family
@pytest.mark.parametrize("site", SITES)
def test_writing_a_runs_own_activations_changes_nothing(model: pw.Model, site: Site) -> None:
    base = base_run(model, CLEAN, BASE_SITES | frozenset(model.spec.sites))
    for layer in range(1 if site == "embed" else N_LAYERS):
        run = forward(
            model.network, [patched_row(base, Edit(site, layer, 0, base.kept[site][layer]))]
        )
        torch.testing.assert_close(run[0].final, base.final, rtol=0, atol=1e-12)


def test_an_edited_run_leaves_base_and_weights_as_they_were(model: pw.Model) -> None:
    base = base_run(model, CLEAN, frozenset(SITES))
    before = {site: [tensor.clone() for tensor in base.kept[site]] for site in SITES}
    values = {site: torch.zeros_like(base.kept[site][0]) for site in SITES}
    mark = pw.wrap_model(random_gpt2(seed=0), name="tiny").fingerprint
    forward(model.network, [patched_row(base, Edit(site, 0, 0, values[site])) for site in SITES])
    for site in SITES:
        for kept, saved in zip(base.kept[site], before[site], strict=True):
            assert torch.equal(kept, saved)
    assert model.fingerprint == mark
