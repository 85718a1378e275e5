"""Each cell's likeliest tokens are those of its own run, and change no other number."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import patchwright as pw
from patchwright.algorithms import likeliest
from patchwright.algorithms.result import place_of
from patchwright.errors import ExperimentError
from patchwright.experiment.run import run
from patchwright.storage.store import Store
from tiny import VOCAB, pair_of

PAIR = pair_of([1, 2, 3, 4, 6], [1, 5, 3, 8, 6])
TOP = ("top", "top_id", "top_probability")

SWEEPS: dict[str, dict[str, Any]] = {
    "positions": {"site": "resid_pre"},
    "heads": {"site": "z", "direction": "noise"},
    "heads by position": {"site": "q", "per": "head_position", "heads": [1, 3]},
    "neurons": {"site": "mlp_act", "per": "neuron", "layers": [1]},
    "probabilities": {"site": "attn_out", "metric": "kl"},
    "most promising": {"site": "mlp_out", "order": "attribution", "max_exact": 4},
    "answers of several tokens": {"site": "resid_mid", "metric": "logprob", "pair": pair_of(
        [1, 2, 3, 4], [1, 5, 3, 4], answer=[7, 8], wrong=[])},
    "unequal lengths": {"site": "resid_post", "pair": pair_of([1, 2, 3, 6], [1, 4, 3], align="edges")},
}  # fmt: skip


def swept(model: pw.Model, pair: pw.Pair = PAIR, **more: Any) -> pw.Result:
    return pw.patch(model, pair, bos=False, **more)


@pytest.mark.parametrize("name", SWEEPS)
def test_they_are_those_of_the_run_that_patches_the_cell(model: pw.Model, name: str) -> None:
    how = SWEEPS[name]
    result = swept(model, top=3, **how)
    pair, metric = how.get("pair", PAIR), how.get("metric", "logit_diff")
    estimated = result.arrays.get("estimated", 0 * result.patched)
    seen = 0
    for cell in np.ndindex(result.patched.shape):
        at = dict(zip(result.patched.dims, cell, strict=True))
        ids, texts, shares = (
            result.arrays[one].isel(at).values for one in ("top_id", "top", "top_probability")
        )
        if not np.isfinite(result.patched.isel(at)) or estimated.isel(at):
            assert np.isnan(ids).all()
            assert np.isnan(shares).all()
            assert not any(texts)
            continue
        labels = {dim: int(result.patched[dim].values[i]) for dim, i in at.items()}
        place = place_of(how["site"], labels)
        one = pw.patch_together(
            model, pair, [place], how.get("direction", "denoise"), metric, bos=False
        )
        assert one.altered is not None
        expected = one.altered.top[:3]
        assert ids.tolist() == [each["id"] for each in expected]
        assert texts.tolist() == [each["token"] for each in expected]
        np.testing.assert_allclose(shares, [each["probability"] for each in expected], atol=1e-12)
        seen += 1
    assert seen >= 4


@pytest.mark.parametrize("name", SWEEPS)
def test_no_other_number_and_no_name_of_the_experiment_changes(model: pw.Model, name: str) -> None:
    plain, listed = swept(model, **SWEEPS[name]), swept(model, top=2, **SWEEPS[name])
    rest = {key: one for key, one in listed.arrays.items() if key not in TOP}
    assert (
        replace(listed, arrays=rest, seconds=0.0).to_json() == replace(plain, seconds=0.0).to_json()
    )
    assert pw.Patch.of(listed.experiment).hash == pw.Patch.of(plain.experiment).hash


def test_ablations_list_them_too(model: pw.Model) -> None:
    experiment = pw.Ablate(model="tiny", pairs=PAIR, site="z", per="head", bos=False)
    result = run(experiment, model, top=1)
    one = pw.ablate_together(model, PAIR, ["L1H2.z"], bos=False)
    assert one.altered is not None
    assert result.arrays["top_id"].sel(layer=1, head=2, choice=1) == one.altered.top[0]["id"]


def test_pairs_have_each_their_own(model: pw.Model) -> None:
    other = pair_of([9, 2, 3, 4, 6], [9, 5, 3, 8, 6])
    both = pw.patch(model, [PAIR, other], site="z", top=2)
    for i, pair in enumerate((PAIR, other)):
        alone = pw.patch(model, pair, site="z", top=2)
        assert both.arrays["top"].isel(pair=i, drop=True).equals(alone.arrays["top"])
    assert "top_id" not in both.averaged().arrays


def test_what_was_stopped_lists_none_of_the_rest(model: pw.Model) -> None:
    result = swept(model, site="resid_pre", top=1, budget=20_000, progress=lambda now: now.done < 8)
    known = np.isfinite(result.patched.values)
    assert 0 < known.sum() < known.size
    assert (np.isfinite(result.arrays["top_id"].values[..., 0]) == known).all()


def test_the_vocabulary_is_read_in_tiles(model: pw.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = swept(model, site="resid_pre", top=3)
    rows: list[int] = []

    def counted(*asked: Any) -> Any:
        rows.append(len(asked[1]))
        return logits(*asked)

    logits = likeliest.logits
    monkeypatch.setattr(likeliest, "VOCAB_TILE", 4 * VOCAB)
    monkeypatch.setattr(likeliest, "logits", counted)
    tiled = swept(model, site="resid_pre", top=3)
    assert max(rows) == 4
    assert tiled.arrays["top"].equals(whole.arrays["top"])


def test_they_survive_json_and_the_store(model: pw.Model, tmp_path: Path) -> None:
    result = pw.patch(model, PAIR, site="z", top=3)
    result.to_json(tmp_path / "one.json")
    again = pw.load_result(tmp_path / "one.json")
    store = Store(tmp_path)
    kept = store.get(store.save(result))
    for one in (again, kept):
        assert one.document() == result.document()
        for name in TOP:
            assert one.arrays[name].identical(result.arrays[name])
    store.export(tmp_path / "runs.archive")
    other = Store(tmp_path / "other")
    assert other.import_archive(tmp_path / "runs.archive") == (1, 0)


def test_what_cannot_be_listed_is_refused(model: pw.Model) -> None:
    for count in (-1, VOCAB + 1):
        with pytest.raises(
            ExperimentError, match=f"top={count}: the model has 1 to {VOCAB} tokens"
        ):
            swept(model, top=count)
    experiment = pw.Attention(model="tiny", pairs=PAIR, layer=0, head=0)
    with pytest.raises(ExperimentError, match="only sweeps that patch or ablate"):
        run(experiment, model, top=1)
