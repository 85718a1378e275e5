"""Mixtral (Jiang et al. 2024): Mistral's block, with a router and experts in place of the MLP."""

from typing import Any

from patchwright.model.families.llama import Described, read_decoder
from patchwright.model.parts import known
from patchwright.model.weights import Experts, Network

ARCHITECTURE = "MixtralForCausalLM"


def read(module: Any, name: str) -> Network:
    """A Mixtral as a network. Raises CheckpointError for what cannot be computed."""
    windows = [module.config.sliding_window] * module.config.num_hidden_layers
    return read_decoder(module, name, windows, mlp=experts_of, routed=True)


def experts_of(mlp: Any, name: str) -> Described:
    """A router and its experts, as fields of a `Layer`. Raises CheckpointError for other modules."""
    router, experts = known(mlp.gate, "TopKRouter", name), known(mlp.experts, "Experts", name)
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
