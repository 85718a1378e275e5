"""Write `docs/families.md`: each family held to plain hooks, and the methods that apply to it.

Tiny random models of the real Hugging Face classes, those of the tests (`tests/families.py`);
`tests/test_docs_families.py` sees that the page has them all.
"""

import sys
from collections.abc import Callable
from math import ceil, log10
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import torch

import hooks
import patchwright as pw
from families import VARIANTS, variant
from patchwright.algorithms.readout import logits
from patchwright.model.forward import forward
from patchwright.model.requests import Row

PAGE = ROOT / "docs" / "families.md"
CLEAN, CORRUPT = [49, 3, 8, 8, 21, 5, 30], [49, 3, 9, 8, 22, 5, 30]
PAIR = pw.Pair(clean=CLEAN, corrupt=CORRUPT, answer=7, wrong=11)

BEFORE = """# Families of models

The architectures that Patchwright can read, and the variants of their checkpoints. `docs/write_families.py` writes this page.

Each row is a random model of the real Hugging Face class with 3 layers. **Float64** is the largest difference between
Patchwright's activations, at every site of every layer, and those of plain forward hooks; there the norms, the softmax and
the rotary angles, which Transformers rounds to float32 also inside a float64 model, are computed in float64 in both.
**Float32** is the largest difference of a logit from the untouched Hugging Face model in float32. Numbers are rounded up
to a power of ten.

| family | architecture | what is special | float64 | float32 | methods |
| --- | --- | --- | --- | --- | --- |
"""

AFTER = """
The methods are: {methods}.

What they mean for blocks that differ from GPT-2's:

- **Key/value heads.** `k` and `v` are counted as the model has them: with 9 query heads and 3 key/value heads, `L2H1.k` are the
  keys that query heads 3, 4 and 5 read. In [circuits](methods/circuits.md) each query head has its own copy of its group's keys and
  values, so `L2H4.k` and `L2H5.k` have separate edges.
- **Norms of queries and keys** (Qwen3, Gemma 3). `q` and `k` are as projected, before these norms; with frozen norms these are frozen too.
- **Norms over all heads together** (OLMo 2, OLMoE). A change to one head's `q` or `k` slightly changes those of the other heads in its
  layer. This is computed exactly, and results warn of it (`joint_norm`). Edges into single heads (circuits) are refused.
- **Parallel blocks** (GPT-NeoX and Pythia, GPT-J, Phi-1 and Phi-2). Attention and MLP read the same stream, so there is
  no `resid_mid` between them, and no path from a head to the MLP of its own layer.
- **Norms after attention and MLP** (Gemma, OLMo 2). `attn_out` and `mlp_out` are what is added to the stream, after these norms. For a head's or a
  neuron's share of it, the norm's scale is held fixed; with frozen norms these norms are frozen too.
- **Soft caps** (Gemma 2). Attention scores and logits are capped wherever they are computed, also in the lens. Direct contributions add up to the
  difference of the logits before the cap, which is monotone.
- **Scaled embeddings** (Gemma). `embed` is what enters the stream, after the scale.
- **Experts** (Mixtral, OLMoE, Qwen3-MoE). The active neurons change from token to token, so there is no `mlp_act` and no direct
  attribution by neuron. `mlp_out` is the sum of the experts that the router has chosen. If the scores of two experts are equal up to
  rounding, rounding decides between them in any program, so such a result is not reliable.
- **Parts of heads rotated** (Phi-4, Pythia): the numbers that are not rotated are compared as they are.
- **Rotary positions.** `q` and `k` are copied as projected, before rotation; a copy between positions is rotated for
  its new position.
- **RMS norms** subtract no mean: a frozen scale (direct attribution, path patching with frozen norms) is the
  root of the mean square.
- **Gated MLPs.** A neuron is the product of gate and input, which is what the last projection reads.
- **Causal tracing** adds noise to what the embedding writes into the stream, scaled by its standard deviation.
- **No biases or position embeddings**: their components are missing from direct attribution; the others still add up to
  the logit difference.

On an NVIDIA H200 (PyTorch 2.11) every family's runs and methods agree with those on the CPU to 2e-12 in float64.

A configuration that Patchwright cannot compute (scaling by `dynamic` or `longrope`, norms after attention as in OPT-350M, layers
of an unknown type) is refused, and the error names the setting. [How to add a family](extend/family.md)

## GGUF files

A `.gguf` file of llama.cpp contains config, weights and tokenizer. Name it where you would name a folder: `pw.load_model("model.gguf")`, `--model
model.gguf`, or on the page under "other…". A folder with one such file works too. The architectures `gpt2`, `llama` (Mistral's
files use this name too), `qwen2`, `qwen3`, `qwen3moe`, `phi3`, `gemma2` and `gemma3` can be read. The weights are unpacked to float32 and are, bit for bit, those that Transformers'
reader gives (the tests check this for seven kinds of storage). A quantised model is not the same model as the one it was made
from: every result says how its weights are quantised, and has the SHA-256 of the file.

What Transformers' reader silently drops is either handled here or refused by name: the number of positions and the MLP's width of a GPT-2,
how a tokenizer takes digits (`smollm`), composed characters (`qwen2`) and whole words (`llama-bpe`) are read; every kind of rotary scaling
(`rope.scaling`, `rope_freqs.weight`), experts, windows, and ways of splitting text that are not known are refused. A sliding window that the
converter left out cannot be seen: Mistral 7B v0.1 has one of 4,096 tokens.
"""

