import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

import patchwright as pw
from patchwright.errors import InputError, PromptError
from patchwright.model.tokenizer import TextTokenizer
from patchwright.prompts.builtin_templates import task, tasks
from patchwright.prompts.tokens import encode
from vocabularies import sentence_piece

MEETING: dict[str, Any] = {
    "text": "When {A} and {B} went to the {PLACE}, {S} gave a {OBJECT} to",
    "slots": {
        "A": ["Mary", "John", "Tom"],
        "B": ["Mary", "John", "Tom"],
        "S": "{B}",
        "PLACE": ["store", "park"],
        "OBJECT": ["book"],
    },
    "corrupt": {"S": "{A}"},
    "answer": " {A}",
    "wrong": " {B}",
}
NAMES = [one.name for one in tasks()]


def made(model: pw.Model, count: int, seed: int = 0, **changes: Any) -> list[pw.Pair]:
    template = pw.Template.of(MEETING | changes)
    return pw.from_template(template, count, model.tokenizer, seed)


def lengths(model: pw.Model, pairs: list[pw.Pair]) -> set[int]:
    prompts = [str(text) for pair in pairs for text in (pair.clean, pair.corrupt)]
    return {len(encode(text, model.tokenizer)) for text in prompts}


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 12))
def test_built_in_templates_keep_what_they_promise(
    demo: pw.Model, name: str, seed: int, count: int
) -> None:
    template = task(name).template
    pairs = pw.from_template(template, count, demo.tokenizer, seed)
    assert pairs == pw.from_template(template, count, demo.tokenizer, seed)
    assert len(set(pairs)) == count
    assert len(lengths(demo, pairs)) == 1
    for pair in pairs:
        assert not set(pair.answers) & set(pair.wrongs)
        assert all(len(encode(str(one), demo.tokenizer)) == 1 for one in pair.answers)
        assert all(str(pair.clean)[role.start : role.stop].strip() for role in pair.roles)


def prefixing(demo: pw.Model) -> PreTrainedTokenizerBase:
    """The demo model's tokenizer, with a space before every text."""
    assert demo.tokenizer is not None
    whole = demo.tokenizer.whole
    return type(whole).from_pretrained(whole.name_or_path, add_prefix_space=True)


def of_built_in_words(demo: pw.Model, normalised: bool) -> PreTrainedTokenizerBase:
    """SentencePiece's way, trained on the built-in templates."""
    pairs = [pair for one in tasks() for pair in pw.from_template(one.template, 40, demo.tokenizer)]
    texts = [str(text) for pair in pairs for text in (pair.clean, *pair.answers)]
    return PreTrainedTokenizerFast(tokenizer_object=sentence_piece(normalised, texts))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["prefix space", "SentencePiece", "Llama 2"])
def test_built_in_templates_give_pairs_where_a_tokenizer_puts_a_space_first(
    demo: pw.Model, name: str, kind: str
) -> None:
    whole = (
        prefixing(demo) if kind == "prefix space" else of_built_in_words(demo, kind == "Llama 2")
    )
    tokenizer = TextTokenizer(whole)
    assert tokenizer.puts_space
    if name == "greater-than" and kind != "prefix space":
        with pytest.raises(PromptError, match=r"No word of \{START\} is a single token"):
            pw.from_template(task(name).template, 10, tokenizer)
        return
    pairs = pw.from_template(task(name).template, 10, tokenizer)
    prompts = [str(text) for pair in pairs for text in (pair.clean, pair.corrupt)]
    assert len({len(encode(text, tokenizer)) for text in prompts}) == 1
    for pair in pairs:
        for one in pair.answers:
            behind = encode(f"{pair.clean}{one}", tokenizer)
            assert len(behind) <= len(encode(str(pair.clean), tokenizer)) + 1


# It was trained on English sentences, and on no code.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "docstring"])
def test_the_demo_model_knows_the_built_in_tasks(demo: pw.Model, name: str) -> None:
    pairs = pw.from_template(task(name).template, 12, demo.tokenizer, 1)
    metric = "prob_diff" if name == "greater-than" else "logit_diff"
    result = pw.patch(demo, pairs, "z", layers=[0], heads=[0], metric=metric)
    right = [one.metric > other.metric for one, other in _both(result)]
    assert sum(right) >= 11


def _both(result: pw.Result) -> Any:
    return zip(result.clean.pairs, result.corrupt.pairs, strict=True)


