"""A real Ray cluster of several processes on this machine: same numbers, and nothing is lost."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import patchwright as pw
from patchwright import cluster
from patchwright.cluster import (
    Worker,
    run_on_ray,
)
from patchwright.errors import ClusterError, InputError
from patchwright.experiment.base import Experiment
from patchwright.experiment.batching import Batch, Outcome, run_batch
from patchwright.experiment.run import run
from patchwright.methods.patch import Patch
from patchwright.model.devices import is_tied
from patchwright.model.shared_weights import share
from patchwright.model.weights import named_tensors
from patchwright.prompts.examples import example
from patchwright.storage.store import Store
from poison import poisoned
from tiny import VOCAB, pair_of, random_gpt2

INSTALL_RAY = "no Ray here: `pip install 'patchwright[cluster]'` brings it"
PAIR = pair_of([1, 2, 3], [1, 4, 3])


def _experiments(count: int) -> list[Experiment]:
    """Patch experiments of different pairs, of 5 and of 6 tokens."""
    draw = np.random.default_rng(0)
    pairs = [draw.integers(VOCAB, size=(2, 5 + i % 2)).tolist() for i in range(count)]
    named: dict[str, Any] = {"model": "tiny", "per": "position", "layers": [1]}
    return [Patch.of(named | {"pairs": pair_of(*pair)}) for pair in pairs]


@pytest.fixture(scope="module")
def tiny32() -> pw.Model:
    """A tiny model in float32."""
    return pw.wrap_model(random_gpt2(dtype=torch.float32), name="tiny")


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A cluster of this machine, with room for two workers."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("ray", reason=INSTALL_RAY)
    import ray

    cluster.import_ray()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def test_stopped_and_with_a_worker_killed_a_cluster_gives_the_numbers_of_one_process(
    ray: Any, tiny32: pw.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments, store, killed = _experiments(140), Store(tmp_path), tmp_path / "killed"
    first = run_on_ray(
        experiments, tiny32, store=store, workers=2, progress=lambda now: not now.done
    )
    assert first.stopped
    assert 0 < first.done < 140

    class Mortal(Worker):
        def run(self, batch: Batch) -> list[Outcome]:
            if not killed.exists():
                killed.touch()
                next(run_batch(batch, self._model))
                os.kill(os.getpid(), signal.SIGKILL)
            return super().run(batch)

    monkeypatch.setattr(cluster, "Worker", Mortal)
    second = run_on_ray(experiments, tiny32, store=store, workers=2)
    assert killed.exists()
    assert (second.stored, second.done, second.failed) == (first.done, 140 - first.done, {})
    assert len(store.entries(limit=1000)) == 140
    for experiment in experiments:
        there, here = store.find(experiment, tiny32.fingerprint), run(experiment, tiny32)
        assert there is not None
        scale = float(abs(here.patched).max())
        np.testing.assert_allclose(there.patched, here.patched, rtol=1e-6, atol=1e-6 * scale)


def test_a_batch_that_kills_its_workers_fails_and_the_others_are_done(
    ray: Any, tiny32: pw.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mortal(Worker):
        def run(self, batch: Batch) -> list[Outcome]:
            if 70 in batch.indices:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().run(batch)

    monkeypatch.setattr(cluster, "Worker", Mortal)
    monkeypatch.setattr(cluster, "ATTEMPTS", 2)
    status = run_on_ray(_experiments(80), tiny32, store=Store(tmp_path), workers=2)
    assert status.done == 64
    assert set(status.failed) == set(range(64, 80))
    assert status.failed[70].startswith("2 workers were lost while they computed this")


def test_a_worker_with_another_model_ends_the_run_with_a_sentence() -> None:
    made = SimpleNamespace(
        remote=lambda **_: lambda worker: worker, get=lambda _: "sha256:" + 64 * "1"
    )
    made.exceptions = SimpleNamespace(RayTaskError=KeyError, RayError=KeyError)
    pool = cluster._WorkerPool(  # pyright: ignore[reportPrivateUsage]
        made,
        cluster._WorkerPlan(1, False),  # pyright: ignore[reportPrivateUsage]
        None,
        "sha256:" + 64 * "0",
    )
    with pytest.raises(
        ClusterError, match=r"\(sha256:1.*not the driver's \(sha256:0.*same versions"
    ):
        pool._result("opening", "worker", None)  # pyright: ignore[reportPrivateUsage]


def test_more_workers_than_the_cluster_has_are_refused(
    ray: Any, tiny32: pw.Model, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="3 workers: the cluster has 2 CPUs"):
        run_on_ray(_experiments(2), tiny32, store=Store(tmp_path), workers=3)


def test_no_workers_are_refused(tiny32: pw.Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 workers: give at least 1"):
        run_on_ray(_experiments(2), tiny32, store=Store(tmp_path), workers=0)


def test_without_ray_a_sentence_says_how_to_install_it(
    tiny32: pw.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"pip install 'patchwright\[cluster\]'"):
        run_on_ray(_experiments(2), tiny32, store=Store(tmp_path))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("tied", [True, False])
def test_shared_weights_are_attached_as_the_same_model_over_the_same_memory(
    dtype: torch.dtype, tied: bool
) -> None:
    model = pw.wrap_model(random_gpt2(dtype=dtype, tie_word_embeddings=tied), name="tiny")
    shared = share(model)
    sent = pickle.loads(pickle.dumps(shared, protocol=5))
    assert sum(array.nbytes for array in sent.arrays) == _bytes(model)
    opened = sent.attach("cpu")
    assert opened.fingerprint == model.fingerprint
    assert is_tied(opened.network) == tied
    assert opened.network.layers[1].k.weight.stride() == model.network.layers[1].k.weight.stride()
    np.testing.assert_array_equal(
        pw.patch(opened, PAIR, site="z").patched, pw.patch(model, PAIR, site="z").patched
    )
    here = shared.attach("cpu")
    assert here.network.embed.data_ptr() == model.network.embed.data_ptr()


def test_shared_weights_with_a_changed_array_have_another_fingerprint(tiny32: pw.Model) -> None:
    shared = share(tiny32)
    arrays = [array.copy() for array in shared.arrays]
    arrays[0][0] ^= 1
    assert replace(shared, arrays=tuple(arrays)).attach("cpu").fingerprint != tiny32.fingerprint


def _bytes(model: pw.Model) -> int:
    """Of the weights, tied ones once."""
    network = model.network
    whole = sum(tensor.nbytes for _, tensor in named_tensors(network, ""))
    return whole - network.unembed.nbytes * is_tied(network)


def test_workers_run_no_code_of_the_folder_that_they_are_started_from(tmp_path: Path) -> None:
    """A cluster of a process of its own: Ray's workers look for code where the driver is."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("ray", reason=INSTALL_RAY)
    mark = poisoned(tmp_path)
    asked = Patch.of({"model": "demo", "pairs": example("ioi").pair, "layers": [0], "per": "layer"})
    (tmp_path / "asked.jsonl").write_text(asked.model_dump_json() + "\n")
    # As `patchwright` does, and `python -m` alone does not: Python itself keeps out of the folder.
    command = [sys.executable, "-P", "-m", "patchwright.cli", "run", "asked.jsonl", "--out", "kept"]
    done = subprocess.run(
        [*command, "--on", "ray", "--workers", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1 done" in done.stdout + done.stderr
    assert not mark.exists(), mark.read_text()