METHODS: dict[str, Callable[[pw.Model], object]] = {
    "patch": lambda model: pw.patch(model, PAIR, "k", bos=False),
    "patch together": lambda model: pw.patch_together(
        model, PAIR, ["L1H0.v", "L2.mlp_out"], bos=False
    ),
    "ablate": lambda model: pw.ablate(model, PAIR, "v", bos=False),
    "attribute": lambda model: pw.attribute(model, PAIR, "k", estimator="qk_fix", bos=False),
    "path patch": lambda model: pw.path_patch(model, PAIR, ["L2H0.k"], norms="freeze", bos=False),
    "edge attribution": lambda model: pw.edge_attribution(model, PAIR, bos=False),
    "circuits": lambda model: pw.evaluate_circuit(
        model, PAIR, circuit_of(model), sizes=[5], n_random=1, bos=False
    ),
    "trace": lambda model: pw.trace(model, CLEAN, [2, 3], 7, samples=2, bos=False),
    "difference": lambda model: pw.difference(model, PAIR, bos=False),
    "attention": lambda model: pw.attention(model, PAIR, 1, 2, bos=False),
    "head scores": lambda model: pw.head_scores(model, PAIR, length=4, repeats=1, bos=False),
    "logit lens": lambda model: pw.logit_lens(model, PAIR, bos=False),
    "direct attribution": lambda model: pw.logit_attribution(model, PAIR, "position", bos=False),
    "direct attribution by neuron": lambda model: pw.logit_attribution(
        model, PAIR, "neuron", bos=False
    ),
}


def circuit_of(model: pw.Model) -> pw.Circuit:
    """All edges, the strongest first."""
    return pw.Circuit.choose(pw.edge_attribution(model, PAIR, bos=False), model)


def main() -> None:
    """Write the page."""
    torch.set_num_threads(1)
    rows = [row(name) for name in VARIANTS]
    after = AFTER.format(methods=", ".join(METHODS))
    PAGE.write_text(BEFORE + "".join(rows) + after, encoding="utf-8")


def row(name: str) -> str:
    """One line of the table."""
    module = variant(name)
    model = pw.wrap_model(module, name="tiny")
    apply = [method for method, do in METHODS.items() if applies(do, model)]
    missing = ", ".join(method for method in METHODS if method not in apply)
    methods = f"all but {missing}" if missing else "all"
    special = name if not name.endswith("as it is") else settings_of(module)
    differences = rounded_up(largest_difference(module, model)), rounded_up(in_float32(name))
    cells = model.spec.family, f"`{type(module).__name__}`", special, *differences, methods
    return f"| {' | '.join(cells)} |\n"


def settings_of(module: Any) -> str:
    """What the family's model in the table has, in a few words."""
    network = pw.wrap_model(module).network
    layers, one = network.layers, network.layers[0]
    rotaries, windows = {layer.rotary for layer in layers}, {layer.window for layer in layers}
    facts = {
        "RMS norms": network.norm_final.kind == "rms",
        "layer norms": network.norm_final.kind == "layer",
        "norms after attention and MLP": one.norm_attn_out is not None,
        "none before them": one.norm_attn is None,
        "norms of queries and keys": one.q_norm is not None and not one.norms_jointly,
        "norms of queries and keys over all heads together": one.norms_jointly,
        "attention and MLP side by side": network.spec.parallel,
        "learned positions": one.rotary is None,
        "rotary positions": rotaries == {one.rotary} and one.rotary is not None,
        "two kinds of rotary positions": len(rotaries) == 2,
        "parts of heads rotated": one.rotary and 2 * len(one.rotary.frequencies) < one.d_head,
        "neighbours rotated together": one.rotary and one.rotary.interleaved,
        "grouped queries": network.spec.n_kv_heads < network.spec.n_heads,
        "scores and logits capped": one.attn_cap and network.logit_cap,
        "embeddings scaled": network.embed_scale != 1,
        "experts": one.experts is not None,
        "gated MLPs": any(layer.mlp_gate for layer in layers),
        "biases": one.q.bias is not None,
        "no biases": one.q.bias is None,
        "a bias of the unembedding": network.unembed_bias is not None,
        "a sliding window": windows != {None} and None not in windows,
        "a sliding window in some layers": windows != {None} and None in windows,
    }
    return ", ".join(said for said, holds in facts.items() if holds)


def applies(do: Callable[[pw.Model], object], model: pw.Model) -> bool:
    """Whether a method is not refused."""
    try:
        do(model)
    except pw.PatchwrightError:
        return False
    return True


def largest_difference(module: Any, model: pw.Model) -> float:
    """Over all sites of all layers and the logits, from hooks in float64."""
    sites = model.spec.sites
    run = forward(model.network, [Row(tuple(CLEAN), 0)], sites)[0]
    found = [(logits(model.network, run.final) - hooks.logits(module, CLEAN)).abs().max()]
    for site in sites:
        for layer in range(1 if site == "embed" else model.spec.n_layers):
            expected = hooks.activation(module, CLEAN, site, layer)
            found.append((run.kept[site][layer] - expected).abs().max())
    return float(torch.stack(found).max())


def in_float32(name: str) -> float:
    """Of the logits, from the untouched model."""
    module = variant(name, dtype=torch.float32)
    network = pw.wrap_model(module).network
    run = forward(network, [Row(tuple(CLEAN), 0)])[0]
    with torch.no_grad():
        expected = module(torch.tensor([CLEAN])).logits[0]
    return float((logits(network, run.final) - expected).abs().max())


def rounded_up(difference: float) -> str:
    """To a power of ten."""
    return "0" if difference == 0 else f"1e{ceil(log10(difference))}"


if __name__ == "__main__":
    main()
