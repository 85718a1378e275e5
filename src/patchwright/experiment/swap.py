"""Swap a word: corrupted prompts of equal token length, ranked by how well they flip the answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from patchwright.algorithms.suggest import is_spelled_like, next_tokens, score_swaps
from patchwright.axes import BUDGET
from patchwright.errors import AnswerError, PromptError
from patchwright.model.load import Model
from patchwright.prompts.characters import find_text
from patchwright.prompts.pair import Pair, tokenize_prompt
from patchwright.prompts.roles import Role
from patchwright.prompts.tokens import Span, encode_inside, encode_prompt, token_texts, visible

SWAPPED_ROLE = "swapped"
"""The role of the word that was swapped."""

CANDIDATE_TOKENS = 1000
"""Tokens of the vocabulary that are looked at, the likeliest in the word's place first."""

MOST_CANDIDATES = 200
"""Words of the vocabulary that are run, at most."""


@dataclass(frozen=True)
class Swap:
    """A replacement for a word, and the pair that it makes.

    `difference` is the logit difference of the answer and the wrong one after the
    corrupted prompt: the lower, the better the swap; below 0 the answer has flipped.
    """

    word: str
    pair: Pair
    difference: float

    @property
    def flips(self) -> bool:
        """Whether the wrong answer is ahead."""
        return self.difference < 0


def swap(
    model: Model,
    prompt: str,
    word: str,
    answer: str,
    wrong: str | None = None,
    count: int = 10,
    words: Sequence[str] = (),
    occurrence: int = 1,
    bos: bool = True,
    budget: int = BUDGET,
) -> list[Swap]:
    """The `count` best corrupted prompts that replace `word` by another word.

    Replacements come from `words` and from the vocabulary. Of the vocabulary it tries words
    that the model expects there, with the same case of the first letter, so that prompts stay
    natural. All prompts have the clean prompt's number of tokens. Without `wrong`, the wrong
    answer of each pair is the most likely token after its corrupted prompt, apart from the
    answer. The pairs have the role `swapped`. They are chosen for their effect, so do not average over them.
    Raises PromptError if the word or a replacement is missing, AnswerError for answers
    that are not one token.
    """
    _check_text(prompt)
    tokenizer = model.tokenizer
    sizes = {"n_vocab": model.n_tokens, "n_context": model.spec.n_context}
    asked = tokenize_prompt(prompt, answer, wrong, tokenizer, **sizes, bos=bos)
    if not asked.single_tokens:
        raise AnswerError(
            "Swaps are ranked by the logit of one token, and an answer has several: name answers "
            "of one token, with their space, such as ' Mary'."
        )
    clean, right = asked.clean, asked.answers[0][0]
    other = asked.wrongs[0][0] if asked.wrongs else None
    found = _find_word(prompt, word, occurrence)
    before, behind = prompt[: found[0]], prompt[found[1] :]
    offered = [*words, *expected_words(model, before, word, bos)]
    texts = {one: before + one + behind for one in dict.fromkeys(offered) if one != word}
    tokens = {one: encode_prompt(text, tokenizer, bos) for one, text in texts.items()}
    fitting = [one for one, ids in tokens.items() if len(ids) == len(clean) and ids != clean]
    if not fitting:
        raise PromptError(
            f"No word of as many tokens as '{visible(word)}' was found for its place: name some "
            "with words=[…] (--word)."
        )
    after = score_swaps(
        model.network, clean, [tokens[one] for one in fitting], right, other, budget
    )
    role = Role(name=SWAPPED_ROLE, start=found[0], stop=found[1])
    swaps: list[Swap] = []
    for one, (difference, rival) in zip(fitting, after, strict=True):
        text = token_texts([rival], tokenizer)[0] if wrong is None else wrong
        # A token that is a part of a character cannot be written as an answer.
        if encode_inside(text, tokenizer) == (rival,):
            pair = Pair(clean=prompt, corrupt=texts[one], answer=answer, wrong=text, roles=(role,))
            swaps.append(Swap(one, pair, difference))
    return sorted(swaps, key=lambda one: one.difference)[:count]


def _check_text(prompt: object) -> None:
    if not isinstance(prompt, str):
        raise PromptError(
            "Words are swapped in plain text, and the prompt is a list: give its text, and put what "
            "comes out into messages."
        )


def _find_word(prompt: str, word: str, occurrence: int) -> Span:
    """Where the word stands, as a whole word. Raises PromptError."""
    found, whole = find_text(prompt, word)
    places = found if whole and word.strip() else []
    if not 1 <= occurrence <= len(places):
        raise PromptError(
            f"'{visible(word)}' stands {len(places)} times in the prompt as a whole word, and "
            f"number {occurrence} was asked for: write it as it stands there."
        )
    return places[occurrence - 1]


def expected_words(model: Model, before: str, word: str, bos: bool) -> list[str]:
    """Words of the vocabulary that may follow `before`, likeliest first."""
    spaced = before.endswith(" ")
    context = before.removesuffix(" ")
    ids = model.tokenizer.bos_ids if model.tokenizer is not None and bos else ()
    if context:
        ids = encode_prompt(context, model.tokenizer, bos)
    if not ids:
        return []
    most = min(CANDIDATE_TOKENS, model.n_tokens)
    texts = token_texts(next_tokens(model.network, ids, most), model.tokenizer)
    shown = f" {word}" if spaced else word
    return [text.removeprefix(" ") for text in texts if is_spelled_like(text, shown)][
        :MOST_CANDIDATES
    ]
