"""One sentence -> a pair: agreement of a verb with its subject.

Numbers of nouns come from the library `inflect`, which knows English irregular
plurals; what it cannot decide is refused with a sentence rather than guessed.
"""

import re
from functools import cache

import inflect

from patchwright.errors import PromptError
from patchwright.prompts.align import Align, unequal_lengths_error
from patchwright.prompts.pair import Pair
from patchwright.prompts.roles import Role
from patchwright.prompts.tokens import Tokenizer, encode_prompt, token_texts, visible

SUBJECT = "subject"

_VERBS = {"is": "are", "was": "were", "has": "have", "does": "do"}
"""Singular -> plural."""
_COUNTERPARTS = _VERBS | {many: one for one, many in _VERBS.items()}

# Never inside another word: not in "this", "isn't", "has-been" or "Does".
_VERB = re.compile(rf"(?<![\w'’-])(?:{'|'.join(_COUNTERPARTS)})(?![\w'’-])")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")

_AFTER_THE_SUBJECT = frozenset(
    "to of near behind beside from in on at with by for about above across after against along "
    "among around before below beneath between beyond during inside into like off onto outside "
    "over past since through throughout toward towards under underneath upon within without that "
    "who whom whose which where when".split()
)
"""Prepositions and relative words: what they begin stands between a subject and its verb."""

_ONE_NUMBER = frozenset(
    "a an each every either neither one many few several both all this these those".split()
)
_PRONOUNS = frozenset(
    "i you he she it we they this that these those there who what everyone someone".split()
)


def agreement(sentence: str, tokenizer: Tokenizer | None, align: Align = "exact") -> Pair:
    """A pair that asks for the verb of `sentence`: "The keys to the cabinet are on the table".

    The clean prompt is the text before the first of is/are, was/were, has/have, does/do;
    the answer is that verb, wrong its counterpart, and the corrupted prompt has the
    subject in the other number. The subject is the last word before the first
    preposition or relative word (or the verb); it has the role `subject`. Raises
    PromptError where there is no such verb or subject, where they do not agree, and
    (UnequalLengthsError) where the two numbers differ in tokens, unless `align` is edges.
    """
    verb = next((one for one in _VERB.finditer(sentence) if sentence[: one.start()].strip()), None)
    if verb is None:
        raise PromptError(
            f"'{visible(sentence)}' has no verb to ask for: write one of "
            f"{', '.join(_COUNTERPARTS)} after its subject, in lower case."
        )
    clean = sentence[: verb.start()].rstrip()
    subject = _subject_word(clean)
    singular = verb[0] in _VERBS
    corrupt = _replace_subject(clean, subject, singular, verb[0])
    role = Role(name=SUBJECT, start=subject.start(), stop=subject.end())
    pair = Pair(
        clean=clean,
        corrupt=corrupt,
        answer=f" {verb[0]}",
        wrong=f" {_COUNTERPARTS[verb[0]]}",
        align=align,
        roles=(role,),
    )
    texts = [
        token_texts(encode_prompt(one, tokenizer, False), tokenizer) for one in (clean, corrupt)
    ]
    if len(texts[0]) != len(texts[1]) and align == "exact":
        raise unequal_lengths_error(texts[0], texts[1])
    return pair


def flip_subject_number(prompt: str, verb: str, other: str) -> tuple[str, str]:
    """`prompt` with its subject in the number that `other` agrees with, and the subject.

    Raises PromptError where `verb` and `other` are not the two numbers of one verb, and as `agreement`.
    """
    one, many = verb.removesuffix("n't"), other.removesuffix("n't")
    singular = _VERBS.get(one) == many or one in (f"{many}s", f"{many}es")
    if not singular and _VERBS.get(many) != one and many not in (f"{one}s", f"{one}es"):
        raise PromptError(
            f"'{visible(verb)}' and '{visible(other)}' are not one verb's two numbers."
        )
    subject = _subject_word(prompt)
    return _replace_subject(prompt, subject, singular, verb), subject[0]


def _replace_subject(prompt: str, subject: re.Match[str], singular: bool, verb: str) -> str:
    """The prompt with its subject, which is `singular`, in the other number."""
    other = _inflect_noun(subject[0], singular, verb)
    return prompt[: subject.start()] + other + prompt[subject.end() :]


def _subject_word(prompt: str) -> re.Match[str]:
    """The word that the verb behind `prompt` agrees with. Raises PromptError."""
    words: list[re.Match[str]] = []
    for word in _WORD.finditer(prompt):
        if words and word[0].lower() in _AFTER_THE_SUBJECT:
            break
        words.append(word)
    before = [word[0].lower() for word in words]
    if {"and", "or", "nor"} & set(before):
        raise _no_subject_error(prompt, "it joins several nouns, whose number is not one word's")
    if not words or before[-1] in _PRONOUNS | _AFTER_THE_SUBJECT:
        raise _no_subject_error(prompt, "it has no noun")
    if numbered := [word for word in before[:-1] if word in _ONE_NUMBER]:
        raise _no_subject_error(prompt, f"'{numbered[0]}' goes with one number only; write 'the'")
    return words[-1]


def _no_subject_error(prompt: str, why: str) -> PromptError:
    return PromptError(
        f"The subject of '{visible(prompt)}' cannot be changed in number: {why}. Begin with a "
        "sentence such as 'The keys to the cabinet are'."
    )


def _inflect_noun(noun: str, singular: bool, verb: str) -> str:
    """The noun in the other number. Raises PromptError where it disagrees, or has only one."""
    one, many = _engine().singular_noun(noun), _engine().plural_noun(noun)
    if noun in (one, many):
        raise PromptError(
            f"'{visible(noun)}' is the same in both numbers, so nothing would change: choose "
            "another subject."
        )
    # "bus" ends like a plural, and the library takes it for one of "bu"; but it puts a bare
    # s only behind a word in s that is a plural: "keyss", and "buses".
    plural = bool(one) and (not noun.endswith("s") or many == f"{noun}s")
    if plural == singular:
        raise PromptError(
            f"'{visible(noun)}' and '{verb}' do not agree in number, so '{verb}' would be a wrong "
            "answer: correct the sentence."
        )
    if singular and noun[0].isupper():
        raise PromptError(
            f"'{visible(noun)}' looks like a name, and names have no other number: begin with "
            "a noun, as in 'The key'."
        )
    return str(many if singular else one)


@cache
def _engine() -> inflect.engine:
    return inflect.engine()
