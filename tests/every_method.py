"""One experiment of every method, on words that the demo model's tokenizer has."""

from typing import Any

import patchwright as pw
from patchwright.experiment.base import Experiment
from patchwright.methods import METHODS

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPT = "When Mary and John went to the store, Mary gave a drink to"
PAIR = pw.Pair(clean=CLEAN, corrupt=CORRUPT, answer=" Mary", wrong=" John")

OWN: dict[str, dict[str, Any]] = {
    "patch": {"site": "resid_pre", "per": "position"},
    "patch_together": {"places": ("L1.resid_post@-1",)},
    "ablate": {"site": "z", "per": "head"},
    "ablate_together": {"places": ("L1.mlp_out",)},
    "attribute": {"site": "z", "per": "head", "exact": True},
    "path_patch": {"site": "z", "per": "head", "receivers": ("logits",)},
    "edge_attribution": {"exact": 2},
    "evaluate_circuit": {"edges": (("embed", "logits"), ("L0H0", "logits")), "sizes": (1, 2)},
    "difference": {"site": "resid_post", "per": "position"},
    "attention": {"layer": 0, "head": 1},
    "head_scores": {"length": 3},
    "logit_lens": {"places": ("L1.resid_post@-1",)},
    "logit_attribution": {"part": "head"},
}
"""What each method on pairs must be told besides the pairs."""

ON_PAIRS = [
    ["patch"],
    ["patch", "--place", "L1.resid_post@-1"],
    ["ablate"],
    ["ablate", "--place", "L1.mlp_out"],
    ["attribute", "--site", "z"],
    ["attribute", "--site", "z", "--exact"],
    ["paths"],
    ["circuit", "--sizes", "1,2"],
    ["diff"],
    ["attention"],
    ["attention", "--head", "L0H1"],
    ["lens"],
    ["lens", "--direct", "head"],
]
"""Every method's command, but for its prompts and answers."""

TRACE = ["trace", "--subject", "John", "--samples", "2"]
"""The one command on a single prompt, but for `--prompt` and answers."""


def every_experiment(
    pairs: pw.Pair | tuple[pw.Pair, ...] = PAIR, model: str = "demo", **changes: Any
) -> dict[str, Experiment]:
    """One experiment a method, all on the same pairs; the trace is on the first clean prompt."""
    first = pairs if isinstance(pairs, pw.Pair) else pairs[0]
    kinds = METHODS
    shared: dict[str, Any] = {"model": model} | changes
    found = {
        name: kinds[name].of({"pairs": pairs, **OWN[name], **shared}) for name in kinds.keys() & OWN
    }
    asked: dict[str, Any] = {"prompt": first.clean, "subject": (1, 2), "samples": 2}
    found["trace"] = pw.Trace(**asked, answer=first.answer, wrong=first.wrong, **shared)
    assert found.keys() == kinds.keys(), "a method has no experiment here"
    return {name: found[name] for name in kinds}
