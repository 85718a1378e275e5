"""Path patching against two passes of plain hooks."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

import patchwright as pw
from hooks import (
    activation,
    changed_logits,
    final_norm,
    logits,
    norm_scale,
    norms_frozen,
    scale_behind_attention,
)
from patchwright.errors import ExperimentError, UnequalLengthsError, UnknownPlaceError
from patchwright.figures.grid import note_of, title_of
from patchwright.places import Place, Site, parse_place
from slow_patching import metric_of, writing
from tiny import N_HEADS, N_LAYERS, pair_of, random_gpt2, token_pairs

CLEAN, CORRUPT = [3, 8, 21, 5], [3, 9, 22, 5]
PAIR = pair_of(CLEAN, CORRUPT)


def on_the_way(
    module: PreTrainedModel, into: list[int], norms: str
) -> AbstractContextManager[None]:
    return norms_frozen(module, into) if norms == "freeze" else nullcontext()


def by_hooks(
    module: PreTrainedModel,
    sender: Place,
    receivers: Sequence[str],
    mlps: str,
    direction: str,
    norms: str = "recompute",
) -> float:
    into, out_of = (CORRUPT, CLEAN) if direction == "denoise" else (CLEAN, CORRUPT)
    site, layer = sender.site, sender.layer or 0
    steps = [writing(sender, activation(module, out_of, site, layer))]
    above = 0 if site == "embed" else layer + 1
    for one in range(above, N_LAYERS):
        steps.append(writing(Place("z", one), activation(module, into, "z", one)))
    if mlps == "freeze":
        first = above if site in ("mlp_out", "embed") else layer
        for one in range(first, N_LAYERS):
            if f"L{one}.mlp_out" not in receivers:
                own = activation(module, into, "mlp_out", one)
                steps.append(writing(Place("mlp_out", one), own))
    if list(receivers) != ["logits"]:
        places = [parse_place(text) for text in receivers]
        with on_the_way(module, into, norms):
            steps = [
                writing(one, activation(module, into, one.site, one.layer or 0, steps))
                for one in places
            ]
        norms = "recompute"
    with on_the_way(module, into, norms):
        last = changed_logits(module, into, steps)[-1]
    return (last[7] - last[11]).item()


RECEIVERS = [
    ["logits"],
    ["L2H1.q"],
    ["L2H0.k", "L2H1.v@-1"],
    ["L1.mlp_out"],
    ["L2.mlp_out", "L2H1.v"],
]


@pytest.mark.every_family
@pytest.mark.parametrize("receivers", RECEIVERS, ids=" ".join)
@pytest.mark.parametrize("mlps", ["recompute", "freeze"])
@pytest.mark.parametrize("norms", ["recompute", "freeze"])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_every_sending_head_equals_hooks(
    module: PreTrainedModel,
    model: pw.Model,
    receivers: list[str],
    mlps: str,
    norms: str,
    direction: str,
) -> None:
    result = pw.path_patch(
        model, PAIR, receivers, direction=direction, mlps=mlps, norms=norms, bos=False
    )
    highest = max((parse_place(one).layer or 0 for one in receivers if one != "logits"), default=9)
    for layer in range(N_LAYERS):
        for head in range(N_HEADS):
            found = float(result.patched.sel(layer=layer, head=head))
            sender = Place("z", layer, head)
            expected = by_hooks(module, sender, receivers, mlps, direction, norms)
            if layer > highest:
                base = result.clean if direction == "noise" else result.corrupt
                expected = base.metric
            assert found == pytest.approx(expected, abs=1e-9), (layer, head)


@pytest.mark.every_family
@pytest.mark.parametrize("site", ["mlp_out", "attn_out", "embed"])
@pytest.mark.parametrize("mlps", ["recompute", "freeze"])
@pytest.mark.parametrize("norms", ["recompute", "freeze"])
@pytest.mark.parametrize("receivers", [["logits"], ["L2H1.q", "L2H1.k"]], ids=" ".join)
def test_other_senders_equal_hooks_at_each_position(
    module: PreTrainedModel,
    model: pw.Model,
    site: Site,
    mlps: str,
    norms: str,
    receivers: list[str],
) -> None:
    result = pw.path_patch(model, PAIR, receivers, site, mlps=mlps, norms=norms, bos=False)
    for layer in range(1 if site == "embed" else 2):
        for position in range(len(CLEAN)):
            place = Place(site, None if site == "embed" else layer, position=position)
            expected = by_hooks(module, place, receivers, mlps, "noise", norms)
            found = float(result.patched.sel(layer=layer, position=position))
            assert found == pytest.approx(expected, abs=1e-9)


EVERY_WAY = {"direction": st.sampled_from(["denoise", "noise"]), "prompts": token_pairs()}


@pytest.mark.every_family
@given(site=st.sampled_from(["z", "attn_out", "mlp_out"]), **EVERY_WAY)
def test_all_paths_from_the_last_layer_are_ordinary_patching(
    model: pw.Model, site: str, direction: str, prompts: tuple[list[int], list[int]]
) -> None:
    # Nothing but the last MLP and the logits is left.
    pair, layers = pair_of(*prompts), [N_LAYERS - 1]
    path = pw.path_patch(model, pair, site=site, direction=direction, layers=layers, bos=False)
    plain = pw.patch(model, pair, site, direction=direction, layers=layers, bos=False)
    np.testing.assert_allclose(path.patched, plain.patched, rtol=0, atol=1e-10)


@given(site=st.sampled_from(["z", "attn_out", "mlp_out", "embed"]), **EVERY_WAY)
def test_all_paths_by_way_of_the_last_layers_attention_are_ordinary_patching(
    model: pw.Model, site: Site, direction: str, prompts: tuple[list[int], list[int]]
) -> None:
    # What a place before the last position does, it does through the attention above:
    # of senders below the last layer's heads that is all paths (with one layer, of embed too).
    if site == "embed":
        model = pw.wrap_model(random_gpt2(seed=3, n_layer=1))
    top = model.spec.n_layers - 1
    per = "head_position" if site == "z" else "position"
    pair, layers = pair_of(*prompts), [0 if site == "embed" else top - 1]
    receivers = [f"L{top}.{one}" for one in ("q", "k", "v")]
    choices: dict[str, Any] = {"direction": direction, "layers": layers, "bos": False}
    path = pw.path_patch(model, pair, receivers, site, per, **choices).patched
    plain = pw.patch(model, pair, site, per, **choices).patched
    before = slice(0, len(prompts[0]) - 1)
    np.testing.assert_allclose(
        path.isel(position=before), plain.isel(position=before), rtol=0, atol=1e-10
    )


@pytest.mark.every_family
@given(prompts=token_pairs(), direction=st.sampled_from(["denoise", "noise"]))
def test_with_mlps_and_norms_frozen_a_direct_path_is_a_difference_of_direct_attributions(
    module: PreTrainedModel, model: pw.Model, prompts: tuple[list[int], list[int]], direction: str
) -> None:
    pair = pair_of(*prompts)
    path = pw.path_patch(model, pair, direction=direction, mlps="freeze", norms="freeze", bos=False)
    base, source = ("corrupt", "clean") if direction == "denoise" else ("clean", "corrupt")
    # Each run's attribution is by its own final norm; the path keeps that of the patched run.
    finals = {
        run: activation(module, prompt, "resid_post", N_LAYERS - 1)[-1]
        for run, prompt in zip(("clean", "corrupt"), prompts, strict=True)
    }
    scales = {run: norm_scale(final_norm(module), final) for run, final in finals.items()}
    direct = pw.logit_attribution(model, pair, "head", bos=False).arrays["contribution"]
    # And so of the norms behind attention, by layer.
    behind = {
        run: [
            float(scale_behind_attention(module, activation(module, prompt, "z", layer)[-1], layer))
            for layer in range(N_LAYERS)
        ]
        for run, prompt in zip(("clean", "corrupt"), prompts, strict=True)
    }
    ratio = float(scales[source] / scales[base]) * np.array(behind[source]) / behind[base]
    expected = direct.sel(run=source) * ratio[:, None] - direct.sel(run=base)
    moved = path.patched - path.base.metric
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-9)


def test_frozen_norms_move_the_numbers(model: pw.Model) -> None:
    one, other = (
        pw.path_patch(model, PAIR, norms=norms, bos=False).patched
        for norms in ("recompute", "freeze")
    )
    assert float(abs(one - other).max()) > 1e-3


@pytest.mark.every_family
@pytest.mark.parametrize("metric", ["kl", "probability"])
def test_metrics_over_the_vocabulary_see_the_frozen_final_norm_too(
    module: PreTrainedModel, model: pw.Model, metric: str
) -> None:
    result = pw.path_patch(model, PAIR, norms="freeze", metric=metric, bos=False)
    own = activation(module, CORRUPT, "z", 2)
    with norms_frozen(module, CLEAN):
        last = changed_logits(module, CLEAN, [writing(Place("z", 2, 1), own)])[-1]
    expected = metric_of(metric, last, logits(module, CLEAN)[-1], [7], [11])
    assert float(result.patched.sel(layer=2, head=1)) == pytest.approx(expected, abs=1e-9)


def test_what_was_held_is_on_the_result_and_in_its_note(model: pw.Model) -> None:
    result = pw.path_patch(model, PAIR, mlps="freeze", bos=False)
    assert result.details == {"mlps": "freeze", "norms": "recompute"}
    assert result.experiment["receivers"] == ["logits"]
    assert note_of(result).endswith("other heads frozen, MLPs frozen, norms recomputed.")
    frozen = pw.path_patch(model, PAIR, norms="freeze", bos=False)
    assert frozen.details == {"mlps": "recompute", "norms": "freeze"}
    assert note_of(frozen).endswith("other heads frozen, MLPs recomputed, norms frozen.")
    both = pw.path_patch(model, PAIR, bos=False)
    assert note_of(both).endswith("other heads frozen, MLPs and norms recomputed.")
    assert title_of(both).endswith("along the paths to the logits")


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"receivers": []}, ExperimentError, "No receiver"),
        ({"receivers": ["logits", "L1H1.q"]}, ExperimentError, "by themselves"),
        ({"receivers": ["L1H1.z"]}, ExperimentError, "cannot receive"),
        ({"receivers": ["L9H1.q"]}, UnknownPlaceError, "layers 0-2"),
        ({"receivers": ["nonsense"]}, UnknownPlaceError, "not a site"),
        ({"receivers": ["L0H1.q"]}, UnknownPlaceError, "above its receivers"),
        ({"receivers": ["L1H1.q"], "layers": [1, 2]}, UnknownPlaceError, "above its receivers"),
        ({"site": "q"}, ExperimentError, "cannot send"),
        (
            {"mlps": "burn"},
            ExperimentError,
            "field 'mlps': Input should be 'recompute' or 'freeze'",
        ),
        (
            {"norms": "burn"},
            ExperimentError,
            "field 'norms': Input should be 'recompute' or 'freeze'",
        ),
    ],
)
def test_paths_that_are_none_are_refused(
    model: pw.Model, changes: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        pw.path_patch(model, PAIR, **changes)  # pyright: ignore[reportArgumentType]


def test_unequal_prompts_are_refused(model: pw.Model) -> None:
    with pytest.raises(
        UnequalLengthsError, match="same number of tokens; with align='edges' this method cannot"
    ):
        pw.path_patch(model, pair_of([1, 2, 6, 3], [1, 4, 3], align="edges"))
