import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchwright as pw
from patchwright.errors import PromptError
from patchwright.prompts.pair import prompt_ids
from patchwright.prompts.roles import Role, role_position
from patchwright.prompts.tokens import token_texts
from tiny import pair_of

CLEAN = "The keys to the cabinet"


def at(pair: pw.Pair, model: pw.Model, name: str, bos: bool = True) -> int:
    return role_position(
        pair.clean, pair.roles, prompt_ids(pair.clean, model.tokenizer, bos), model.tokenizer, name
    )


def named(clean: str, start: int, stop: int) -> pw.Pair:
    role = Role(name="subject", start=start, stop=stop)
    return pw.Pair(clean=clean, corrupt="x", answer=" are", roles=(role,))


@pytest.mark.parametrize("bos", [True, False])
def test_a_role_stands_at_the_token_of_its_word(demo: pw.Model, bos: bool) -> None:
    pair = named(CLEAN, 4, 8)
    texts = token_texts(prompt_ids(CLEAN, demo.tokenizer, bos), demo.tokenizer)
    assert texts[at(pair, demo, "subject", bos)] == " keys"
    assert texts[at(pair, demo, "last", bos)] == " cabinet"


def test_a_word_of_several_tokens_stands_at_its_last(demo: pw.Model) -> None:
    clean = "The capital of Madagascar is"
    texts = token_texts(prompt_ids(clean, demo.tokenizer, True), demo.tokenizer)
    position = at(named(clean, 15, 25), demo, "subject")
    assert texts[position + 1] == " is"
    assert "".join(texts[4 : position + 1]) == " Madagascar"
    assert position > 4


@given(
    before=st.text(st.sampled_from("aü日🐭 é\ufffd"), max_size=4),
    word=st.text(st.sampled_from("bü日🐭x"), min_size=1, max_size=3),
    after=st.text(st.sampled_from("aü日🐭 e"), max_size=4),
)
def test_characters_of_several_tokens_are_counted_as_characters(
    demo: pw.Model, before: str, word: str, after: str
) -> None:
    assert demo.tokenizer is not None
    clean = before + word + after
    pair = named(clean, len(before), len(before + word))
    ids = list(prompt_ids(clean, demo.tokenizer, True))
    position = at(pair, demo, "subject")
    # Bytes do not lie: the role's last byte is in the first token up to which they suffice.
    vocabulary = demo.tokenizer.whole.convert_ids_to_tokens(ids[1:])
    lengths = [len(token) for token in vocabulary]  # byte-level: one sign a byte
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    wanted = len((before + word).encode())
    assert position == 1 + next(i for i, end in enumerate(ends) if end >= wanted)


def test_roles_of_token_ids_are_positions(model: pw.Model) -> None:
    pair = pair_of([1, 2, 3, 4], [1, 5, 3, 4], roles=(Role(name="subject", start=0, stop=2),))
    assert role_position(pair.clean, pair.roles, (49, 1, 2, 3, 4), None, "subject") == 2
    assert role_position(pair.clean, pair.roles, (1, 2, 3, 4), None, "subject") == 1


def test_an_unknown_role_is_refused_with_the_pair_and_its_roles(demo: pw.Model) -> None:
    with pytest.raises(
        PromptError, match=r"·keys·to.* no role 'verb': its roles are subject, last"
    ):
        at(named(CLEAN, 4, 8), demo, "verb")
