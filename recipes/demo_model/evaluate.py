"""Measure the demo model on held-out combinations: `python -m recipes.demo_model.evaluate`."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel, GPT2Tokenizer

from recipes.demo_model import words
from recipes.demo_model.corpus import KINDS, Sentence, held_out

SEED = 1_000_003
COUNT = 400
"""Held-out sentences of each kind."""

Report = dict[str, dict[str, float]]


def measure(model: GPT2LMHeadModel, tokens: GPT2Tokenizer) -> Report:
    """By kind: `accuracy` (answer is the first choice of the whole vocabulary),
    `preferred` (answer before the wrong one) and `logit_diff` (their mean distance);
    for years `mass_above` (probability after the starting year minus before it)."""
    report: Report = {}
    for kind in KINDS:
        if kind in ("filler", "greater_than"):
            continue
        report[kind] = _of_kind(model, tokens, held_out(kind, COUNT, SEED))
    report["greater_than"] = _years(model, tokens, held_out("greater_than", COUNT, SEED))
    return report


def next_logits(model: GPT2LMHeadModel, tokens: GPT2Tokenizer, prompt: str) -> Tensor:
    """[vocab] after the end token and `prompt`."""
    ids = [tokens.bos_token_id, *tokens.encode(prompt)]
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0, -1]


def _of_kind(
    model: GPT2LMHeadModel, tokens: GPT2Tokenizer, sentences: list[Sentence]
) -> dict[str, float]:
    first = preferred = total = 0.0
    for sentence in sentences:
        logits = next_logits(model, tokens, sentence.prompt)
        answer, wrong = (tokens.encode(text)[0] for text in (sentence.answer, sentence.wrong))
        allowed = _also_right(tokens, sentence, answer)
        first += int(logits.argmax()) in allowed
        preferred += bool(logits[answer] > logits[wrong])
        total += float(logits[answer] - logits[wrong])
    count = len(sentences)
    return {
        "accuracy": first / count,
        "preferred": preferred / count,
        "logit_diff": total / count,
    }


def _also_right(tokens: GPT2Tokenizer, sentence: Sentence, answer: int) -> set[int]:
    """Agreement asks for the number of the verb, not for one verb of that number."""
    number = [sentence.answer.strip() in forms for forms in zip(*words.VERBS, strict=True)]
    if not any(number) or sentence.combination[:1] != ("agree",):
        return {answer}
    forms = list(zip(*words.VERBS, strict=True))[number.index(True)]
    return {tokens.encode(f" {form}")[0] for form in forms}


def _years(
    model: GPT2LMHeadModel, tokens: GPT2Tokenizer, sentences: list[Sentence]
) -> dict[str, float]:
    ids = [tokens.encode(f"{year:02d}")[0] for year in range(100)]
    mass = 0.0
    for sentence in sentences:
        shares = next_logits(model, tokens, sentence.prompt).softmax(-1)[ids]
        start = int(sentence.combination[-1][2:])
        mass += float(shares[start + 1 :].sum() - shares[:start].sum())
    return {"mass_above": mass / len(sentences)}


def write(report: Report, folder: Path) -> None:
    """Keep the measurements beside the weights."""
    text = json.dumps(report, indent=2) + "\n"
    (folder / "evaluation.json").write_text(text, encoding="utf-8")


def main(load: Callable[[Path], GPT2LMHeadModel] = GPT2LMHeadModel.from_pretrained) -> None:
    """Measure the shipped weights and print the report."""
    folder = Path(__file__).parents[2] / "src" / "patchwright" / "demo"
    print(json.dumps(measure(load(folder).eval(), GPT2Tokenizer.from_pretrained(folder)), indent=2))


if __name__ == "__main__":
    main()
