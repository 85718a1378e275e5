"""Time tracing and path patching against their papers' loops, batches against single pairs;
see what circuits take of memory.

    python bench/methods.py --markdown docs/benchmarks-methods.md
    python bench/methods.py --parts memory --markdown docs/benchmarks-methods.md
    python bench/methods.py --parts pairs --markdown docs/benchmarks-methods.md

Random weights of GPT-2 small's size, 20 tokens, float32, all cores. The loops run on
the Hugging Face model on some places, drawn evenly, and their time is scaled up;
Patchwright's is whole. Memory is that of a process of its own for each method. Of a
part that is left out the page keeps what it has.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

import patchwright as pw
from patchwright.experiment.base import Experiment
from patchwright.experiment.batching import make_batches, run_batch

N_TOKENS, SUBJECT, SAMPLES, SEED = 20, (2, 3, 4), 10, 0
N_PAIRS, STEPS, SIZE = 100, 2, 1000
PAIRS_LENGTHS, PAIRS_DIFFER = (15, 8), 5
MEMORY, PAIRS = "## Memory of circuits", "## Pairs per second"
"""The headings that divide the page."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--places", type=int, default=12, help="of which the loops are timed")
    parser.add_argument("--pairs", type=int, default=64, help="in a batch")
    parser.add_argument("--parts", default="speed,memory,pairs", help="one of them or several")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", choices=CIRCUITS, help="measure the memory of one method here")
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(memory(options.alone)))
        return
    old: Path | None = options.markdown
    page = old.read_text(encoding="utf-8") if old is not None and old.exists() else MEMORY
    page, _, paired = page.partition(PAIRS)
    speed, _, kept = page.partition(MEMORY)
    rows: list[dict[str, Any]] = []
    if "speed" in options.parts:
        gpt2, model = models()
        rows += [one(gpt2, model, options.repeats, options.places) for one in (tracing, paths)]
        speed = table(rows, options.repeats, options.places) + "\n"
    if "memory" in options.parts:
        measured = [in_its_own_process(name) for name in CIRCUITS]
        rows += measured
        kept = memory_table(measured)
    if "pairs" in options.parts:
        _, model = models()
        measured = [
            one(model, options.pairs, length, options.repeats)
            for length in PAIRS_LENGTHS
            for one in (together, small_sweep)
        ]
        rows += measured
        paired = pairs_table(measured, options.repeats)
    text = speed + MEMORY + kept
    if paired:
        text = text.rstrip("\n") + "\n\n" + PAIRS + paired
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def models() -> tuple[GPT2LMHeadModel, pw.Model]:
    torch.manual_seed(SEED)
    gpt2 = GPT2LMHeadModel(GPT2Config()).eval()
    return gpt2, pw.wrap_model(gpt2, name="random GPT-2 small")


def score(model: pw.Model, pairs: list[pw.Pair]) -> None:
    pw.edge_attribution(model, pairs, bos=False)


def score_integrated(model: pw.Model, pairs: list[pw.Pair]) -> None:
    pw.edge_attribution(model, pairs, steps=STEPS, bos=False)


def evaluate(model: pw.Model, pairs: list[pw.Pair]) -> None:
    scored = pw.edge_attribution(model, pairs[:1], bos=False)
    circuit = pw.Circuit.choose(scored, model, top=SIZE)
    pw.evaluate_circuit(model, pairs, circuit, [SIZE], n_random=1, bos=False)


CIRCUITS: dict[str, tuple[str, Callable[[pw.Model, list[pw.Pair]], None]]] = {
    "score": ("edge attribution", score),
    "integrated": (f"edge attribution, {STEPS} steps", score_integrated),
    "evaluate": (f"a circuit of {SIZE} edges, its complement, a random one", evaluate),
}


