"""Train the demo model: `python -m recipes.demo_model.train`.

Writes config, weights (safetensors) and tokenizer to `src/patchwright/demo/`,
then measures them on held-out combinations (`recipes.demo_model.evaluate`).
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

from recipes.demo_model import evaluate, tokenizer
from recipes.demo_model.corpus import training_texts

DEMO = Path(__file__).parents[2] / "src" / "patchwright" / "demo"

SEED = 0
STEPS = 2600
BATCH = 64
CONTEXT = 64
PEAK_RATE = 1.5e-3
WARM_UP = 100


def main() -> None:
    """Train for `STEPS` batches of 64 × 64 tokens, save, and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--folder", type=Path, default=DEMO)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    options.folder.mkdir(parents=True, exist_ok=True)
    tokens = tokenizer.build(options.folder, SEED)
    model = GPT2LMHeadModel(configuration(len(tokens), tokenizer.end_token(tokens)))
    train(model, tokens, options.steps, options.folder)
    model.save_pretrained(options.folder)
    report = evaluate.measure(model.eval(), tokens)
    evaluate.write(report, options.folder)
    print(json.dumps(report, indent=2))


def configuration(n_vocab: int, end: int) -> GPT2Config:
    """The GPT-2 architecture at 6 layers × 6 heads × width 192."""
    return GPT2Config(
        vocab_size=n_vocab,
        n_positions=CONTEXT,
        n_embd=192,
        n_layer=6,
        n_head=6,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=end,
        eos_token_id=end,
    )


def train(model: GPT2LMHeadModel, tokens: GPT2Tokenizer, steps: int, folder: Path) -> None:
    """AdamW with warm-up and cosine decay; saves now and then, so that it can be tried."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    started = time.perf_counter()
    for step, batch in zip(range(1, steps + 1), batches(tokens), strict=False):
        loss = model(batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 50 == 0:
            seconds = time.perf_counter() - started
            print(f"step {step}: loss {loss.item():.3f}, {seconds:.0f} s", flush=True)
        if step % 500 == 0:
            model.save_pretrained(folder)


def _rate(step: int, steps: int) -> float:
    """Share of the peak rate: linear warm-up, then half a cosine down to a hundredth."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(1, steps - WARM_UP)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def batches(tokens: GPT2Tokenizer) -> Iterator[Tensor]:
    """[row, position] of token ids: documents one behind another, each after an end token.

    Every row begins with the end token and a whole document, as prompts do.
    """
    texts = training_texts(SEED + 1)
    end = tokenizer.end_token(tokens)
    while True:
        rows: list[list[int]] = []
        for _ in range(BATCH):
            row: list[int] = []
            while len(row) < CONTEXT:
                row += [end, *tokens.encode(next(texts))]
            rows.append(row[:CONTEXT])
        yield torch.tensor(rows)


if __name__ == "__main__":
    main()
