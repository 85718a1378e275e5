"""What `bench/sweeps.py` compares: every shape, small, done by this engine and by hooks."""

import importlib
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

BENCH = Path(__file__).parents[1] / "bench"
MODULES = ("cases", "work", "sections", "contestants", "sweeps")


@pytest.fixture(scope="module")
def bench() -> Generator[dict[str, Any]]:
    """The scripts, which import one another by their file names."""
    sys.path.insert(0, str(BENCH))
    yield {name: importlib.import_module(name) for name in MODULES}
    sys.path.remove(str(BENCH))
    for name in MODULES:
        del sys.modules[name]


def small(case: Any) -> Any:
    """The case on two layers of narrow heads, with as many heads and positions."""
    shape = case.with_layers(2).shape
    sizes = {"d_model": 4 * shape.n_heads, "d_mlp": 24, "n_vocab": 64}
    return replace(case, shape=replace(shape, **sizes))


def test_this_engine_and_hooks_agree_on_every_case(bench: dict[str, Any]) -> None:
    contestants, tolerance = bench["contestants"], bench["sweeps"].TOLERANCE
    for name, whole in bench["cases"].CASES.items():
        case = small(whole)
        spots = case.spots()[:: max(1, len(case.spots()) // 40)]
        model = contestants.random_model(case.shape)
        with torch.no_grad():
            model.get_output_embeddings().weight.mul_(30)
            ours, hooks = (
                contestants.CONTESTANTS[one](model, case.shape).values(case, spots)
                for one in ("patchwright", "hooks")
            )
        assert len(set(ours)) > 5, name
        torch.testing.assert_close(
            torch.tensor(ours), torch.tensor(hooks), rtol=0, atol=tolerance, msg=name
        )


def test_the_arithmetic_of_a_llama_counts_its_gate_and_its_fewer_keys(
    bench: dict[str, Any],
) -> None:
    cases, needed = bench["cases"], bench["work"].needed_flops
    case = cases.CASES["smollm2_resid_pre"].with_layers(1)
    whole = replace(case.shape, n_kv_heads=case.shape.n_heads)
    gpt2 = replace(case, shape=replace(whole, family="gpt2"))
    queries = 2 * whole.d_model**2
    # Keys and values of all positions: in the base runs, and in the sweep one for each place.
    keys = 2 * queries * 3 * whole.n_tokens
    rows = 2 + whole.n_tokens  # one position is read in each run
    gate = 2 * whole.d_model * whole.d_mlp * rows
    assert needed(case) == needed(gpt2) + gate - keys * 2 // 3
