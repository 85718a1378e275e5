"""MPS is used only where it computes what the CPU computes; the device here is a pretended one."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import GPT2LMHeadModel

import patchwright as pw
from patchwright.errors import InputError
from patchwright.model import device_check, devices, load
from patchwright.model.device_check import agrees_with_cpu
from patchwright.model.devices import find_device, to_devices
from patchwright.model.load import wrap_model
from pretend import Spoil, pretending
from tiny import N_LAYERS

MPS = torch.device("lazy", 0)
"""PyTorch refuses tensors on a real MPS device that it was not built for."""

PRODUCTS = {torch.ops.aten.addmm.default, torch.ops.aten.mm.default, torch.ops.aten.bmm.default}


def products(change: Callable[[torch.Tensor], torch.Tensor]) -> Spoil:
    """A device that gets its matrix products wrong in this way."""
    return lambda operation, found: change(found) if operation in PRODUCTS else found


WRONG: dict[str, Spoil] = {
    "the sign of products": products(torch.neg),
    "a hundredth too much": products(lambda found: found * 1.01),
    "nothing at all": products(torch.zeros_like),
    "not a number": products(lambda found: found * torch.nan),
    "every other column swapped": products(lambda found: found.flip(-1)),
    "attention alone": lambda operation, found: (
        found.neg() if operation is torch.ops.aten.bmm.default else found
    ),
}


def rounded(operation: Any, found: Any) -> Any:
    """A device that rounds otherwise, in the last bits."""
    return found * (1 + 1e-7) if operation in PRODUCTS else found


@pytest.fixture(autouse=True)
def mps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have MPS and no CUDA, and MPS be the pretended device."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)

    def named(name: str, dtype: torch.dtype | None = None) -> torch.device:
        found = find_device(name, dtype)
        return MPS if found.type == "mps" else found

    for module in (load, devices):
        monkeypatch.setattr(module, "find_device", named)
    for module in (load, device_check):
        monkeypatch.setattr(module, "UNTRUSTED_DEVICES", {MPS.type})


@pytest.mark.parametrize("asked", [{}, {"device": "mps"}, {"device_map": "balanced"}])
def test_mps_is_used_where_it_agrees_with_the_cpu(asked: dict[str, Any]) -> None:
    with pretending(rounded):
        assert pw.load_model("demo", **asked).device == MPS


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("asked", [{}, {"device_map": "balanced"}])
def test_what_is_left_to_us_goes_to_the_cpu_where_mps_gives_other_numbers(
    wrong: str, asked: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    plain = pw.load_model("demo", device="cpu")
    with caplog.at_level(logging.WARNING), pretending(WRONG[wrong]):
        model = pw.load_model("demo", **asked)
    assert model.device.type == "cpu"
    assert torch.equal(model.network.unembed, plain.network.unembed)
    assert model.network.unembed is model.network.embed
    assert "a short pass on lazy gave other numbers than on the CPU" in caplog.text


@pytest.mark.parametrize("asked", [{"device": "mps"}, {"device_map": {"0-2": "cpu", "3-5": "mps"}}])
def test_mps_that_was_asked_for_and_gives_other_numbers_is_refused(asked: dict[str, Any]) -> None:
    with (
        pretending(WRONG["the sign of products"]),
        pytest.raises(InputError, match=r"cannot be relied on: choose the device cpu"),
    ):
        pw.load_model("demo", **asked)


def test_a_wrapped_model_on_mps_is_tried_too(
    gpt2: GPT2LMHeadModel, model: pw.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pretending(WRONG["the sign of products"]):
        there = to_devices(model.network, [MPS] * N_LAYERS)
        monkeypatch.setattr(load, "network_of", lambda *_: there)
        with pytest.raises(InputError, match=r"move it to the CPU first"):
            wrap_model(gpt2)
    with pretending():
        monkeypatch.setattr(
            load, "network_of", lambda *_: to_devices(model.network, [MPS] * N_LAYERS)
        )
        assert wrap_model(gpt2).device == MPS


def test_one_layer_on_an_unproven_device_is_enough_to_try_it(model: pw.Model) -> None:
    layers = [torch.device("cpu")] * (N_LAYERS - 1)
    with pretending(WRONG["the sign of products"]):
        assert not agrees_with_cpu(to_devices(model.network, [*layers, MPS]), model.network)


def test_other_devices_are_not_tried(model: pw.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "patchwright.model.device_check.forward", lambda *_: pytest.fail("a pass ran")
    )
    assert agrees_with_cpu(model.network, model.network)


def test_a_context_shorter_than_the_short_pass_is_tried_whole(model: pw.Model) -> None:
    short = replace(model.network, spec=replace(model.network.spec, n_context=2))
    with pretending():
        assert agrees_with_cpu(to_devices(short, [MPS] * N_LAYERS), short)


def test_float64_which_mps_has_not_runs_on_the_cpu_or_is_refused() -> None:
    assert find_device("auto", torch.float32).type == "mps"
    assert pw.load_model("demo", dtype="float64").device.type == "cpu"
    assert pw.load_model("demo", dtype="float64", device_map="balanced").device.type == "cpu"
    with pytest.raises(InputError, match="mps has no float64"):
        pw.load_model("demo", dtype="float64", device="mps")
    with pytest.raises(InputError, match="mps has no float64"):
        pw.load_model("demo", dtype="float64", device_map=["cpu", "mps"])
