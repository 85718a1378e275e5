"""A file of pairs, read for a model."""

import json
from pathlib import Path
from typing import Any

import pytest

import patchwright as pw
from patchwright.algorithms.correctness import answers_correctly
from patchwright.errors import InputError
from patchwright.experiment.run import check_pair
from patchwright.prompts.tokens import encode

IOI = {
    "clean": "When Mary and John went to the store, John gave a drink to",
    "corrupted": "When Mary and John went to the store, Mary gave a drink to",
}


def saved(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "pairs.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def pair(clean: str, corrupt: str, answer: str, wrong: str) -> dict[str, str]:
    return {"clean": clean, "corrupt": corrupt, "answer": answer, "wrong": wrong}


RIGHT = pair("The capital of France is", "The capital of Italy is", " Paris", " Rome")
WRONG = RIGHT | {"answer": " Rome", "wrong": " Paris"}
UNEQUAL = RIGHT | {"corrupt": "The capital is"}
LONG = RIGHT | {"answer": " Paris Rome"}


def test_what_the_model_cannot_run_or_answers_wrongly_is_counted_and_named(
    demo: pw.Model, tmp_path: Path
) -> None:
    path = saved(tmp_path, RIGHT, WRONG, UNEQUAL, LONG)
    found = pw.read_pairs(path, model=demo)
    assert [one.line for one in found.items] == [1, 2]
    assert [one.line for one in found.skipped] == [3, 4]
    assert "first differ" in found.skipped[0].message
    assert "\n" not in found.skipped[0].message
    assert "several tokens" in found.skipped[1].message
    assert "demo answers 1 of 2 rightly" in found.summary
    joint = pw.read_pairs(path, model=demo, metric="logprob_diff", align="edges")
    assert len(joint.items) == 4
    assert "1 pair with answers of several tokens" in joint.summary
    assert "their prompts have" not in joint.summary


def test_only_those_that_the_model_answers_are_kept_if_that_is_asked_for(
    demo: pw.Model, tmp_path: Path
) -> None:
    path = saved(tmp_path, WRONG, RIGHT, WRONG)
    found = pw.read_pairs(path, model=demo, only_answered=True)
    assert [one.line for one in found.items] == [2]
    assert {one.message for one in found.skipped} == {"The model answers it wrongly."}
    assert json.loads(found.rejects().splitlines()[0])["record"] == WRONG
    with pytest.raises(InputError, match="give the model"):
        pw.read_pairs(path, only_answered=True)


def test_a_right_answer_is_the_likeliest_token_or_likelier_than_the_wrong_ones(
    demo: pw.Model,
) -> None:
    rows = [RIGHT, WRONG, RIGHT | {"wrong": []}, WRONG | {"wrong": []}, LONG]
    pairs = [check_pair(pw.Pair(**row), demo, "logprob") for row in rows]  # pyright: ignore[reportArgumentType]
    expected: list[bool] = []
    for row in rows:
        metric = "logprob_diff" if row["wrong"] else "rank"
        clean = pw.patch(demo, pw.Pair(**row), site="z", layers=[0], metric=metric).clean  # pyright: ignore
        expected.append(clean.metric > 0 if row["wrong"] else clean.metric == 1)
    assert answers_correctly(demo.network, pairs) == expected
    assert expected[:4] == [True, False, True, False]


def test_token_ids_are_read_only_by_the_tokenizer_that_they_are_of(
    demo: pw.Model, tmp_path: Path
) -> None:
    mary, john = (encode(word, demo.tokenizer)[0] for word in (" Mary", " John"))
    path = saved(tmp_path, IOI | {"correct_idx": mary, "incorrect_idx": john})
    with pytest.raises(InputError, match="does not say of which: name its model"):
        pw.read_pairs(path, model=demo)
    with pytest.raises(InputError, match="token ids of 'gpt2', and the model is 'demo'"):
        pw.read_pairs(path, model=demo, token_ids="gpt2")
    (found,) = pw.read_pairs(path, model=demo, token_ids="owner/demo").pairs
    assert (found.answers, found.wrongs) == ((" Mary",), (" John",))
    said = saved(tmp_path, IOI | {"correct_idx": mary, "incorrect_idx": 10**9, "tokenizer": "demo"})
    (skipped,) = pw.read_pairs(said, model=demo).skipped
    assert "token 1000000000 cannot be written as text" in skipped.message


def test_prompts_of_token_ids_stay_token_ids(demo: pw.Model, tmp_path: Path) -> None:
    clean, corrupt = ([*encode(IOI[name], demo.tokenizer)] for name in ("clean", "corrupted"))
    row = {"clean": clean, "corrupt": corrupt, "answers": [5], "wrong_answers": [6]}
    found = pw.read_pairs(saved(tmp_path, row), model=demo, token_ids="demo")
    assert found.pairs[0].clean == tuple(clean)
    assert found.pairs[0].answers == (5,)


def test_the_corrupted_prompt_of_a_fact_has_as_many_tokens_where_one_has(
    demo: pw.Model, tmp_path: Path
) -> None:
    def known(subject: str, city: str) -> dict[str, str]:
        prompt = f"The capital of {subject} is"
        return {"subject": subject, "attribute": city, "prompt": prompt, "relation_id": "P36"}

    rows = [known("France", "Paris"), known("Liechtenstein", "Rome"), known("Spain", "Madrid")]
    path = saved(tmp_path, *rows)
    assert pw.read_pairs(path).pairs[0].corrupt == "The capital of Liechtenstein is"
    assert pw.read_pairs(path, model=demo).pairs[0].corrupt == "The capital of Spain is"
    alone = pw.read_pairs(saved(tmp_path, rows[0], known("Gaul", "Paris")))
    assert "No other record of the file has the same relation" in alone.skipped[0].message


def test_templates_give_pairs_of_single_tokens_by_the_seed(demo: pw.Model, tmp_path: Path) -> None:
    text = "After [B] and [A] met at the [PLACE], [B] gave a [OBJECT] to [A]."
    path = saved(tmp_path, {"text": text})
    one, other, again = (pw.read_pairs(path, model=demo, seed=seed, count=5) for seed in (1, 2, 1))
    assert one.pairs == again.pairs != other.pairs
    assert len({len(encode(str(pair.clean), demo.tokenizer)) for pair in one.pairs}) == 1
    (skipped,) = pw.read_pairs(path).skipped
    assert "give the model" in skipped.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[A] and [B] met and [B] left", "does not end in its slot A"),
        ("[A] and [B] gave a book to [A]", "The slot B must come twice"),
        ("[A], [B] and [D] met. [B] gave a book to [A]", "no words for the slot D"),
    ],
)
def test_a_template_that_is_none_of_indirect_objects_says_why(
    demo: pw.Model, tmp_path: Path, text: str, says: str
) -> None:
    (skipped,) = pw.read_pairs(saved(tmp_path, {"text": text}), model=demo).skipped
    assert says in skipped.message


def test_no_more_is_looked_at_than_is_taken(demo: pw.Model, tmp_path: Path) -> None:
    found = pw.read_pairs(saved(tmp_path, *[RIGHT] * 100), model=demo, count=3)
    assert len(found.items) == 3
    assert "100 records, the first 3 pairs" in found.summary
    assert "answers 3 of 3 rightly" in found.summary


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        pw.read_pairs(tmp_path / "no.csv")
