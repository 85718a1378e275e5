"""Experiments: what to do, frozen, as JSON, hashed; and `run`, which does it.

The page, the command line and the HTTP interface build an experiment, call
`run`, and show the Result. An experiment's hash is the key of caches, of the
run store and of a shared link.

types    the frozen experiments, one a method
calls    one function a method: arguments -> experiment -> `run`
circuit  a circuit as a file
run      experiment + model -> Result: which of the next three does it
many     experiments that differ in their pair alone, in shared passes
patching experiments that change runs, a value for each place
reading  experiments that read what runs hold
edges    experiments on edges and circuits
results  what they found -> Result
limits   what one of many may ask for
size     how large an experiment is, before it is done
swap     corrupted prompts by swapping a word, ranked
"""

from patchwright.experiment.calls import (
    ablate,
    ablate_together,
    attention,
    attribute,
    check_direction,
    check_pair,
    check_per,
    compare_with_exact,
    difference,
    done_by,
    edge_attribution,
    evaluate_circuit,
    head_scores,
    logit_attribution,
    logit_lens,
    patch,
    patch_together,
    path_patch,
    trace,
)
from patchwright.experiment.circuit import Circuit, load_circuit
from patchwright.experiment.many import Batch, Outcome, plan, run_batch
from patchwright.experiment.preview import CellByCell, accumulated_of, baselines_of, so_far
from patchwright.experiment.run import run, tokens_of
from patchwright.experiment.swap import Swap, swap
from patchwright.experiment.types import (
    Ablate,
    AblateTogether,
    AnyExperiment,
    Attention,
    Attribute,
    Difference,
    EdgeAttribution,
    EvaluateCircuit,
    Experiment,
    HeadScores,
    LogitAttribution,
    LogitLens,
    Patch,
    PatchTogether,
    PathPatch,
    Trace,
    experiment_of,
)

__all__ = [
    "Ablate",
    "AblateTogether",
    "AnyExperiment",
    "Attention",
    "Attribute",
    "Batch",
    "CellByCell",
    "Circuit",
    "Difference",
    "EdgeAttribution",
    "EvaluateCircuit",
    "Experiment",
    "HeadScores",
    "LogitAttribution",
    "LogitLens",
    "Outcome",
    "Patch",
    "PatchTogether",
    "PathPatch",
    "Swap",
    "Trace",
    "ablate",
    "ablate_together",
    "accumulated_of",
    "attention",
    "attribute",
    "baselines_of",
    "check_direction",
    "check_pair",
    "check_per",
    "compare_with_exact",
    "difference",
    "done_by",
    "edge_attribution",
    "evaluate_circuit",
    "experiment_of",
    "head_scores",
    "load_circuit",
    "logit_attribution",
    "logit_lens",
    "patch",
    "patch_together",
    "path_patch",
    "plan",
    "run",
    "run_batch",
    "so_far",
    "swap",
    "tokens_of",
    "trace",
]
