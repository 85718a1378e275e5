"""What a visitor of the page may see of the run store, and do with it: decided here alone."""

from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from patchwright.algorithms.result import Result
from patchwright.app.page_controls import HASH_DIGITS
from patchwright.errors import ExperimentError, InputError, UnknownRunError
from patchwright.experiment.base import Experiment
from patchwright.methods import METHODS
from patchwright.storage.store import Entry, Store

SeenResult = tuple[str, str]
"""The hash of an experiment, and the fingerprint of the model that it was done on."""


@dataclass(frozen=True)
class Access:
    """A run store for one visitor.

    The owner sees and changes all runs. Anybody else sees the results that they have `seen`: what
    they computed, or opened by its address. Notes are the owner's, and so is every change.
    """

    store: Store
    own: bool
    seen: Set[SeenResult] = frozenset()

    def entries(self, search: str, limit: int) -> list[Entry]:
        """The newest runs that this visitor may see and that have every word of `search`."""
        if self.own:
            return self.store.entries(search, limit)
        hashes = {experiment for experiment, _ in self.seen}
        found = self.store.entries(search, limit, experiments=hashes, notes=False)
        return [replace(one, note="") for one in found if self._can_see(one)]

    def result(self, run: str) -> Result:
        """A run's result. Raises UnknownRunError for a run that this visitor may not see, too."""
        return self.store.get(self._visible_entry(run).id)

    def experiments(self, entries: Sequence[Entry]) -> dict[str, Experiment]:
        """The experiments of runs that this visitor may see, by run; without those of other versions."""
        found: dict[str, Experiment] = {}
        runs = [one.id for one in entries if self._can_see(one)]
        for run, document in self.store.experiments(runs).items():
            with suppress(ExperimentError):
                found[run] = METHODS.parse(document)
        return found

    def experiment(self, beginning: str) -> Experiment:
        """The experiment whose hash begins so, for whoever has its address.

        Raises UnknownRunError where there is none, and for less of a hash than an address has.
        """
        if len(beginning) < HASH_DIGITS:
            raise UnknownRunError(f"A run is named by at least {HASH_DIGITS} digits.")
        return METHODS.parse(self.store.experiment(beginning))

    def export(self, path: Path, runs: Sequence[str]) -> None:
        """Write an archive of runs, without notes unless it is the owner's."""
        self.store.export(path, [self._visible_entry(one).id for one in runs], notes=self.own)

    def note(self, run: str, text: str) -> None:
        """Write a note beside a run."""
        self._writable_store().note(run, text)

    def delete(self, runs: Sequence[str]) -> list[str]:
        """Take runs out of every list and answer; their ids."""
        return self._writable_store().delete(runs)

    def restore(self, runs: Sequence[str]) -> None:
        """Bring deleted runs back."""
        self._writable_store().restore(runs)

    def import_archive(self, path: Path) -> tuple[int, int]:
        """Take an archive's runs in; how many are new, and how many were there."""
        return self._writable_store().import_archive(path)

    def _writable_store(self) -> Store:
        if not self.own:
            raise InputError("Only the owner of this server can change runs.")
        return self.store

    def _visible_entry(self, run: str) -> Entry:
        entry = self.store.entry(run)
        if not self._can_see(entry):
            raise UnknownRunError(f"'{run}': there is no such run here.")
        return entry

    def _can_see(self, entry: Entry) -> bool:
        return self.own or (
            entry.deleted is None and (entry.experiment_hash, entry.fingerprint) in self.seen
        )
