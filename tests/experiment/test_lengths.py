"""Prompts of different lengths: what has no positions takes them, and what a refusal advises works."""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import patchwright as pw
from patchwright.errors import UnequalLengthsError
from patchwright.places import Site, pers_of
from patchwright.prompts.align import NO_EDGES_HINT
from tiny import pair_of

SHORT = pair_of([1, 2, 3, 4], [1, 2, 5, 4])
LONG = pair_of([1, 2, 3, 6, 4], [1, 2, 5, 6, 4])
UNEQUAL = pair_of([1, 2, 3, 6, 4], [1, 2, 5, 4])
EDGES = UNEQUAL.model_copy(update={"align": "edges"})
SITUATIONS: dict[str, list[pw.Pair]] = {
    "lists of mixed lengths": [SHORT, LONG],
    "a pair of unequal lengths": [UNEQUAL],
    "a pair matched at its edges": [EDGES],
    "a list with such a pair": [LONG, EDGES],
}
SITES: list[Site] = ["embed", "z", "pattern", "mlp_act"]

Call = tuple[Callable[..., pw.Result], dict[str, Any]]


def evaluate(model: pw.Model, pairs: Sequence[pw.Pair], **changes: Any) -> pw.Result:
    circuit = pw.Circuit.choose(pw.edge_attribution(model, SHORT), model, top=3)
    return pw.evaluate_circuit(model, pairs, circuit, n_random=1, **changes)


def of_sites() -> Iterator[tuple[str, Call]]:
    for site in SITES:
        for per in pers_of(site):
            asked = {"site": site, "per": per}
            neurons = {"layers": [0]} if per == "neuron" else {}
            yield f"patch {site} {per}", (pw.patch, asked | neurons)
            yield f"ablate {site} {per}", (pw.ablate, asked | neurons)
            yield f"attribute {site} {per}", (pw.attribute, asked | neurons)
            yield f"difference {site} {per}", (pw.difference, asked)
            if site in ("embed", "z"):
                yield f"path_patch {site} {per}", (pw.path_patch, asked)


def of_references() -> Iterator[tuple[str, Call]]:
    for how, by_position in (("mean", True), ("mean", False), ("resample", True)):
        asked = {"ablation": how, "by_position": by_position, "prompts": [SHORT.clean]}
        yield f"ablate {how} {by_position}", (pw.ablate, asked)
        yield f"ablate pattern {how} {by_position}", (pw.ablate, asked | {"site": "pattern"})
        places = asked | {"places": ["L0.z"]}
        yield f"ablate_together {how} {by_position}", (pw.ablate_together, places)


CALLS: dict[str, Call] = {
    **dict(of_sites()),
    **dict(of_references()),
    "patch at positions": (pw.patch, {"site": "z", "per": "head", "positions": [1]}),
    "patch by position at positions": (pw.patch, {"positions": [1]}),
    "patch_together": (pw.patch_together, {"places": ["L0.z"]}),
    "patch_together pattern": (pw.patch_together, {"places": ["L0.pattern"]}),
    "integrated": (pw.attribute, {"site": "z", "estimator": "integrated", "steps": 2}),
    "qk_fix": (pw.attribute, {"site": "q", "estimator": "qk_fix"}),
    "path_patch to positions": (pw.path_patch, {"receivers": ["L1H0.q@-1"]}),
    "lens": (pw.logit_lens, {}),
    "lens of a patched pattern": (pw.logit_lens, {"places": ["L0.pattern"]}),
    "attention": (pw.attention, {"layer": 0, "head": 0}),
    "head_scores": (pw.head_scores, {"length": 5}),
    "edge_attribution": (pw.edge_attribution, {}),
    "evaluate_circuit": (evaluate, {}),
    "evaluate_circuit mean": (evaluate, {"outside": "mean"}),
    **{
        f"logit_attribution {part}": (pw.logit_attribution, {"part": part})
        for part in ("layer", "head", "position", "neuron")
    },
}

Try = tuple[list[list[pw.Pair]], dict[str, Any]]
"""Lists of pairs that a call is to take, and what it is asked for besides."""

INSTEAD: dict[str, dict[str, Any]] = {
    "name no positions": {"positions": None},
    "name receivers without positions": {"receivers": ["L1H0.q"]},
    "name places of z": {"places": ["L0.z"]},
    "reference prompts of one length": {"prompts": [LONG.clean]},
}


def advised(message: str, pairs: list[pw.Pair]) -> Iterator[Try]:
    """Every way out that a refusal names, each alone."""
    message = message.replace(NO_EDGES_HINT, "")
    for part in re.split(r",? or ", re.split(r": |\. |\n", message, maxsplit=1)[1]):
        named = re.findall(r"(\w+)=('\w+'|\[.*?\]|True|False)", part)
        changes: dict[str, Any] = {name: ast.literal_eval(value) for name, value in named}
        for phrase, change in INSTEAD.items():
            changes |= change if phrase in part else {}
        if (align := changes.pop("align", None)) is not None:
            yield [[pair.model_copy(update={"align": align}) for pair in pairs]], changes
        elif re.search("of one (token )?length|same number", part):
            yield [[LONG, LONG]], changes
        elif "one pair at a time" in part:
            yield [[pair] for pair in pairs], changes
        else:
            assert changes, part
            yield [pairs], changes


def refusal_of(call: Callable[[], pw.Result]) -> str | None:
    """Why the lengths are refused; None where they are not."""
    try:
        call()
    except UnequalLengthsError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_a_refusal_of_lengths_advises_works(
    model: pw.Model, name: str, situation: str
) -> None:
    call, asked = CALLS[name]

    def follow(pairs: list[pw.Pair], asked: dict[str, Any], refusals: tuple[str, ...]) -> None:
        message = refusal_of(lambda: call(model, pairs, **asked))
        if message is None:
            return
        # What solves one thing may lead to another one, but never to the same again.
        assert message not in refusals
        ways = list(advised(message, pairs))
        assert ways
        for lists, changes in ways:
            for some in lists:
                follow(some, asked | changes, (*refusals, message))

    follow(SITUATIONS[situation], asked, ())


@pytest.mark.parametrize("name", CALLS)
def test_what_has_no_positions_takes_lists_of_mixed_lengths(model: pw.Model, name: str) -> None:
    call, asked = CALLS[name]
    if {"positions", "receivers", "prompts"} & {*asked} or asked.get("outside") == "mean":
        pytest.skip("names positions, or averages over them")
    alone = call(model, [LONG], **asked)
    if {"position", "query"} & {str(dim) for array in alone.arrays.values() for dim in array.dims}:
        with pytest.raises(UnequalLengthsError, match="4 to 5 tokens"):
            call(model, [SHORT, LONG], **asked)
        return
    both = call(model, [SHORT, LONG], **asked)
    for array, own in alone.arrays.items():
        if "pair" in own.dims:
            found = both.arrays[array].isel(pair=1)
            assert found.equals(own.isel(pair=0)) or abs(found - own.isel(pair=0)).max() < 1e-9