def memory(name: str) -> dict[str, Any]:
    """Bytes that this process has taken at most, and what of it are the weights."""
    gpt2, model = models()
    draw = np.random.default_rng(SEED)
    pairs: list[pw.Pair] = []
    for _ in range(N_PAIRS):
        ids = draw.choice(50257, 2 * N_TOKENS + 2, replace=False).tolist()
        clean, corrupt = ids[:N_TOKENS], ids[N_TOKENS : 2 * N_TOKENS]
        pairs.append(pw.Pair(clean=clean, corrupt=corrupt, answer=ids[-2], wrong=ids[-1]))
    before = peak_memory()
    CIRCUITS[name][1](model, pairs)
    weights = sum(one.nbytes for one in gpt2.parameters())
    return {
        "what": CIRCUITS[name][0],
        "weights": weights,
        "before": before,
        "peak": peak_memory(),
    }


def peak_memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def in_its_own_process(name: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--alone", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def memory_table(rows: list[dict[str, Any]]) -> str:
    """What follows the heading."""

    def mib(count: float) -> str:
        return f"{count / 2**20:,.0f} MiB"

    lines = [
        "",
        "",
        "| method | weights | process before it | process at most | beyond the weights | bound |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        numbers = (row["weights"], row["before"], row["peak"], row["peak"] - row["weights"], 2**31)
        lines.append(f"| {row['what']} | {' | '.join(mib(number) for number in numbers)} |")
    lines += [
        "",
        f"- The graph of GPT-2 small: 157 senders and 445 receivers; {N_PAIRS} pairs of {N_TOKENS} "
        "tokens, every position differing; random weights, float32.",
        "- Resident memory of the whole process, so with Python, PyTorch and the making of the model; "
        "each method in a process of its own.",
        f"- {torch.get_num_threads()} threads, {platform.system()}, torch {torch.__version__}; "
        f"{datetime.now(UTC).date()}",
        "- `python bench/methods.py --parts memory --markdown docs/benchmarks-methods.md` measures "
        "again.",
    ]
    return "\n".join(lines) + "\n"


def together(model: pw.Model, count: int, length: int, repeats: int) -> dict[str, Any]:
    """One place at the last position, in the upper half."""
    place = ("L9.resid_pre@-1",)
    asked = [
        pw.PatchTogether(model=model.name, pairs=pair, places=place, bos=False)
        for pair in alike_pairs(count, length)
    ]
    return batched(f"`patch_together` of one place, {length} tokens", model, asked, repeats)


def small_sweep(model: pw.Model, count: int, length: int, repeats: int) -> dict[str, Any]:
    """The positions of one layer."""
    asked = [
        pw.Patch(model=model.name, pairs=pair, per="position", layers=(9,), bos=False)
        for pair in alike_pairs(count, length)
    ]
    return batched(f"a sweep of `resid_pre`, one layer, {length} tokens", model, asked, repeats)


def alike_pairs(count: int, length: int) -> list[pw.Pair]:
    """Pairs of a template: one token of the prompts differs, the fifth from the end."""
    draw = np.random.default_rng(SEED)
    pairs: list[pw.Pair] = []
    for _ in range(count):
        *ids, other, answer, wrong = draw.choice(50257, length + 3, replace=False).tolist()
        corrupt = list(ids)
        corrupt[-PAIRS_DIFFER] = other
        pairs.append(pw.Pair(clean=ids, corrupt=corrupt, answer=answer, wrong=wrong))
    return pairs


def batched(
    what: str, model: pw.Model, asked: Sequence[Experiment], repeats: int
) -> dict[str, Any]:
    """Pairs per second of the experiments one at a time, and in batches of all."""

    def in_batches() -> list[pw.Result]:
        ran = [one for batch in make_batches(asked, len(asked)) for one in run_batch(batch, model)]
        return [one.result for one in ran if one.result is not None]

    single, one_by_one = timed(lambda: [pw.run(one, model) for one in asked], repeats)
    together, in_one = timed(in_batches, repeats)
    apart = [
        float(np.nanmax(np.abs(ours.patched.values - theirs.patched.values)))
        for ours, theirs in zip(in_one, one_by_one, strict=True)
    ]
    return {
        "what": what,
        "pairs": len(asked),
        "single": len(asked) / single,
        "batched": len(asked) / together,
        "apart": max(apart),
    }


def pairs_table(rows: list[dict[str, Any]], repeats: int) -> str:
    """What follows the heading."""
    lines = [
        "",
        "",
        "| experiment | pairs | one at a time | in a batch | ratio | largest disagreement |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ratio = row["batched"] / row["single"]
        lines.append(
            f"| {row['what']} | {row['pairs']} | {row['single']:.1f} pairs/s | "
            f"{row['batched']:.1f} pairs/s | {ratio:.1f} × | {row['apart']:.0e} logits |"
        )
    lines += [
        "",
        f"- Prompts differ in one token, the {PAIRS_DIFFER}th from the end; "
        f"random weights of GPT-2 small's size, float32; median of {repeats}.",
        "- Each pair gives a whole result: both runs' baselines with their ranks and top tokens, the "
        "patched run's, warnings. One at a time is `run`, in a batch `plan` and `run_batch`.",
        f"- {torch.get_num_threads()} threads, {platform.system()}, torch {torch.__version__}; "
        f"{datetime.now(UTC).date()}",
        "- `python bench/methods.py --parts pairs --markdown docs/benchmarks-methods.md` measures "
        "again.",
    ]
    return "\n".join(lines) + "\n"


def timed(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median seconds of `repeats` runs after one that does not count, and what it gave."""
    result = work()
    seconds: list[float] = []
    for _ in range(repeats):
        started = perf_counter()
        result = work()
        seconds.append(perf_counter() - started)
    return median(seconds), result


def prompts() -> tuple[list[int], list[int], int, int]:
    ids = np.random.default_rng(SEED).choice(50257, 2 * N_TOKENS + 2, replace=False).tolist()
    return ids[:N_TOKENS], ids[N_TOKENS : 2 * N_TOKENS], ids[-2], ids[-1]


def tracing(
    gpt2: GPT2LMHeadModel, model: pw.Model, repeats: int, places: int
) -> dict[str, float | str]:
    """Meng et al. 2022: a batch of the clean and 10 noisy prompts for each place."""
    tokens, _, answer, _ = prompts()
    seconds, result = timed(
        lambda: pw.trace(model, tokens, SUBJECT, answer, samples=SAMPLES, seed=SEED, bos=False),
        repeats,
    )
    sigma = result.details["sigma"]
    drawn = np.random.default_rng(SEED).standard_normal((SAMPLES, len(SUBJECT), 768))
    noise = torch.from_numpy(drawn * 3.0 * sigma).float()
    batch = torch.tensor([tokens] * (SAMPLES + 1))
    every = [(layer, position) for layer in range(12) for position in range(N_TOKENS)]
    chosen = every[:: max(1, len(every) // places)]

    def place(layer: int, position: int) -> float:
        def noisy(_: Any, __: Any, output: Tensor) -> Tensor:
            output = output.clone()
            output[1:, list(SUBJECT)] += noise
            return output

        def restore(_: Any, __: Any, output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            hidden[1:, position] = hidden[0, position]
            return output

        handles = [
            gpt2.transformer.wte.register_forward_hook(noisy),
            gpt2.transformer.h[layer].register_forward_hook(restore),
        ]
        try:
            with torch.inference_mode():
                shares = gpt2(batch).logits[1:, -1].softmax(-1)
        finally:
            for handle in handles:
                handle.remove()
        return shares[:, answer].mean().item()

    loop, found = timed(lambda: [place(*one) for one in chosen], 1)
    ours = [float(result.patched.sel(layer=la, position=po)) for la, po in chosen]
    return {
        "what": f"causal tracing, `resid_post`, {SAMPLES} samples",
        "places": len(every),
        "seconds": seconds,
        "loop": loop * len(every) / len(chosen),
        "relative": float(np.max(np.abs(np.array(ours) / np.array(found) - 1))),
    }


def paths(
    gpt2: GPT2LMHeadModel, model: pw.Model, repeats: int, places: int
) -> dict[str, float | str]:
    """Wang et al. 2022 from every head to the logits: one hooked run a sender."""
    clean, corrupt, answer, wrong = prompts()
    pair = pw.Pair(clean=clean, corrupt=corrupt, answer=answer, wrong=wrong)
    seconds, result = timed(lambda: pw.path_patch(model, pair, bos=False), repeats)
    every = [(layer, head) for layer in range(12) for head in range(12)]
    chosen = every[:: max(1, len(every) // places)]
    kept = {name: _z_of(gpt2, tokens) for name, tokens in (("clean", clean), ("corrupt", corrupt))}

    def sender(layer: int, head: int) -> float:
        def writing(at: int) -> Callable[[Any, tuple[Tensor]], tuple[Tensor]]:
            def change(_: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
                z = inputs[0].clone()
                if at == layer:
                    z[..., 64 * head : 64 * head + 64] = kept["corrupt"][at][
                        ..., 64 * head : 64 * head + 64
                    ]
                else:
                    z = kept["clean"][at]
                return (z,)

            return change

        handles = [
            gpt2.get_submodule(f"transformer.h.{at}.attn.c_proj").register_forward_pre_hook(
                writing(at)
            )
            for at in range(layer, 12)
        ]
        try:
            with torch.inference_mode():
                last = gpt2(torch.tensor([clean])).logits[0, -1]
        finally:
            for handle in handles:
                handle.remove()
        return (last[answer] - last[wrong]).item()

    loop, found = timed(lambda: [sender(*one) for one in chosen], 1)
    ours = [float(result.patched.sel(layer=la, head=he)) for la, he in chosen]
    return {
        "what": "path patching, every head to the logits",
        "places": len(every),
        "seconds": seconds,
        "loop": loop * len(every) / len(chosen),
        "relative": float(np.max(np.abs(np.array(ours) - np.array(found)))),
    }


def _z_of(gpt2: GPT2LMHeadModel, tokens: list[int]) -> list[Tensor]:
    seen: list[Tensor] = []

    def look(_: Any, inputs: tuple[Tensor]) -> None:
        seen.append(inputs[0].clone())

    handles = [
        gpt2.get_submodule(f"transformer.h.{at}.attn.c_proj").register_forward_pre_hook(look)
        for at in range(12)
    ]
    with torch.inference_mode():
        gpt2(torch.tensor([tokens]))
    for handle in handles:
        handle.remove()
    return seen


def table(rows: list[dict[str, float | str]], repeats: int, places: int) -> str:
    lines = [
        "# Speed of tracing and path patching",
        "",
        "| method | places | Patchwright | the paper's loop | ratio | largest disagreement |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ratio = float(row["loop"]) / float(row["seconds"])
        lines.append(
            f"| {row['what']} | {row['places']} | {row['seconds']:.2f} s | ≈ {row['loop']:.1f} s | "
            f"{ratio:.1f} × | {float(row['relative']):.0e} |"
        )
    lines += [
        "",
        "- The paper's loop: for tracing a batch of the clean and 10 noisy prompts through the whole "
        "Hugging Face model for each place (Meng et al. 2022); for path patching one run of the whole "
        "model for each sender with every head above it held (Wang et al. 2022).",
        f"- Random weights of GPT-2 small's size, {N_TOKENS} tokens, float32; Patchwright: median of "
        f"{repeats}, base runs included; the loops: about {places} places, scaled up to all.",
        "- Disagreement: of probabilities relative, of logit differences in logits.",
        f"- {torch.get_num_threads()} threads, {platform.system()}, torch {torch.__version__}, "
        f"transformers {transformers.__version__}; {datetime.now(UTC).date()}",
        "- `python bench/methods.py --markdown docs/benchmarks-methods.md` measures again.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
