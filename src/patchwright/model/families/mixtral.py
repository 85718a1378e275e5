"""Mixtral (Jiang et al. 2024): Mistral's block, with a router and experts in place of the MLP."""

from typing import Any

from patchwright.model import parts
from patchwright.model.families.llama import read_decoder
from patchwright.model.weights import Experts, Network

ARCHITECTURE = "MixtralForCausalLM"


def read(module: Any, name: str) -> Network:
    """A Mixtral as a network. Raises CheckpointError for what cannot be computed."""
    return read_decoder(module, name, module.config.sliding_window, mlp=experts_of, routed=True)


def experts_of(mlp: Any, name: str) -> parts.LayerFields:
    """A router and its experts, as fields of a `Layer`. Raises CheckpointError for other modules."""
    router, experts = (
        parts.check_class(mlp.gate, "TopKRouter", name),
        parts.check_class(mlp.experts, "Experts", name),
    )
    return {
        "mlp_in": None,
        "mlp_out": None,
        "experts": Experts(
            router=router.weight.detach(),
            gate_up=experts.gate_up_proj.detach(),
            down=experts.down_proj.detach(),
            n_chosen=router.top_k,
            # Mixtral's router always makes the weights of those chosen sum to 1.
            normalised=getattr(router, "norm_topk_prob", True),
        ),
    }
