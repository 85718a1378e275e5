"""Files of pairs in the published formats, as somebody would have them; every record is invented.

Beside each file stand its format, where that is published, and what its first pair is to be.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from patchwright.prompts.tokens import Tokenizer, encode_inside

Content = Callable[[Tokenizer], bytes]


@dataclass(frozen=True)
class PublicFile:
    """A file of a format; `first` are clean, corrupted, answers and wrong answers of its first pair.

    `options` are those of the command line that it needs, `notes` what is kept of its first record.
    """

    format: str
    name: str
    source: str
    content: Content
    pairs: int
    first: tuple[str, str, str, str]
    notes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def _json(value: Any) -> Content:
    return lambda _: json.dumps(value, indent=2).encode()


def _jsonl(rows: Iterable[Any]) -> Content:
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    return lambda _: text.encode()


def _csv(rows: Sequence[dict[str, Any]], delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _table(rows: Sequence[dict[str, Any]], delimiter: str = ",") -> Content:
    return lambda _: _csv(rows, delimiter)


def _lines(*lines: str) -> Content:
    return lambda _: "".join(f"{line}\n" for line in lines).encode()


def _token(word: str, tokenizer: Tokenizer) -> int:
    (token,) = encode_inside(word, tokenizer)
    return token


CAPITALS = [("France", "Paris"), ("Italy", "Rome"), ("Spain", "Madrid"), ("Germany", "Berlin")]


def _counterfact() -> list[dict[str, Any]]:
    def target(city: str) -> dict[str, str]:
        return {"str": city, "id": f"Q{len(city)}"}

    return [
        {
            "case_id": i,
            "pararel_idx": 100 + i,
            "requested_rewrite": {
                "prompt": "The capital of {} is",
                "relation_id": "P36",
                "target_new": target(CAPITALS[i - 1][1]),
                "target_true": target(city),
                "subject": country,
            },
            "paraphrase_prompts": [f"Nobody was in. {country}, whose capital is"],
            "neighborhood_prompts": ["The capital of Peru is"],
            "attribute_prompts": [],
            "generation_prompts": [f"{country}'s capital is known for"],
        }
        for i, (country, city) in enumerate(CAPITALS)
    ]


def _tracing() -> list[dict[str, str]]:
    return [
        {
            "relation": "The capital of {} is",
            "relation_prefix": "The capital of",
            "relation_suffix": " is",
            "prompt": f"The capital of {country} is",
            "relation_id": "P36",
            "target_false_id": "Q1",
            "target_true_id": "Q2",
            "target_true": f" {city}",
            "target_false": f" {CAPITALS[i - 1][1]}",
            "subject": f" {country}",
        }
        for i, (country, city) in enumerate(CAPITALS)
    ]


def _known() -> list[dict[str, Any]]:
    return [
        {
            "known_id": i,
            "subject": country,
            "attribute": city,
            "template": "The capital of {} is",
            "prediction": f" {city}, a city on a river",
            "prompt": f"The capital of {country} is",
            "relation_id": "P36",
        }
        for i, (country, city) in enumerate(CAPITALS)
    ]


GIFT = "When {} and {} went to the {}, {} gave a {} to"
GIFTS = [("Mary", "John", "store", "letter"), ("Alice", "Tom", "park", "book")]


def _eap(tokenizer: Tokenizer) -> bytes:
    return _csv(
        [
            {
                "": 40 + i,
                "clean": GIFT.format(a, b, place, b, thing),
                "corrupted": GIFT.format(a, b, place, a, thing),
                "correct_idx": _token(f" {a}", tokenizer),
                "incorrect_idx": _token(f" {b}", tokenizer),
            }
            for i, (a, b, place, thing) in enumerate(GIFTS)
        ]
    )


def _gender_bias(tokenizer: Tokenizer) -> bytes:
    she, he = (_token(word, tokenizer) for word in (" she", " he"))
    return _csv(
        [
            {
                "clean": f"{name} stayed at the {place} because",
                "corrupted": f"Tom stayed at the {place} because",
                "clean_answer_idx": she,
                "corrupted_answer_idx": he,
                "label": 0,
            }
            for name, place in (("Mary", "school"), ("Alice", "office"))
        ]
    )


def _hypernymy(tokenizer: Tokenizer) -> bytes:
    red, blue = ([_token(f" {word}", tokenizer)] for word in ("red", "blue"))
    return _csv(
        [
            {
                "clean": "The box is red. The cup is blue. The box is",
                "answers": "['red']",
                "answers_idx": str(red),
                "corrupted": "The box is red. The cup is blue. The cup is",
                "corrupted_answers": "['blue']",
                "corrupted_answers_idx": str(blue),
            }
        ]
    )


def _auto_circuit() -> dict[str, Any]:
    prompts = [
        {
            "clean": GIFT.format(a, b, place, b, thing),
            "corrupt": GIFT.format(a, b, place, a, thing),
            "answers": [f" {a}"],
            "wrong_answers": [f" {b}"],
        }
        for a, b, place, thing in GIFTS
    ]
    return {"seq_labels": ["When", "A"], "word_idxs": {"IO": 1, "end": 13}, "prompts": prompts}


def _docstring() -> list[dict[str, Any]]:
    def prompt(*names: str) -> str:
        listed = ", ".join(names)
        return f'def box(self, {listed}):\n    """red\n\n    :param {names[0]}: cup\n    :param'

    return [
        {
            "clean_prompt": prompt("key", "door"),
            "corrupt_prompt": {
                "random_doc": prompt("car", "door"),
                "random_random": prompt("key", "table"),
            },
            "correct_answers": [" door"],
            "wrong_answers": [" table", " car"],
        }
    ]


