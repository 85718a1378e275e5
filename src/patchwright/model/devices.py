"""Which device holds what: names checked, layers shared out, a network put there.

A device map says where layers go: `balanced` (all GPUs, and the CPU for what they do
not hold); a list of devices, which get consecutive layers so that the largest share is
as small as their free memory allows; or layers and their device, as in
`{"0-5": "cuda:0", "6-11": "cuda:1"}`. The embedding goes with the first layer, the
final norm with the last, the unembedding too unless it is the embedding itself.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor

from patchwright.errors import InputError, MemoryBudgetError
from patchwright.model.memory import available_memory
from patchwright.model.weights import Network, map_tensors, named_tensors

DeviceMap = str | Sequence[str] | Mapping[str, str] | Mapping[int, str]
"""See the module."""

CPU = torch.device("cpu")


def find_device(name: str, dtype: torch.dtype | None = None) -> torch.device:
    """`auto` is CUDA, then MPS where it has the `dtype`, then the CPU.

    Raises InputError for what is not there, or cannot hold the `dtype`.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        usable = (kind for kind, present in there.items() if present and _can_hold(kind, dtype))
        return torch.device(next(usable))
    kind, _, number = name.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    numbered = not number or (number.isdecimal() and int(number) < count)
    if not there.get(kind, False) or not numbered or name.endswith(":"):
        usable = ", ".join(kind for kind, present in there.items() if present)
        raise InputError(f"The device '{name}' is not on this machine: choose auto or {usable}.")
    if not _can_hold(kind, dtype):
        raise InputError("The device mps has no float64: choose the device cpu, or float32.")
    return torch.device(name)


def _can_hold(kind: str, dtype: torch.dtype | None) -> bool:
    return kind != "mps" or dtype != torch.float64


def devices_of(asked: DeviceMap, dtype: torch.dtype | None = None) -> list[torch.device]:
    """The devices that a map names, each once, in its order. Raises as `find_device`."""
    if isinstance(asked, str):
        if asked != "balanced":
            raise InputError(
                f"The device map '{asked}': give balanced, a list of devices, or layers with their "
                'device, as in {"0-5": "cuda:0", "6-11": "cpu"}.'
            )
        count = torch.cuda.device_count()
        gpus = [torch.device("cuda", i) for i in range(count)]
        return [*gpus, CPU] if gpus else [find_device("auto", dtype)]
    names = list(asked.values()) if isinstance(asked, Mapping) else list(asked)
    if not names:
        raise InputError("The device map is empty: name at least one device.")
    return list(dict.fromkeys(find_device(name, dtype) for name in names))


def spread_layers(
    network: Network, asked: DeviceMap, name: str, dtype: torch.dtype | None = None
) -> Network:
    """The network with its layers where the map says, in `dtype` where it is given.

    What is there already is shared, not copied. Raises InputError for a map that does
    not fit the model, MemoryBudgetError where a device cannot hold its share.
    """
    devices_of(asked)  # refuses what names no devices, before layers are looked at
    width = network.embed.element_size() if dtype is None else dtype.itemsize
    sizes = _layer_sizes(network, width)
    devices = _layer_devices(asked, sizes, name, dtype)
    for device in dict.fromkeys(devices):
        share = sum(size for size, at in zip(sizes, devices, strict=True) if at == device)
        check_room(share, [device], f"the share of '{name}' on {device}")
    return to_devices(network, devices, dtype)


def to_devices(
    network: Network, devices: Sequence[torch.device], dtype: torch.dtype | None = None
) -> Network:
    """The network with each layer on its device."""

    def to(device: torch.device) -> Callable[[Tensor], Tensor]:
        return lambda tensor: tensor.to(device, dtype)

    first, last = to(devices[0]), to(devices[-1])
    embed, tied = first(network.embed), is_tied(network)
    return replace(
        network,
        embed=embed,
        embed_position=map_tensors(network.embed_position, first),
        layers=tuple(
            map_tensors(layer, to(device))
            for layer, device in zip(network.layers, devices, strict=True)
        ),
        norm_final=map_tensors(network.norm_final, last),
        unembed=embed if tied else last(network.unembed),
        unembed_bias=map_tensors(network.unembed_bias, last),
    )


def is_tied(network: Network) -> bool:
    """Whether the unembedding is the embedding itself."""
    return network.unembed.data_ptr() == network.embed.data_ptr()


def device_map_of(network: Network) -> dict[str, str]:
    """Where the layers are, as a device map: `{"0-5": "cuda:0", "6-11": "cpu"}`."""
    found: dict[str, str] = {}
    at = 0
    for device, layers in groupby(network.layers, key=lambda layer: layer.device):
        count = len(list(layers))
        found[f"{at}-{at + count - 1}" if count > 1 else str(at)] = str(device)
        at += count
    return found


