"""A model as plain arrays, for other processes to lay a network over without copying it.

Tensors that share memory share it again: tied embeddings stay tied, and every matrix
keeps its layout, so that products come out as in the process that packed it.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchwright.model.devices import CPU, to_devices
from patchwright.model.fingerprint import fingerprint
from patchwright.model.load import Model
from patchwright.model.weights import Network, map_tensors


@dataclass(frozen=True)
class SharedWeights:
    """A model whose weights are in `arrays` of bytes.

    The model's network has tensors without memory; `stretches` says for each, in the
    order of `map_tensors`, in which array and at which element its own begins.
    """

    model: Model
    arrays: tuple[NDArray[np.uint8], ...]
    stretches: tuple[tuple[int, int], ...]

    def attach(self, device: str) -> Model:
        """The model over these arrays, or copied to a GPU, with the fingerprint of what it is here."""
        with warnings.catch_warnings():
            # Shared memory is read-only, and the engine only reads weights.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            storages = [torch.from_numpy(array).untyped_storage() for array in self.arrays]
        stretches = iter(self.stretches)

        def attach_tensor(empty: Tensor) -> Tensor:
            array, first = next(stretches)
            tensor = torch.empty(0, dtype=empty.dtype)
            return tensor.set_(storages[array], first, empty.shape, empty.stride())

        network = map_tensors(self.model.network, attach_tensor)
        tokenizer = self.model.tokenizer
        mark = fingerprint(network, None if tokenizer is None else tokenizer.whole)
        there = _to_one_device(network, torch.device(device))
        return replace(self.model, network=there, fingerprint=mark)


def share(model: Model) -> SharedWeights:
    """The model's weights as arrays; those of a model on the CPU are not copied."""
    arrays: dict[int, tuple[int, NDArray[np.uint8]]] = {}
    stretches: list[tuple[int, int]] = []

    def share_tensor(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in arrays:
            whole = torch.empty(0, dtype=torch.uint8).set_(storage)
            arrays[storage.data_ptr()] = len(arrays), whole.numpy()
        stretches.append((arrays[storage.data_ptr()][0], int(tensor.storage_offset())))
        shape = (tensor.shape, tensor.stride())
        return torch.empty_strided(*shape, dtype=tensor.dtype, device="meta")

    network = map_tensors(_to_one_device(model.network, CPU), share_tensor)
    found = tuple(array for _, array in arrays.values())
    return SharedWeights(replace(model, network=network), found, tuple(stretches))


def _to_one_device(network: Network, device: torch.device) -> Network:
    """The network on one device; where it is there already, itself."""
    if all(layer.device == device for layer in network.layers) and network.embed.device == device:
        return network
    return to_devices(network, [device] * len(network.layers))
