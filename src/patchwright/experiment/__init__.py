"""Experiments: what to do, frozen, as JSON, hashed; and `run`, which does it.

The page, the command line and the HTTP interface build an experiment, call
`run`, and show the Result. An experiment's hash is the key of caches, of the
run store and of a shared link.

types    the frozen experiments, one a method
calls    one function a method: arguments -> experiment -> `run`
circuit  a circuit as a file
run      experiment + model -> Result: which of the next three does it
patching experiments that change runs, a value for each place
reading  experiments that read what runs hold
edges    experiments on edges and circuits
results  what they found -> Result
"""

from patchwright.experiment.calls import (
    ablate,
    ablate_together,
    attention,
    attribute,
    check_direction,
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
from patchwright.experiment.preview import baselines_of, so_far
from patchwright.experiment.run import run, tokens_of
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
    "Circuit",
    "Difference",
    "EdgeAttribution",
    "EvaluateCircuit",
    "Experiment",
    "HeadScores",
    "LogitAttribution",
    "LogitLens",
    "Patch",
    "PatchTogether",
    "PathPatch",
    "Trace",
    "ablate",
    "ablate_together",
    "attention",
    "attribute",
    "baselines_of",
    "check_direction",
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
    "run",
    "so_far",
    "tokens_of",
    "trace",
]
