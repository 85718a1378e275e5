"""What can be shown of a sweep before it is done: its baselines, and the cells so far."""

from dataclasses import replace

from patchwright.algorithms.batches import Progress
from patchwright.algorithms.result import Result, effect_of
from patchwright.experiment.assembly import stopped_sweep_notice
from patchwright.experiment.base import CellByCell
from patchwright.model.load import Model


def partial_result(
    experiment: CellByCell,
    model: Model,
    unpatched: Result,
    now: Progress | None,
    stopped: bool = False,
) -> Result:
    """The sweep as it stands, of one pair or over several: finished cells, estimates where there are any.

    `unpatched` is what `experiment.unpatched` gave. Cells without either are NaN; the array
    `estimated` is 1 where a cell holds an estimate. With `stopped`, a warning says how
    many are there, as of a sweep that goes no further.
    """
    arrays = experiment.partial_arrays(unpatched, model, now)
    patched, direction, metric = arrays["patched"], experiment.direction, experiment.metric
    clean, corrupt = (one.metrics(experiment.many) for one in (unpatched.clean, unpatched.corrupt))
    arrays["effect"] = effect_of(patched, clean, corrupt, direction, metric)
    warnings = list(unpatched.warnings)
    if stopped:
        guessed = "estimated" in arrays and bool(arrays["estimated"].any())
        done = experiment.cells_done(patched, now)
        warnings.append(
            stopped_sweep_notice(done, patched.size, "estimates" if guessed else "empty")
        )
    return replace(
        unpatched,
        experiment=experiment.model_dump(mode="json"),
        asked=experiment,
        arrays=arrays,
        warnings=warnings,
    )
