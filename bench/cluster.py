"""Pairs per second on one process and on Ray workers, and what a task costs.

    python bench/cluster.py --markdown docs/benchmarks-cluster.md

Random weights of GPT-2 small's size unless told otherwise; each row is a store of its own.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import patchwright as pw
from patchwright import cluster
from patchwright.experiment.base import Experiment
from patchwright.experiment.batching import Batch, Outcome
from patchwright.methods.patch import Patch
from patchwright.storage.batch_runner import BatchStatus, run_many
from patchwright.storage.store import Store


@dataclass
class Timed:
    """When a run was begun, and when the first and the last results came."""

    began: float = field(default_factory=perf_counter)
    first: float | None = None

    def __call__(self, status: BatchStatus) -> bool:
        if status.done and self.first is None:
            self.first = perf_counter() - self.began
        return True


def model_of(layers: int, width: int) -> pw.Model:
    torch.manual_seed(0)
    config = GPT2Config(n_layer=layers, n_embd=width, n_head=max(1, width // 64))
    return pw.wrap_model(GPT2LMHeadModel(config).eval(), name="random")


def experiments_of(pairs: int, tokens: int) -> list[Experiment]:
    """Sweeps of resid_pre over pairs whose last third differs."""
    draw = np.random.default_rng(0)
    found: list[Experiment] = []
    for _ in range(pairs):
        clean, corrupt = draw.integers(50000, size=(2, tokens))
        corrupt[: 2 * tokens // 3] = clean[: 2 * tokens // 3]
        pair = pw.Pair(clean=clean.tolist(), corrupt=corrupt.tolist(), answer=[7], wrong=[11])
        found.append(Patch(model="random", per="position", pairs=pair))
    return found


def timed(do: Callable[..., BatchStatus], pairs: int) -> tuple[float, float]:
    """Pairs per second after the first results, and the seconds until those came."""
    with TemporaryDirectory() as folder:
        clock, sizes = Timed(), list[int]()

        def progress(status: BatchStatus) -> bool:
            if status.done and not sizes:
                sizes.append(status.done)
            return clock(status)

        status = do(store=Store(Path(folder)), progress=progress)
        whole = perf_counter() - clock.began
    assert status.done == pairs, status
    first = clock.first or whole
    rest = pairs - (sizes[0] if sizes else 0)
    return (rest / (whole - first) if rest else pairs / whole), first


class _Nothing(cluster.Worker):
    """A worker that computes nothing: what is left is the task."""

    def run(self, batch: Batch) -> list[Outcome]:
        return [Outcome(index, None, "nothing") for index in batch.indices]


def overhead(ray: Any, model: pw.Model, experiments: list[Experiment], times: int) -> float:
    """Seconds of a task: a batch sent and its outcomes brought back, nothing computed."""
    from patchwright.model.shared_weights import share

    worker = ray.remote(num_cpus=1)(_Nothing).remote()
    ray.get(worker.open.remote(ray.put(share(model)), "cpu"))
    batch = Batch(tuple(range(len(experiments))), tuple(experiments))
    found: list[float] = []
    for _ in range(times):
        began = perf_counter()
        ray.get(worker.run.remote(batch))
        found.append(perf_counter() - began)
    ray.kill(worker)
    return median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=15)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--markdown", default="")
    asked = parser.parse_args()
    model = model_of(asked.layers, asked.width)
    experiments = experiments_of(asked.pairs, asked.tokens)
    ray: Any = cluster.import_ray()
    ray.init(num_cpus=max(asked.workers), include_dashboard=False, log_to_driver=False)
    rows = [("one process", *timed(partial(run_many, experiments, model), asked.pairs))]
    for count in asked.workers:
        do = partial(cluster.run_on_ray, experiments, model, workers=count)
        rows.append((f"Ray, {count} worker{'s'[: count > 1]}", *timed(do, asked.pairs)))
    task = overhead(ray, model, experiments[:64], asked.tasks)
    ray.shutdown()
    lines = [
        f"{asked.pairs} pairs of {asked.tokens} tokens, the last third different; resid_pre by "
        f"position; {asked.layers} layers, d_model {asked.width}, float32. One process has "
        f"{torch.get_num_threads()} threads, a worker one.",
        "",
        "| | pairs per second | seconds until the first results |",
        "| --- | --- | --- |",
        *(f"| {name} | {speed:.1f} | {first:.1f} |" for name, speed, first in rows),
        "",
        f"A task costs {task * 1e3:.1f} ms besides its computing (a batch of up to 64 sent, "
        "outcomes brought back).",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if asked.markdown:
        Path(asked.markdown).write_text(f"# Speed on a cluster\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