def check_placement(network: Network, name: str) -> None:
    """Raise InputError where a network lies in a way that cannot be run."""
    parts = {f"layer {i}": layer for i, layer in enumerate(network.layers)}
    ends = {
        "the embedding": (network.embed, network.embed_position),
        "the end": (network.norm_final, network.unembed, network.unembed_bias),
    }
    for what, part in {**parts, **ends}.items():
        devices = {tensor.device for _, tensor in named_tensors(part, "")}
        if any(device.type == "meta" for device in devices):
            raise InputError(
                f"'{name}': the weights of {what} are not in memory (they are on the device meta): "
                "load the model without offloading to disk."
            )
        if len(devices) > 1 and what != "the end":
            where = " and ".join(sorted(map(str, devices)))
            raise InputError(
                f"'{name}': the weights of {what} are on {where}: put each layer on one device, and "
                "the embedding of tokens on that of positions."
            )


def check_room(needed: int, devices: Sequence[torch.device], name: str) -> None:
    """Raise MemoryBudgetError where `needed` bytes of weights do not fit on the devices together."""
    there = [free_memory(device) for device in devices]
    if needed <= sum(there):
        return
    free = f"{sum(there) / 2**30:.1f} GiB are free"
    if len(devices) > 1:
        free = _free_memory_text(devices, there)
    elif devices[0] != CPU:
        free = f"{free} on {devices[0]}"
    raise MemoryBudgetError(
        f"'{name}' needs {needed / 2**30:.1f} GiB for its weights and {free}: choose a smaller "
        "model, a half precision (bfloat16), or spread its layers over more devices "
        "(device_map, --device-map)."
    )


def _free_memory_text(devices: Sequence[torch.device], free: Sequence[int]) -> str:
    each = [f"{one / 2**30:.1f} GiB on {at}" for at, one in zip(devices, free, strict=True)]
    return f"{', '.join(each)} are free"


def free_memory(device: torch.device) -> int:
    """Bytes that can still be used on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_memory()


def _layer_sizes(network: Network, width: int) -> list[int]:
    """Bytes of each layer; of the first with the embedding, of the last with the end."""

    def size(part: object) -> int:
        return sum(tensor.numel() * width for _, tensor in named_tensors(part, ""))

    sizes = [size(layer) for layer in network.layers]
    sizes[0] += size((network.embed, network.embed_position))
    sizes[-1] += size(network.norm_final) + (0 if is_tied(network) else size(network.unembed))
    return sizes


def _layer_devices(
    asked: DeviceMap, sizes: Sequence[int], name: str, dtype: torch.dtype | None = None
) -> list[torch.device]:
    """A device for each layer."""
    if isinstance(asked, Mapping):
        return _mapped_devices(asked, len(sizes), name)
    balanced = isinstance(asked, str)
    devices = devices_of(asked, dtype) if balanced else [find_device(one) for one in asked]
    free = [free_memory(one) for one in devices]
    if balanced:
        # The last one, the CPU, gets what the GPUs do not hold.
        found = _balance_layers(devices[:-1], sizes, free) or _pack_layers(devices, sizes, free)
    else:
        found = _balance_layers(devices, sizes, free)
    if found is not None:
        return found
    check_room(sum(sizes), list(dict.fromkeys(devices)), name)
    raise MemoryBudgetError(
        f"'{name}' does not fit layer by layer: {sum(sizes) / 2**30:.1f} GiB of weights, up to "
        f"{max(sizes) / 2**30:.1f} GiB a layer (the first has the embedding), and "
        f"{_free_memory_text(devices, free)}. Free some memory, or add a device."
    )


def _balance_layers(
    devices: Sequence[torch.device], sizes: Sequence[int], free: Sequence[int]
) -> list[torch.device] | None:
    """Consecutive layers on each device, the largest share as small as can be; None: no room."""

    def pack(level: int) -> list[torch.device] | None:
        return _pack_layers(devices, sizes, [min(level, one) for one in free])

    # What fits under one level fits under every higher one.
    whole = sum(sizes)
    return pack(bisect_left(range(whole), True, key=lambda level: pack(level) is not None))


def _pack_layers(
    devices: Sequence[torch.device], sizes: Sequence[int], room: Sequence[int]
) -> list[torch.device] | None:
    """Consecutive layers, each device filled before the next one gets any; None: no room."""
    found: list[torch.device] = []
    for device, most in zip(devices, room, strict=False):
        used = 0
        for size in sizes[len(found) :]:
            if used + size > most:
                break
            used += size
            found.append(device)
    return found if len(found) == len(sizes) else None


def _mapped_devices(
    asked: Mapping[str, str] | Mapping[int, str], n_layers: int, name: str
) -> list[torch.device]:
    found: dict[int, torch.device] = {}
    for layers, device in asked.items():
        low, _, high = str(layers).partition("-")
        if not low.isdecimal() or not (high or low).isdecimal() or int(high or low) < int(low):
            raise InputError(f"The device map has the layers '{layers}': write them as 3 or 0-5.")
        for layer in range(int(low), int(high or low) + 1):
            if layer in found or layer >= n_layers:
                wrong = "is named twice" if layer in found else "does not exist"
                raise InputError(
                    f"The device map's layer {layer} {wrong}: '{name}' has layers 0-{n_layers - 1}, "
                    "and each has one device."
                )
            found[layer] = find_device(device)
    if missing := [layer for layer in range(n_layers) if layer not in found]:
        raise InputError(
            f"The device map names no device for layer {missing[0]}: '{name}' has layers "
            f"0-{n_layers - 1}."
        )
    return [found[layer] for layer in range(n_layers)]
