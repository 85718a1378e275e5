"""How much one of many visitors may ask for, and how long it may take."""

from dataclasses import replace
from typing import Any

import pytest

from patchwright.app import resources, session_jobs
from patchwright.axes import METRICS
from patchwright.experiment.run import tokens_of
from patchwright.methods.patch import Patch
from patchwright.model.load import Model
from patchwright.places import Site
from patchwright.prompts.pair import Pair, TokenPair
from tiny import pair_of

PAIR = pair_of([1, 2, 3, 4], [1, 5, 3, 4])


def patch_of(site: Site = "resid_pre", per: Any = "position", **more: Any) -> Patch:
    layers = (1,) if per == "neuron" else None
    fields: dict[str, Any] = {"model": "tiny", "pairs": PAIR, "layers": layers}
    return Patch(site=site, per=per, **fields | more)


def tokens(model: Model, pair: Pair = PAIR) -> TokenPair:
    return tokens_of(pair, patch_of(), model)


def of_length(model: Model, clean: int, corrupt: int) -> TokenPair:
    return replace(tokens(model), clean=(1,) * clean, corrupt=(2,) * corrupt)


def with_sizes(model: Model, **sizes: int) -> Model:
    return replace(model, network=replace(model.network, spec=replace(model.spec, **sizes)))


def test_a_longer_or_larger_sweep_is_guessed_to_take_longer(model: Model) -> None:
    short = session_jobs.guessed_seconds(patch_of(), 4, model)
    assert 0 < short < session_jobs.LONG
    assert session_jobs.guessed_seconds(patch_of(), 8, model) > short
    assert session_jobs.guessed_seconds(patch_of(), 4, with_sizes(model, n_layers=6)) > short
    assert session_jobs.guessed_seconds(patch_of("z", "head_position"), 4, model) > short
    assert session_jobs.guessed_seconds(patch_of(layers=(0,)), 4, model) < short


def test_only_a_long_sweep_of_equal_lengths_with_a_gradient_gets_an_estimate(model: Model) -> None:
    large = with_sizes(model, n_layers=48, d_model=1600, d_mlp=6400)
    pair = of_length(model, 60, 60)
    assert session_jobs.in_best_order(patch_of(), pair, large).order == "attribution"
    assert session_jobs.in_best_order(patch_of(), pair, model).order == "layers"
    assert session_jobs.in_best_order(patch_of(), of_length(model, 60, 59), large).order == "layers"
    for metric in METRICS:
        order = session_jobs.in_best_order(patch_of(metric=metric), pair, large).order
        assert order == ("layers" if metric == "rank" else "attribution")


def test_the_options_are_read_behind_streamlits_own(monkeypatch: pytest.MonkeyPatch) -> None:
    resources.options.clear()
    monkeypatch.setattr(
        "sys.argv", ["main.py", "--max-jobs", "5", "--folder", "a", "--folder", "b"]
    )
    found = resources.options()
    resources.options.clear()
    assert (found.max_jobs, [str(one) for one in found.folders]) == (5, ["a", "b"])