def test_two_hundred_indirect_object_pairs_and_a_seed_of_ones_own(demo: pw.Model) -> None:
    template = task("indirect-object").template
    pairs, others = (pw.from_template(template, 200, demo.tokenizer, seed=seed) for seed in (0, 1))
    assert len(set(pairs)) == 200
    assert lengths(demo, pairs) == {14}
    assert set(pairs) != set(others)


def test_slots_are_filled_swapped_and_named(demo: pw.Model) -> None:
    pairs = made(demo, 12)
    by_text = {pair.clean: pair for pair in pairs}
    pair = by_text["When Mary and Tom went to the park, Tom gave a book to"]
    assert pair.corrupt == "When Mary and Tom went to the park, Mary gave a book to"
    assert (pair.answers, pair.wrongs) == ((" Mary",), (" Tom",))
    said = [(one.name, str(pair.clean)[one.start : one.stop]) for one in pair.roles]
    words = ["Mary", "Tom", "park", "Tom", "book"]
    assert said == list(zip(["A", "B", "PLACE", "S", "OBJECT"], words, strict=True))


def test_words_that_belong_together_stay_together(demo: pw.Model) -> None:
    countries = [["France", "Paris"], ["Italy", "Rome"]]
    (one, two) = made(
        demo, 2, text="The capital of {C} is", slots={"C": countries, "O": countries},
        corrupt={"C": "{O}"}, answer=" {C.1}", wrong=" {O.1}",
    )  # fmt: skip
    assert {one.clean: one.answers, two.clean: two.answers} == {
        "The capital of France is": (" Paris",),
        "The capital of Italy is": (" Rome",),
    }
    assert one.corrupt == two.clean


def test_more_pairs_than_there_are_are_refused_with_their_number(demo: pw.Model) -> None:
    assert len(made(demo, 12)) == 12
    with pytest.raises(PromptError, match="Ask for at most 12, or give more words"):
        made(demo, 13)


def test_a_seed_below_zero_is_refused_and_is_not_its_absolute_value(demo: pw.Model) -> None:
    with pytest.raises(PromptError, match="A seed of -1: give a whole number"):
        made(demo, 1, seed=-1)


def test_words_of_several_tokens_are_passed_over_or_counted(demo: pw.Model) -> None:
    slots = MEETING["slots"] | {"PLACE": ["store", "Eiffel Tower"]}
    assert not any("Eiffel" in str(pair.clean) for pair in made(demo, 6, slots=slots))
    long = made(demo, 6, slots=slots, tokens={"PLACE": 2})
    assert all("Eiffel" in str(pair.clean) for pair in long)
    assert lengths(demo, long) == {15}
    with pytest.raises(
        PromptError, match=r"No word of \{PLACE\} is a single token.*'Eiffel·Tower'"
    ):
        made(demo, 1, slots=MEETING["slots"] | {"PLACE": ["Eiffel Tower"]})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"text": "{X} went to"}, r"the slot \{X\}: those with words are \{A\}, \{B\}"),
        ({"answer": " {A.1}"}, "has no such form"),
        ({"slots": MEETING["slots"] | {"A": []}}, r"\{A\} needs a list of words"),
        ({"slots": MEETING["slots"] | {"S": "{S}"}}, r"has the slot \{S\}"),
        ({"corrupt": {}}, "which slot changes"),
        ({"corrupt": {"Z": "a"}}, "no such slot"),
        ({"slots": MEETING["slots"] | {"A": [["a", ["b"]]]}, "text": "{A.1}"}, "only answers take"),
        ({"words": 1}, "field 'words'"),
        ({"text": ["{A} {B} {S}", "{A} {S}"]}, "have 3, 2 tokens"),
    ],
    ids=str,
)
def test_a_template_that_makes_no_sense_is_refused(
    demo: pw.Model, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(PromptError, match=says):
        made(demo, 1, **changes)


def test_what_a_user_typed_is_no_format_string(demo: pw.Model) -> None:
    slots = MEETING["slots"] | {"OBJECT": ["book"]}
    (pair,) = made(demo, 1, text="{A} {0.__class__} {B} {{ {S}", slots=slots)
    assert "{0.__class__}" in str(pair.clean)


def test_a_template_survives_json() -> None:
    for one in tasks():
        assert pw.Template.of(json.loads(one.template.model_dump_json())) == one.template
    with pytest.raises(InputError, match="They are: indirect-object, capital"):
        task("nothing")