NUMBERS = [("keys", "key", " are", " is"), ("book", "books", " is", " are")]

_BLIMP = {"field": "syntax", "linguistics_term": "agreement", "UID": "made_up", "pairID": "0"}


def _blimp() -> list[dict[str, Any]]:
    return [
        {
            "sentence_good": "The keys to the cabinet are old.",
            "sentence_bad": "The keys to the cabinet is old.",
            **_BLIMP,
        },
        {
            "sentence_good": "Theo is tall.",
            "sentence_bad": "Theo are tall.",
            "one_prefix_prefix": "Theo",
            "one_prefix_word_good": "is",
            "one_prefix_word_bad": "are",
            **_BLIMP,
        },
        {"sentence_good": "They are tall.", "sentence_bad": "They is tall.", **_BLIMP},
        {
            "sentence_good": "Mary sees this book.",
            "sentence_bad": "Mary sees this books.",
            **_BLIMP,
        },
    ]


FILES = (
    PublicFile(
        "patchwright",
        "pairs.csv",
        "patchwright build",
        _table(
            [
                {
                    "clean": f"The capital of {country} is",
                    "corrupt": "The capital of Peru is",
                    "answer": f" {city}",
                    "wrong": " Lima",
                    "continent": "Europe",
                }
                for country, city in CAPITALS
            ],
            ";",
        ),
        4,
        ("The capital of France is", "The capital of Peru is", " Paris", " Lima"),
        ("continent",),
    ),
    PublicFile(
        "counterfact",
        "counterfact.json",
        "CounterFact, github.com/kmeng01/rome, dsets/counterfact.py",
        _json(_counterfact()),
        4,
        ("The capital of France is", "The capital of Germany is", " Paris", " Berlin"),
        (
            "case_id",
            "pararel_idx",
            "paraphrase_prompts",
            "neighborhood_prompts",
            "generation_prompts",
        ),
    ),
    PublicFile(
        "counterfact-tracing",
        "tracing.jsonl",
        "huggingface.co/datasets/NeelNanda/counterfact-tracing",
        _jsonl(_tracing()),
        4,
        ("The capital of France is", "The capital of Germany is", " Paris", " Berlin"),
        ("relation_prefix", "relation_suffix", "target_false_id", "target_true_id"),
    ),
    PublicFile(
        "known-1000",
        "known_1000.json",
        "github.com/kmeng01/rome, counterfact/compiled/known_1000.json",
        _json(_known()),
        4,
        ("The capital of France is", "The capital of Italy is", " Paris", " Rome"),
        ("known_id", "prediction"),
    ),
    PublicFile(
        "eap",
        "ioi.csv",
        "github.com/hannamw/eap-ig-faithfulness, data/ioi/gpt2.csv",
        _eap,
        2,
        (
            "When Mary and John went to the store, John gave a letter to",
            "When Mary and John went to the store, Mary gave a letter to",
            " Mary",
            " John",
        ),
        options=("--token-ids", "demo"),
    ),
    PublicFile(
        "eap",
        "gender-bias.csv",
        "github.com/hannamw/eap-ig-faithfulness, data/gender-bias/gpt2.csv",
        _gender_bias,
        2,
        (
            "Mary stayed at the school because",
            "Tom stayed at the school because",
            " she",
            " he",
        ),
        ("label",),
        ("--token-ids", "demo"),
    ),
    PublicFile(
        "eap",
        "hypernymy.csv",
        "github.com/hannamw/eap-ig-faithfulness, data/hypernymy-comma/gpt2.csv",
        _hypernymy,
        1,
        (
            "The box is red. The cup is blue. The box is",
            "The box is red. The cup is blue. The cup is",
            " red",
            " blue",
        ),
        ("answers", "corrupted_answers"),
        ("--token-ids", "demo"),
    ),
    PublicFile(
        "auto-circuit",
        "ioi_prompts.json",
        "github.com/UFO-101/auto-circuit, datasets/ioi",
        _json(_auto_circuit()),
        2,
        (
            "When Mary and John went to the store, John gave a letter to",
            "When Mary and John went to the store, Mary gave a letter to",
            " Mary",
            " John",
        ),
    ),
    PublicFile(
        "docstring",
        "docstring.json",
        "github.com/ArthurConmy/Automatic-Circuit-Discovery, acdc/docstring/prompts.py",
        _json(_docstring()),
        1,
        (
            'def box(self, key, door):\n    """red\n\n    :param key: cup\n    :param',
            'def box(self, key, table):\n    """red\n\n    :param key: cup\n    :param',
            " door",
            " table| car",
        ),
    ),
    PublicFile(
        "feature-circuits",
        "simple_train.json",
        "github.com/saprmarks/feature-circuits, data/simple_train.json (lines of JSON)",
        _jsonl(
            {
                "clean_prefix": f"The {one}",
                "patch_prefix": f"The {other}",
                "clean_answer": right,
                "patch_answer": wrong,
                "case": "made up",
            }
            for one, other, right, wrong in NUMBERS
        ),
        2,
        ("The keys", "The key", " are", " is"),
        ("case",),
    ),
    PublicFile(
        "pronouns",
        "gp.csv",
        "github.com/princeton-nlp/Edge-Pruning, src/prune/fpt2_gp.py",
        _table(
            [
                {
                    "prefix": f"{name} went to the {place} because",
                    "pronoun": "she",
                    "name": name,
                    "corr_prefix": f"Tom went to the {place} because",
                    "corr_pronoun": "he",
                    "corr_name": "Tom",
                }
                for name, place in (("Mary", "park"), ("Alice", "store"))
            ]
        ),
        2,
        ("Mary went to the park because", "Tom went to the park because", " she", " he"),
        ("corr_name",),
    ),
    PublicFile(
        "greater-than",
        "greater_than.csv",
        "github.com/hannamw/eap-ig-faithfulness, data/greater-than/gpt2.csv",
        _table(
            [
                {
                    "clean": f"The {noun} lasted from the year 17{year} to the year 17",
                    "corrupted": f"The {noun} lasted from the year 1701 to the year 17",
                    "correct_idx": year,
                }
                for noun, year in (("war", 97), ("siege", 98))
            ]
        ),
        2,
        (
            "The war lasted from the year 1797 to the year 17",
            "The war lasted from the year 1701 to the year 17",
            "98|99",
            "|".join(f"{year:02d}" for year in range(98)),
        ),
    ),
    PublicFile(
        "greater-than",
        "years.txt",
        "github.com/hannamw/gpt2-greater-than, dataset.py (sentences)",
        _lines(
            "The war lasted from the year 1797 to the year 17",
            "",
            "The trip lasted from the year 1832 to the year 18",
        ),
        2,
        (
            "The war lasted from the year 1797 to the year 17",
            "The war lasted from the year 1701 to the year 17",
            "98|99",
            "|".join(f"{year:02d}" for year in range(98)),
        ),
    ),
    PublicFile(
        "blimp",
        "made_up.jsonl",
        "github.com/alexwarstadt/blimp, data/*.jsonl",
        _jsonl(_blimp()),
        4,
        ("The keys to the cabinet", "The key to the cabinet", " are", " is"),
        ("field", "linguistics_term", "UID", "pairID"),
    ),
    PublicFile(
        "function-vectors",
        "country-capital.json",
        "github.com/ericwtodd/function_vectors, dataset_files/abstractive",
        _json([{"input": country, "output": city} for country, city in CAPITALS]),
        4,
        (
            "Q: Italy\nA: Rome\n\nQ: Spain\nA: Madrid\n\nQ: France\nA:",
            "Q: Italy\nA: Madrid\n\nQ: Spain\nA: Rome\n\nQ: France\nA:",
            " Paris",
            " Rome",
        ),
        options=("--shots", "2"),
    ),
    PublicFile(
        "ioi-templates",
        "templates.json",
        "github.com/redwoodresearch/Easy-Transformer, ABBA and BABA templates",
        _json(
            {
                "ABBA": ["When [A] and [B] went to the [PLACE], [B] gave a [OBJECT] to [A]"],
                "BABA": ["When [B] and [A] went to the [PLACE], [B] gave a [OBJECT] to [A]"],
            }
        ),
        6,
        ("", "", "", ""),
        ("part",),
        ("--pairs-count", "6"),
    ),
    PublicFile(
        "pronoun-templates",
        "pronouns.txt",
        "Mathwin et al. 2023, templates with a name",
        _lines("{name} went to the park because", "[NAME] stayed at the school because"),
        6,
        ("", "", "", ""),
        options=("--pairs-count", "6"),
    ),
    PublicFile(
        "ioi-sentences",
        "ioi_sentences.csv",
        "huggingface.co/datasets/fahamu/ioi",
        _table(
            [{"ioi_sentences": f"{GIFT.format(a, b, c, b, d)} {a}"} for a, b, c, d in GIFTS],
        ),
        2,
        (
            "When Mary and John went to the store, John gave a letter to",
            "When Mary and John went to the store, Mary gave a letter to",
            " Mary",
            " John",
        ),
    ),
    PublicFile(
        "ioi-sentences",
        "ioi_dataset.json",
        "github.com/redwoodresearch/Easy-Transformer, ioi_prompts",
        _json(
            [
                {
                    "[PLACE]": place,
                    "[OBJECT]": thing,
                    "text": f"{GIFT.format(b, a, place, b, thing)} {a}",
                    "IO": a,
                    "S": b,
                    "TEMPLATE_IDX": 3,
                }
                for a, b, place, thing in GIFTS
            ]
        ),
        2,
        (
            "When John and Mary went to the store, John gave a letter to",
            "When John and Mary went to the store, Mary gave a letter to",
            " Mary",
            " John",
        ),
        ("[PLACE]", "[OBJECT]", "TEMPLATE_IDX"),
    ),
    PublicFile(
        "columns",
        "own.tsv",
        "any table",
        _table(
            [
                {
                    "Prompt": f"The {one}",
                    "Foil": f"The {other}",
                    "verb": right,
                    "other verb": wrong,
                    "who": one,
                }
                for one, other, right, wrong in NUMBERS
            ],
            "\t",
        ),
        2,
        ("The keys", "The key", " are", " is"),
        (),
        (
            *("--clean-column", "Prompt", "--corrupt-column", "Foil", "--answer-column", "verb"),
            *("--wrong-column", "other verb", "--subject-column", "who"),
        ),
    ),
)
