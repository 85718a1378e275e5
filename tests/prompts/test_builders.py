import pytest

import patchwright as pw
from patchwright.errors import PromptError, UnequalLengthsError


def built(model: pw.Model, sentence: str, **how: str) -> pw.Pair:
    return pw.agreement(sentence, model.tokenizer, **how)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("sentence", "clean", "corrupt", "answer", "wrong"),
    [
        (
            "The keys to the cabinet are on the table",
            *("The keys to the cabinet", "The key to the cabinet", " are", " is"),
        ),
        ("The child near the river was late", "The child near the river",
         "The children near the river", " was", " were"),
        ("The old key has been here", "The old key", "The old keys", " has", " have"),
        ("The dogs do not matter", "The dogs", "The dog", " do", " does"),
    ],
)  # fmt: skip
def test_a_sentence_becomes_the_pair_that_asks_for_its_verb(
    demo: pw.Model, sentence: str, clean: str, corrupt: str, answer: str, wrong: str
) -> None:
    pair = built(demo, sentence)
    assert (pair.clean, pair.corrupt) == (clean, corrupt)
    assert (pair.answers, pair.wrongs) == ((answer,), (wrong,))
    (role,) = pair.roles
    named = str(pair.clean)[role.start : role.stop]
    assert role.name == "subject"
    assert named in sentence
    assert named not in corrupt.split()


@pytest.mark.parametrize(
    "word",
    [
        *("key", "child", "woman", "city", "bus", "boss", "crisis", "status", "knife", "person"),
        *("house", "box", "mouse", "glass", "lens", "walrus"),
    ],
)
def test_numbers_go_there_and_back(demo: pw.Model, word: str) -> None:
    there = built(demo, f"The {word} is here", align="edges")
    back = built(demo, f"{there.corrupt} are here", align="edges")
    assert back.corrupt == there.clean == f"The {word}"


@pytest.mark.parametrize(
    ("sentence", "says"),
    [
        ("The keys opened the door", "no verb to ask for"),
        ("Does the dog bark", "no verb to ask for"),
        ("This island's history isn't has-been", "no verb to ask for"),
        ("", "no verb to ask for"),
        ("The keys is here", "do not agree in number"),
        ("The key are here", "do not agree in number"),
        ("The women was here", "do not agree in number"),
        ("The sheep are here", "same in both numbers"),
        ("The series is long", "same in both numbers"),
        ("Mary is here", "looks like a name"),
        ("The key and the book are here", "joins several nouns"),
        ("He is here", "has no noun"),
        ("123 is odd", "has no noun"),
        ("A key is here", "'a' goes with one number only"),
        ("These keys are here", "'these' goes with one number only"),
        # Inside another word, and as the first word, a verb is none.
        ("Do this: the history of the islands was lost", "'this' goes with one number only"),
    ],
)
def test_what_cannot_be_a_pair_is_refused_with_a_sentence(
    demo: pw.Model, sentence: str, says: str
) -> None:
    with pytest.raises(PromptError, match=says):
        built(demo, sentence)


def test_numbers_of_different_length_are_refused_unless_edges_are_matched(demo: pw.Model) -> None:
    sentence = "The walrus near the river is late"
    with pytest.raises(UnequalLengthsError, match="--align edges"):
        built(demo, sentence)
    pair = built(demo, sentence, align="edges")
    result = pw.patch(demo, pair, roles=["subject", "last"])
    assert bool(result.patched.notnull().all())
    assert result.patched["role"].values.tolist() == ["subject", "last"]


def test_the_demo_model_answers_what_is_built(demo: pw.Model) -> None:
    result = pw.patch(demo, built(demo, "The keys to the cabinet are old"), roles=["subject"])
    assert result.clean.metric > 5
    assert result.corrupt.metric < -5
    assert float(result.effect.sel(layer=0, role="subject")) == pytest.approx(1, abs=1e-4)
