"""Layers on several devices: everything is moved where it is needed, and the numbers stay."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement, pairwise
from operator import le
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2LMHeadModel

import patchwright as pw
from families import MISSING
from patchwright.cli import options
from patchwright.errors import InputError, MemoryBudgetError, UnknownPlaceError
from patchwright.experiment.circuit import Circuit
from patchwright.model import batched_forward, devices
from patchwright.model.devices import (
    DeviceMap,
    check_placement,
    device_map_of,
    find_device,
    spread_layers,
    to_devices,
)
from patchwright.model.graph import Graph
from patchwright.model.weights import map_tensors, named_tensors
from patchwright.places import SITES, pers_of
from patchwright.storage.export import script_text
from pretend import TwoDevices, pretending
from tiny import N_LAYERS, Splitting, pair_of, random_gpt2

PAIR = pair_of([1, 2, 3, 4, 5], [1, 2, 9, 4, 5])
UNEQUAL = pair_of([1, 2, 3, 4, 5], [1, 2, 9, 4], align="edges")
WORDS = {" one": [7, 8], " two": [11, 12, 13]}
LONG = pair_of([1, 2, 3, 4, 5], [1, 2, 9, 4, 5], answer=" one", wrong=" two")

Method = Callable[[pw.Model], pw.Result]

_SWEEPS: dict[str, Method] = {
    f"patch {site} per {per}": lambda model, site=site, per=per: pw.patch(
        model, PAIR, site=site, per=per, layers=[0, 1, 2] if per == "neuron" else None
    )
    for site in SITES
    for per in pers_of(site)
}
_METHODS: dict[str, Method] = {
    **_SWEEPS,
    "noise": lambda model: pw.patch(model, PAIR, direction="noise"),
    "several pairs": lambda model: pw.patch(model, [PAIR, PAIR], site="z"),
    "unequal lengths": lambda model: pw.patch(model, UNEQUAL, site="resid_mid"),
    "answers of several tokens": lambda model: pw.patch(
        replace(model, tokenizer=Splitting(WORDS)), LONG, metric="logprob_diff"
    ),
    **{
        metric: lambda model, metric=metric: pw.patch(model, PAIR, metric=metric, layers=[1])
        for metric in ("logit", "probability", "prob_diff", "logprob", "kl", "rank")
    },
    "by attribution": lambda model: pw.patch(model, PAIR, order="attribution", max_exact=4),
    "together": lambda model: pw.patch_together(
        model, PAIR, ["L0.attn_out@-1", "L1H2.z", "L2.mlp_act[5]", "embed@2", "L1H0.pattern"]
    ),
    **{
        how: lambda model, how=how: pw.ablate(model, PAIR, ablation=how, prompts=[[5, 4, 3, 2, 1]])
        for how in ("zero", "mean", "resample")
    },
    "ablate together": lambda model: pw.ablate_together(model, PAIR, ["L0H1.z", "L2.mlp_out"]),
    **{
        f"attribute {site}": lambda model, site=site: pw.attribute(model, PAIR, site=site)
        for site in SITES
    },
    "qk_fix": lambda model: pw.attribute(model, PAIR, site="k", per="head", estimator="qk_fix"),
    "integrated": lambda model: pw.attribute(
        model, PAIR, estimator="integrated", steps=2, exact=True
    ),
    "path": lambda model: pw.path_patch(model, PAIR, receivers=["L2H1.q", "L1.mlp_out"]),
    "path, norms frozen": lambda model: pw.path_patch(model, PAIR, norms="freeze", mlps="freeze"),
    "trace": lambda model: pw.trace(
        *(model, [1, 2, 3, 4]), subject=[1, 2], answer=[7], samples=2, window=2, sever="mlp_out"
    ),
    "lens": lambda model: pw.logit_lens(model, PAIR, places=["L1H2.z"]),
    **{
        f"direct {part}": lambda model, part=part: pw.logit_attribution(model, PAIR, part=part)
        for part in ("layer", "head", "position", "neuron")
    },
    "attention": lambda model: pw.attention(model, PAIR, layer=2, head=1),
    "head scores": lambda model: pw.head_scores(model, PAIR, length=5, repeats=2),
    "difference": lambda model: pw.difference(model, PAIR, site="resid_mid"),
    "edges": lambda model: pw.edge_attribution(model, PAIR, steps=2, exact=3),
    **{
        f"circuit, {outside}": lambda model, outside=outside: pw.evaluate_circuit(
            *(model, [PAIR, PAIR], _circuit(model)), sizes=[2, 6], outside=outside, n_random=1
        )
        for outside in ("corrupt", "mean")
    },
}


def _circuit(model: pw.Model) -> Circuit:
    edges = tuple(Graph(model.spec).edges[::20][:6])
    return Circuit(model=model.name, fingerprint=model.fingerprint, edges=edges, scores=(0.0,) * 6)


@pytest.fixture
def apart(model: pw.Model) -> Iterator[pw.Model]:
    """The tiny model, each layer on a pretended device of its own."""
    with pretending():
        elsewhere = [torch.device("lazy", i) for i in range(N_LAYERS)]
        yield replace(model, network=to_devices(model.network, elsewhere))


def outcome(name: str, model: pw.Model) -> pw.Result | str:
    """What a method finds, or says where the family does not have its site."""
    try:
        return _METHODS[name](model)
    except UnknownPlaceError as refusal:
        return str(refusal)


@pytest.mark.every_family
@pytest.mark.parametrize("name", _METHODS)
def test_a_method_never_mixes_devices_and_gives_the_same_numbers(
    name: str, model: pw.Model, apart: pw.Model
) -> None:
    there, here = outcome(name, apart), outcome(name, model)
    if isinstance(there, str) or isinstance(here, str):
        assert there == here
        assert any(f"'{site}'" in str(there) for site in MISSING[model.spec.family])
        return
    assert there.arrays.keys() == here.arrays.keys()
    for key, array in here.arrays.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(there.arrays[key], array, rtol=1e-9, atol=1e-11)
        else:
            xr.testing.assert_equal(there.arrays[key], array)
    assert there.model["device_map"] == {"0": "lazy:0", "1": "lazy:1", "2": "lazy:2"}


def test_without_the_move_between_layers_two_devices_meet(
    apart: pw.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched_forward.BatchedForward, "to_device", lambda *_: None)
    with pytest.raises(TwoDevices, match=r"lazy:0, lazy:1"):
        pw.patch(apart, PAIR)


def test_untied_ends_lie_with_the_first_and_the_last_layer() -> None:
    untied = pw.wrap_model(random_gpt2(tie_word_embeddings=False), name="untied")
    with pretending():
        ends = [torch.device("lazy", 0), torch.device("lazy", 0), torch.device("lazy", 1)]
        network = to_devices(untied.network, ends)
        assert (network.embed.device.index, network.unembed.device.index) == (0, 1)
        far = pw.patch(replace(untied, network=network), PAIR, metric="kl")
    near = pw.patch(untied, PAIR, metric="kl")
    np.testing.assert_allclose(far.patched, near.patched, rtol=1e-9, atol=1e-11)


def test_the_final_norm_may_lie_on_a_device_of_its_own(model: pw.Model) -> None:
    with pretending():
        network = to_devices(model.network, [torch.device("lazy", i) for i in (0, 1, 1)])
        norm = map_tensors(model.network.norm_final, lambda tensor: tensor.to("lazy:2"))
        apart = replace(model, network=replace(network, norm_final=norm))
        far = pw.path_patch(apart, PAIR, norms="freeze")
    near = pw.path_patch(model, PAIR, norms="freeze")
    np.testing.assert_allclose(far.patched, near.patched, rtol=1e-9, atol=1e-11)


def test_a_mapped_model_is_the_model_and_its_script_maps_it_again() -> None:
    plain = pw.load_model("demo")
    mapped = pw.load_model("demo", device_map={"0-2": "cpu", "3": "cpu", "4-5": "cpu"})
    assert mapped.fingerprint == plain.fingerprint
    assert mapped.network.unembed is mapped.network.embed
    with pretending():
        apart = [torch.device("lazy", i // 3) for i in range(6)]
        away = replace(plain, network=to_devices(plain.network, apart))
        result = pw.patch(away, pw.Pair(clean=[3, 4], corrupt=[5, 4], answer=[7], wrong=[8]))
    wanted = 'load_model("demo", device_map={"0-2": "lazy:0", "3-5": "lazy:1"})'
    assert wanted in " ".join(script_text(result).split())


def test_half_precision_is_made_on_the_way_to_the_device() -> None:
    half = pw.load_model("demo", dtype="bfloat16")
    mapped = pw.load_model("demo", dtype="bfloat16", device_map=["cpu", "cpu"])
    assert mapped.dtype == "bfloat16"
    assert mapped.fingerprint == half.fingerprint
    assert torch.equal(mapped.network.layers[5].o.weight, half.network.layers[5].o.weight)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("even", "device map 'even': give balanced, a list"),
        ([], "device map is empty"),
        (["cpu", "cuda:7"], "'cuda:7' is not on this machine: choose auto or cpu"),
        ({"0-1": "cpu"}, "no device for layer 2: 'tiny' has layers 0-2"),
        ({"0-2": "cpu", "1": "cpu"}, "layer 1 is named twice"),
        ({"0-3": "cpu"}, "layer 3 does not exist"),
        ({"first": "cpu"}, "layers 'first': write them as 3 or 0-5"),
        ({"2-0": "cpu"}, "layers '2-0'"),
        ({"-1": "cpu"}, "layers '-1'"),
    ],
)
def test_a_map_that_cannot_be_is_refused(asked: Any, sentence: str, model: pw.Model) -> None:
    with pytest.raises(InputError, match=sentence):
        spread_layers(model.network, asked, "tiny")


def test_a_device_and_a_map_are_not_both_taken() -> None:
    with pytest.raises(InputError, match="Both a device and a device map"):
        pw.load_model("demo", device="cpu", device_map="balanced")


@pytest.mark.parametrize("name", ["cuda:", "cpu:x", "cpu:1", "gpu", "cpu:-1", ""])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not on this machine"):
        find_device(name)


def _memory(monkeypatch: pytest.MonkeyPatch, **free: int) -> None:
    """Let the machine have GPUs `gpu0`, `gpu1` and a `cpu` with so much memory, in bytes."""
    gpus = {f"cuda:{name[3:]}": size for name, size in free.items() if name != "cpu"}
    sizes = gpus | {"cpu": free["cpu"]}
    monkeypatch.setattr(devices, "free_memory", lambda device: sizes[str(device)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpus))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))


def _layers(asked: DeviceMap, sizes: Sequence[int]) -> list[str]:
    found = devices._layer_devices(asked, sizes, "big")  # pyright: ignore[reportPrivateUsage]
    return [str(device) for device in found]


def test_balanced_shares_out_evenly_among_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    _memory(monkeypatch, gpu0=100, gpu1=100, cpu=100)
    assert _layers("balanced", [20, 10, 10, 10, 10]) == ["cuda:0"] * 2 + ["cuda:1"] * 3


def test_balanced_leaves_to_the_cpu_only_what_gpus_do_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _memory(monkeypatch, gpu0=25, gpu1=25, cpu=100)
    where = _layers("balanced", [10] * 6)
    assert where == ["cuda:0"] * 2 + ["cuda:1"] * 2 + ["cpu"] * 2
    _memory(monkeypatch, cpu=100)
    assert _layers("balanced", [10] * 3) == ["cpu"] * 3


def test_a_small_device_gets_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    _memory(monkeypatch, gpu0=10, gpu1=100, cpu=100)
    assert _layers(["cuda:0", "cuda:1"], [10] * 4) == ["cuda:0"] + ["cuda:1"] * 3


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6), st.lists(st.integers(0, 30), max_size=3)
)
def test_no_other_way_to_share_out_has_a_smaller_largest_share(
    sizes: list[int], rooms: list[int]
) -> None:
    rooms = [*rooms, 12]
    with pytest.MonkeyPatch.context() as patch:
        _memory(patch, cpu=0, **{f"gpu{i}": room for i, room in enumerate(rooms)})
        names = [f"cuda:{i}" for i in range(len(rooms))]
        shares = [_shares(cuts, sizes) for cuts in _cuts(len(sizes), len(rooms))]
        fitting = [max(some) for some in shares if all(map(le, some, rooms))]
        if not fitting:
            with pytest.raises(MemoryBudgetError):
                _layers(names, sizes)
            return
        where = _layers(names, sizes)
    found = [sum(size for size, at in zip(sizes, where, strict=True) if at == one) for one in names]
    assert all(map(le, found, rooms))
    assert max(found) == min(fitting)
    assert where == sorted(where)


def _cuts(n_layers: int, n_devices: int) -> Iterator[tuple[int, ...]]:
    """Every way to cut the layers into stretches, one a device, empty ones among them."""
    for inner in combinations_with_replacement(range(n_layers + 1), n_devices - 1):
        yield (0, *inner, n_layers)


def _shares(cuts: tuple[int, ...], sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[low:high]) for low, high in pairwise(cuts)]


def test_too_large_for_a_device_is_refused_with_sizes_and_fits_when_mapped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = pw.load_model("demo").network
    needed = sum(tensor.nbytes for _, tensor in named_tensors(whole, "")) - whole.unembed.nbytes
    _memory(monkeypatch, gpu0=needed - 1, gpu1=needed - 1, cpu=10 * needed)
    gib = rf"'demo' needs {needed / 2**30:.1f} GiB for its weights and .* GiB are free on cuda:0"
    with pytest.raises(MemoryBudgetError, match=rf"{gib}.*--device-map"):
        pw.load_model("demo", device="cuda:0")
    with pytest.raises(MemoryBudgetError, match=r"on cuda:0.*--device-map"):
        pw.load_model("demo", device_map=["cuda:0"])
    _memory(monkeypatch, gpu0=needed // 3, gpu1=needed // 3, cpu=10 * needed)
    with pytest.raises(MemoryBudgetError, match=r"on cuda:0, .* on cuda:1 are free"):
        pw.load_model("demo", device_map=["cuda:0", "cuda:1"])
    moved: list[list[str]] = []
    monkeypatch.setattr(devices, "to_devices", lambda *given: moved.append(given[1]) or given[0])
    pw.load_model("demo", device_map=["cuda:0", "cuda:1", "cpu"])
    assert {str(device) for device in moved[0]} == {"cuda:0", "cuda:1", "cpu"}


def test_a_share_named_for_a_device_that_cannot_hold_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, model: pw.Model
) -> None:
    _memory(monkeypatch, gpu0=10, gpu1=10**9, cpu=10**9)
    with pytest.raises(MemoryBudgetError, match="the share of 'tiny' on cuda:0"):
        spread_layers(model.network, {"0": "cuda:0", "1-2": "cuda:1"}, "tiny")


def test_a_wrapped_model_keeps_its_layers_where_they_are(gpt2: GPT2LMHeadModel) -> None:
    assert device_map_of(pw.wrap_model(gpt2).network) == {"0-2": "cpu"}


def test_a_wrapped_model_whose_weights_are_not_in_memory_is_refused() -> None:
    module = random_gpt2()
    module.transformer.h[1].to("meta")
    with pytest.raises(InputError, match=r"weights of layer 1 are not in memory .*offloading"):
        pw.wrap_model(module, name="offloaded")


def test_a_layer_on_two_devices_is_refused(model: pw.Model) -> None:
    with pretending():
        first = model.network.layers[0]
        torn = replace(first, o=map_tensors(first.o, lambda tensor: tensor.to("lazy:1")))
        network = replace(model.network, layers=(torn, *model.network.layers[1:]))
        with pytest.raises(InputError, match="weights of layer 0 are on cpu and lazy:1"):
            check_placement(network, "torn")


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("balanced", "balanced"),
        ("cpu, cpu", ["cpu", "cpu"]),
        ("0-2=cpu,3-5=cpu", {"0-2": "cpu", "3-5": "cpu"}),
        ("cpu,", "cpu,"),
        ("0-2=cpu,cuda:0", {"0-2": "cpu", "cuda:0": ""}),
    ],
)
def test_a_map_in_the_terminal_is_one_in_python(text: str, asked: DeviceMap) -> None:
    assert options._parse_device_map(text) == asked  # pyright: ignore[reportPrivateUsage]


def test_the_command_lines_map_reaches_the_model() -> None:
    loaded = options.load("demo", "auto", "float32", None, "0-2=cpu,3-5=cpu")
    assert loaded.device_map == {"0-5": "cpu"}
    with pytest.raises(InputError, match="no device for layer 5"):
        options.load("demo", "auto", "float32", None, "0-4=cpu")
    with pytest.raises(InputError, match="named twice"):
        options.load("demo", "auto", "float32", None, "0-4=cpu,0-4=cpu")
