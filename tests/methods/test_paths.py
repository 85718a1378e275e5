"""Path patching against two passes of plain hooks."""

from collections.abc import Sequence

import numpy as np
import pytest
from torch import Tensor
from transformers import GPT2LMHeadModel

import patchwright as pw
from hooks import Change, activation, changed_logits
from patchwright.errors import ExperimentError, UnequalLengthsError, UnknownPlaceError
from patchwright.places import Place, Site, parse_place
from tiny import N_HEADS, N_LAYERS, pair_of

CLEAN, CORRUPT = [3, 8, 21, 5], [3, 9, 22, 5]
PAIR = pair_of(CLEAN, CORRUPT)


def writing(value: Tensor, head: int | None, position: int | None) -> Change:
    at = slice(None) if position is None else position

    def change(live: Tensor) -> None:
        if head is None:
            live[at] = value[at]
        else:
            live[at, head] = value[at, head]

    return change


def by_hooks(
    gpt2: GPT2LMHeadModel,
    sender: Place,
    receivers: Sequence[str],
    mlps: str,
    direction: str,
) -> float:
    into, out_of = (CORRUPT, CLEAN) if direction == "denoise" else (CLEAN, CORRUPT)
    site, layer = sender.site, sender.layer or 0
    steps: list[tuple[str, int, Change]] = [
        (site, layer, writing(activation(gpt2, out_of, site, layer), sender.head, sender.position))
    ]
    above = 0 if site == "embed" else layer + 1
    for one in range(above, N_LAYERS):
        steps.append(("z", one, writing(activation(gpt2, into, "z", one), None, None)))
    if mlps == "freeze":
        first = above if site in ("mlp_out", "embed") else layer
        for one in range(first, N_LAYERS):
            if f"L{one}.mlp_out" not in receivers:
                own = activation(gpt2, into, "mlp_out", one)
                steps.append(("mlp_out", one, writing(own, None, None)))
    if list(receivers) != ["logits"]:
        written: list[tuple[str, int, Change]] = []
        for text in receivers:
            place = parse_place(text)
            seen: list[Tensor] = []

            def look(live: Tensor, seen: list[Tensor] = seen) -> None:
                seen.append(live.clone())

            changed_logits(gpt2, into, [*steps, (place.site, place.layer or 0, look)])
            change = writing(seen[0], place.head, place.position)
            written.append((place.site, place.layer or 0, change))
        steps = written
    last = changed_logits(gpt2, into, steps)[-1]
    return (last[7] - last[11]).item()


RECEIVERS = [
    ["logits"],
    ["L2H1.q"],
    ["L2H0.k", "L2H3.v@-1"],
    ["L1.mlp_out"],
    ["L2.mlp_out", "L2H1.v"],
]


@pytest.mark.parametrize("receivers", RECEIVERS, ids=" ".join)
@pytest.mark.parametrize("mlps", ["recompute", "freeze"])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_every_sending_head_equals_hooks(
    gpt2: GPT2LMHeadModel, model: pw.Model, receivers: list[str], mlps: str, direction: str
) -> None:
    result = pw.path_patch(model, PAIR, receivers, direction=direction, mlps=mlps, bos=False)
    highest = max((parse_place(one).layer or 0 for one in receivers if one != "logits"), default=9)
    for layer in range(N_LAYERS):
        for head in range(N_HEADS):
            found = float(result.patched.sel(layer=layer, head=head))
            expected = by_hooks(gpt2, Place("z", layer, head), receivers, mlps, direction)
            if layer > highest:
                base = result.clean if direction == "noise" else result.corrupt
                expected = base.metric
            assert found == pytest.approx(expected, abs=1e-9), (layer, head)


@pytest.mark.parametrize("site", ["mlp_out", "attn_out", "embed"])
@pytest.mark.parametrize("mlps", ["recompute", "freeze"])
@pytest.mark.parametrize("receivers", [["logits"], ["L2H1.q", "L2H2.k"]], ids=" ".join)
def test_other_senders_equal_hooks_at_each_position(
    gpt2: GPT2LMHeadModel, model: pw.Model, site: Site, mlps: str, receivers: list[str]
) -> None:
    result = pw.path_patch(model, PAIR, receivers, site, mlps=mlps, bos=False)
    for layer in range(1 if site == "embed" else 2):
        for position in range(len(CLEAN)):
            place = Place(site, None if site == "embed" else layer, position=position)
            expected = by_hooks(gpt2, place, receivers, mlps, "noise")
            found = float(result.patched.sel(layer=layer, position=position))
            assert found == pytest.approx(expected, abs=1e-9)


def test_where_there_is_only_one_path_it_is_ordinary_patching(model: pw.Model) -> None:
    # From the last layer's heads nothing but the last MLP and the logits is left.
    path = pw.path_patch(model, PAIR, direction="denoise", bos=False).patched.sel(
        layer=N_LAYERS - 1
    )
    plain = pw.patch(model, PAIR, "z", bos=False).patched.sel(layer=N_LAYERS - 1)
    np.testing.assert_allclose(path, plain, rtol=0, atol=1e-10)


def test_what_was_held_is_on_the_result(model: pw.Model) -> None:
    result = pw.path_patch(model, PAIR, mlps="freeze", bos=False)
    assert result.details == {"mlps": "freeze", "norms": "recompute"}
    assert result.experiment["receivers"] == ["logits"]


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
        ({"mlps": "burn"}, ExperimentError, "recompute, freeze"),
    ],
)
def test_paths_that_are_none_are_refused(
    model: pw.Model, changes: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        pw.path_patch(model, PAIR, **changes)  # pyright: ignore[reportArgumentType]


def test_unequal_prompts_are_refused(model: pw.Model) -> None:
    with pytest.raises(UnequalLengthsError, match="equal length"):
        pw.path_patch(model, pair_of([1, 2, 6, 3], [1, 4, 3], align="edges"))
