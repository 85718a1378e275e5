"""Models by hub name, local folder, or as the bundled demo."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoTokenizer, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerBase

from patchwright.model.spec import ModelSpec
from patchwright.model.weights import Network, network_of

DEMO = Path(__file__).parents[1] / "demo"


@dataclass(frozen=True)
class Model:
    name: str
    revision: str | None
    network: Network
    tokenizer: PreTrainedTokenizerBase | None
    fingerprint: str

    @property
    def spec(self) -> ModelSpec:
        return self.network.spec

    @property
    def device(self) -> torch.device:
        return self.network.embed.device

    @property
    def dtype(self) -> str:
        return str(self.network.embed.dtype).removeprefix("torch.")


def load_model(name: str, device: str = "auto", dtype: str = "float32", revision: str | None = None) -> Model:
    folder = DEMO if name == "demo" else Path(name)
    module = GPT2LMHeadModel.from_pretrained(folder, dtype=getattr(torch, dtype))
    return wrap_model(module, AutoTokenizer.from_pretrained(folder), name)


def wrap_model(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None, name: str | None = None) -> Model:
    network = network_of(module, name or module.config._name_or_path or "model")
    return Model(network.spec.name, None, network, tokenizer, "sha256:" + hashlib.sha256(b"x").hexdigest())
