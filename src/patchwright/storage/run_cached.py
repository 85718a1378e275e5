"""An experiment's result from the run store, or computed and kept there."""

from typing import TYPE_CHECKING

from patchwright.algorithms.batches import OnProgress
from patchwright.algorithms.result import Result
from patchwright.axes import BUDGET
from patchwright.errors import StoreError
from patchwright.experiment.run import run
from patchwright.storage.store import Store

if TYPE_CHECKING:
    from patchwright.experiment.base import Experiment
    from patchwright.model.load import Model


def run_cached(
    experiment: "Experiment",
    model: "Model",
    store: Store | None,
    progress: OnProgress | None = None,
    budget: int = BUDGET,
    top: int = 0,
    known: Result | None = None,
) -> tuple[Result, bool]:
    """The experiment's result, and whether it is from the store.

    What is computed is kept, a stopped run too, though that answers nothing later.
    `top` and `known` are what `run` takes; a stored result has the tokens that it was computed with.
    A store that fails costs nobody a result: `store.notices` then says why. Without
    a store the experiment is run. Raises what `run` raises.
    """
    found = None
    if store is not None:
        try:
            found = store.find(experiment, model.fingerprint, str(model.device))
        except StoreError as error:
            store.notices.append(f"{error} Nothing is looked up there, nor kept.")
            store = None
    if found is not None:
        return found, True
    result = run(experiment, model, progress, budget, top, known)
    if store is not None:
        try:
            store.save(result)
        except StoreError as error:
            store.notices.append(f"This run was not kept. {error}")
    return result, False
