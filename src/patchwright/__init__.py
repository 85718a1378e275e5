"""Patchwright: which part of a language model caused its answer.

`load_model` or `wrap_model`, a `Pair` of prompts, then `patch`; a `Result` comes
back. Importing this package loads neither PyTorch nor Streamlit: names are
resolved when they are first used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patchwright.algorithms.batches import Progress
    from patchwright.algorithms.result import Result
    from patchwright.algorithms.statistics import Statistics, statistics
    from patchwright.errors import PatchwrightError
    from patchwright.experiment import (
        Ablate,
        AblateTogether,
        Attention,
        Attribute,
        Circuit,
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
        Swap,
        Trace,
        ablate,
        ablate_together,
        attention,
        attribute,
        compare_with_exact,
        difference,
        edge_attribution,
        evaluate_circuit,
        head_scores,
        load_circuit,
        logit_attribution,
        logit_lens,
        patch,
        patch_together,
        path_patch,
        run,
        swap,
        trace,
    )
    from patchwright.experiment.results import load_result
    from patchwright.keep.many import Tally, run_many
    from patchwright.keep.store import Store
    from patchwright.model.load import Model, load_model, wrap_model
    from patchwright.places import Place, parse_place
    from patchwright.prompts.builders import agreement
    from patchwright.prompts.datasets import Item, RowError, read_items, write_items
    from patchwright.prompts.messages import Message
    from patchwright.prompts.pair import Pair
    from patchwright.prompts.roles import Role
    from patchwright.prompts.templates import Template, from_template

__version__ = version("patchwright")

__all__ = [
    "Ablate",
    "AblateTogether",
    "Attention",
    "Attribute",
    "Circuit",
    "Difference",
    "EdgeAttribution",
    "EvaluateCircuit",
    "Experiment",
    "HeadScores",
    "Item",
    "LogitAttribution",
    "LogitLens",
    "Message",
    "Model",
    "Pair",
    "Patch",
    "PatchTogether",
    "PatchwrightError",
    "PathPatch",
    "Place",
    "Progress",
    "Result",
    "Role",
    "RowError",
    "Statistics",
    "Store",
    "Swap",
    "Tally",
    "Template",
    "Trace",
    "ablate",
    "ablate_together",
    "agreement",
    "attention",
    "attribute",
    "compare_with_exact",
    "difference",
    "edge_attribution",
    "evaluate_circuit",
    "from_template",
    "head_scores",
    "load_circuit",
    "load_model",
    "load_result",
    "logit_attribution",
    "logit_lens",
    "parse_place",
    "patch",
    "patch_together",
    "path_patch",
    "read_items",
    "run",
    "run_many",
    "statistics",
    "swap",
    "trace",
    "wrap_model",
    "write_items",
]

_HOME = {
    "errors": ["PatchwrightError"],
    "experiment": [
        *(
            "Ablate",
            "AblateTogether",
            "Attention",
            "Attribute",
            "Circuit",
            "Difference",
            "EdgeAttribution",
            "EvaluateCircuit",
            "Experiment",
            "HeadScores",
            "LogitAttribution",
        ),
        *(
            "LogitLens",
            "Patch",
            "PatchTogether",
            "PathPatch",
            "Trace",
            "ablate",
            "ablate_together",
            "attention",
            "attribute",
            "difference",
            "edge_attribution",
            "evaluate_circuit",
        ),
        *("head_scores", "logit_attribution", "logit_lens", "patch", "patch_together", "run"),
        *("Circuit", "EdgeAttribution", "EvaluateCircuit", "PathPatch", "compare_with_exact"),
        *("edge_attribution", "evaluate_circuit", "load_circuit", "path_patch", "trace"),
        *("Swap", "swap"),
    ],
    "experiment.results": ["load_result"],
    "keep.many": ["Tally", "run_many"],
    "keep.store": ["Store"],
    "algorithms.result": ["Result"],
    "algorithms.batches": ["Progress"],
    "algorithms.statistics": ["Statistics", "statistics"],
    "model.load": ["Model", "load_model", "wrap_model"],
    "places": ["Place", "parse_place"],
    "prompts.builders": ["agreement"],
    "prompts.datasets": ["Item", "RowError", "read_items", "write_items"],
    "prompts.messages": ["Message"],
    "prompts.pair": ["Pair"],
    "prompts.roles": ["Role"],
    "prompts.templates": ["Template", "from_template"],
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'patchwright' has no attribute '{name}'")
    return getattr(import_module(f"patchwright.{_MODULE[name]}"), name)
