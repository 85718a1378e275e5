"""Runs of a loaded model's prompts, kept for what is asked about the same prompts next.

They belong to the model whose runs they are: with it they come and go. Only a model that
`load_model` made has a memory; the weights of one that was wrapped are its owner's, who may
change them between two questions.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from threading import Lock

import torch

from patchwright.model.requests import Run
from patchwright.places import Site

MOST_BYTES = 256 * 2**20
"""What a model's kept runs take together, at most."""

Prompts = tuple[tuple[object, ...], ...]
"""The rows that were run, and by what, as `base_runs` tells them apart."""


@dataclass(frozen=True)
class _Entry:
    weights: object
    runs: list[Run]
    sites: frozenset[Site]
    n_bytes: int


class RunMemory:
    """Finished runs, those forgotten first that were not asked for the longest.

    Nobody writes into a kept run. What alone takes more than `most_bytes` is not kept. Safe to
    share between threads; a copy, and what another process gets, is empty.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.n_bytes = 0
        self._entries: OrderedDict[tuple[int, Prompts], _Entry] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[type["RunMemory"], tuple[int]]:
        return RunMemory, (self.most_bytes,)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, weights: object, prompts: Prompts) -> tuple[list[Run], frozenset[Site]]:
        """The kept runs of these prompts by these very weights, and the sites that they keep."""
        with self._lock:
            found = self._entries.get((id(weights), prompts))
            if found is None:
                return [], frozenset()
            self._entries.move_to_end((id(weights), prompts))
            return found.runs, found.sites

    def keep(
        self, weights: object, prompts: Prompts, runs: Sequence[Run], sites: frozenset[Site]
    ) -> None:
        """Keep runs in place of those that are kept of the same prompts."""
        entry = _Entry(weights, list(runs), sites, bytes_of(runs))
        if entry.n_bytes > self.most_bytes:
            return
        with self._lock:
            former = self._entries.pop((id(weights), prompts), None)
            self._entries[id(weights), prompts] = entry
            self.n_bytes += entry.n_bytes - (former.n_bytes if former else 0)
            while self.n_bytes > self.most_bytes:
                self.n_bytes -= self._entries.popitem(last=False)[1].n_bytes


def bytes_of(runs: Sequence[Run]) -> int:
    """The memory that runs hold on to: of a tensor that is a part of a larger one, all of that."""
    storages: dict[tuple[torch.device, int], int] = {}
    for run in runs:
        for one in (run.final, *run.keys, *chain.from_iterable(run.kept.values())):
            storage = one.untyped_storage()
            storages[storage.device, storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
