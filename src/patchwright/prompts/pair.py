"""A clean/corrupt pair, its answers, and what is checked before anything runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, model_validator

from patchwright.errors import AnswerError, PromptError
from patchwright.notices import Notice
from patchwright.prompts.align import Align, Matching, matching, unequal_lengths
from patchwright.prompts.roles import Role, check_roles
from patchwright.prompts.tokens import (
    Tokenizer,
    encode_inside,
    encode_prompt,
    started,
    token_texts,
    visible,
)


def _frozen(prompt: str | Sequence[int]) -> str | tuple[int, ...]:
    return prompt if isinstance(prompt, str) else tuple(prompt)


def _listed(value: object) -> object:
    """One answer counts as a list of one."""
    if isinstance(value, str | int | float):
        return (value,)
    return () if value is None else value


Prompt = Annotated[str | Sequence[int], AfterValidator(_frozen)]
Answers = Annotated[
    str | int | Sequence[str] | Sequence[int], BeforeValidator(_listed), AfterValidator(tuple)
]


class Pair(BaseModel):
    """Two prompts and the tokens that tell their answers apart.

    `clean` and `corrupt` are texts or lists of token ids; `answer` and `wrong` a
    text or a list of texts, or an id or a list of ids. `wrong` may be left out
    for the metrics that do not need it. `align` says how positions are matched
    where the prompts have different numbers of tokens (`prompts.align`); `roles` name
    places of the clean prompt (`prompts.roles`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clean: Prompt
    corrupt: Prompt
    answer: Answers
    wrong: Answers = ()
    align: Align = "exact"
    roles: tuple[Role, ...] = ()

    @model_validator(mode="after")
    def _check_roles(self) -> Self:
        check_roles(self.roles, len(self.clean))
        return self

    @property
    def answers(self) -> tuple[str, ...] | tuple[int, ...]:
        """`answer`, as a list always."""
        return cast("tuple[str, ...]", self.answer)

    @property
    def wrongs(self) -> tuple[str, ...] | tuple[int, ...]:
        """`wrong`, as a list always."""
        return cast("tuple[str, ...]", self.wrong)


@dataclass(frozen=True)
class TokenPair:
    """A pair in the tokens of one model.

    An answer is a tuple of token ids: usually one, several where the model's
    vocabulary splits it. `matching` pairs positions of clean with corrupt.
    """

    clean: tuple[int, ...]
    corrupt: tuple[int, ...]
    clean_texts: tuple[str, ...]
    corrupt_texts: tuple[str, ...]
    answers: tuple[tuple[int, ...], ...]
    wrongs: tuple[tuple[int, ...], ...]
    matching: Matching
    notices: tuple[Notice, ...]

    @property
    def single_tokens(self) -> bool:
        """Whether every answer and wrong answer is one token."""
        return all(len(answer) == 1 for answer in (*self.answers, *self.wrongs))

    @property
    def continuations(self) -> tuple[tuple[int, ...], ...]:
        """What must follow the prompt so that the last token of an answer can be read."""
        return tuple(sorted({answer[:-1] for answer in (*self.answers, *self.wrongs)}))


def tokenize(
    pair: Pair, tokenizer: Tokenizer | None, *, n_vocab: int, n_context: int, bos: bool = True
) -> TokenPair:
    """`pair` in tokens, checked.

    Raises PromptError (empty, too long, identical, unequal lengths) or
    AnswerError (none, empty, outside the vocabulary).
    """
    clean = _prompt("clean", pair.clean, tokenizer, n_vocab, bos)
    corrupt = _prompt("corrupted", pair.corrupt, tokenizer, n_vocab, bos)
    if clean == corrupt:
        raise PromptError(
            "The clean and the corrupted prompt are the same tokens, so there is nothing to "
            "patch: change at least one word of the corrupted prompt."
        )
    for name, prompt in (("clean", clean), ("corrupted", corrupt)):
        _check_length(f"The {name} prompt", len(prompt), n_context)
    clean_texts, corrupt_texts = token_texts(clean, tokenizer), token_texts(corrupt, tokenizer)
    if len(clean) != len(corrupt) and pair.align == "exact":
        raise unequal_lengths(clean_texts, corrupt_texts)
    answers, wrongs = _both_answers(pair, tokenizer, n_vocab)
    longest = max(len(answer) for answer in (*answers, *wrongs)) - 1
    for name, prompt in (("clean", clean), ("corrupted", corrupt)):
        _check_length(
            f"The {name} prompt with its longest answer", len(prompt) + longest, n_context
        )
    return TokenPair(
        clean,
        corrupt,
        clean_texts,
        corrupt_texts,
        answers,
        wrongs,
        matching(clean, corrupt, pair.align),
        (*_spaces_at_end(pair), *_missing_spaces(pair, tokenizer)),
    )


def tokenize_prompt(
    prompt: str | Sequence[int],
    answer: object,
    wrong: object,
    tokenizer: Tokenizer | None,
    *,
    n_vocab: int,
    n_context: int,
    bos: bool = True,
) -> TokenPair:
    """One prompt with its answers, as a pair of the prompt with itself; raises as `tokenize`."""
    pair = Pair.model_validate(
        {"clean": prompt, "corrupt": prompt, "answer": answer, "wrong": wrong}
    )
    ids = _prompt("clean", pair.clean, tokenizer, n_vocab, bos)
    answers, wrongs = _both_answers(pair, tokenizer, n_vocab)
    longest = max(len(one) for one in (*answers, *wrongs)) - 1
    _check_length("The prompt with its longest answer", len(ids) + longest, n_context)
    texts = token_texts(ids, tokenizer)
    notices = (*_spaces_at_end(pair)[:1], *_missing_spaces(pair, tokenizer))
    return TokenPair(ids, ids, texts, texts, answers, wrongs, matching(ids, ids, "exact"), notices)


def prompt_ids(
    prompt: str | Sequence[int], tokenizer: Tokenizer | None, bos: bool
) -> tuple[int, ...]:
    """A prompt's token ids, with the beginning-of-text token first where `bos`."""
    if isinstance(prompt, str):
        return encode_prompt(prompt, tokenizer, bos)
    return started(tuple(prompt), tokenizer, bos) if prompt else ()


def _both_answers(
    pair: Pair, tokenizer: Tokenizer | None, n_vocab: int
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """Answers and wrong answers in tokens; they have none in common."""
    answers = _answers("answer", pair.answers, tokenizer, n_vocab)
    if not answers:
        raise AnswerError("No answer was given: name at least one right next token.")
    wrongs = _answers("wrong answer", pair.wrongs, tokenizer, n_vocab)
    if common := set(answers) & set(wrongs):
        shown = visible("".join(token_texts(min(common), tokenizer)))
        raise AnswerError(f"'{shown}' is both an answer and a wrong answer: name it only once.")
    return answers, wrongs


def _check_length(what: str, length: int, n_context: int) -> None:
    if length > n_context:
        raise PromptError(
            f"{what} has {length} tokens; the model takes at most {n_context}. Shorten it."
        )


def _prompt(
    name: str, prompt: str | Sequence[int], tokenizer: Tokenizer | None, n_vocab: int, bos: bool
) -> tuple[int, ...]:
    ids = prompt_ids(prompt, tokenizer, bos)
    if not ids:
        raise PromptError(f"The {name} prompt is empty: give at least one token.")
    if outside := [token for token in ids if not 0 <= token < n_vocab]:
        raise PromptError(
            f"The {name} prompt has the token id {outside[0]}; the model's vocabulary is "
            f"0-{n_vocab - 1}."
        )
    return ids


def _answers(
    name: str, given: Sequence[str] | Sequence[int], tokenizer: Tokenizer | None, n_vocab: int
) -> tuple[tuple[int, ...], ...]:
    found = [(item,) if isinstance(item, int) else encode_inside(item, tokenizer) for item in given]
    for item, ids in zip(given, found, strict=True):
        if not ids:
            raise AnswerError(f"The {name} is empty: name the next token, such as ' Mary'.")
        if outside := [token for token in ids if not 0 <= token < n_vocab]:
            raise AnswerError(
                f"The {name} {item!r} has the token id {outside[0]}; the model's vocabulary is "
                f"0-{n_vocab - 1}."
            )
    return tuple(dict.fromkeys(found))


def _spaces_at_end(pair: Pair) -> list[Notice]:
    return [
        Notice(
            code="trailing_space",
            message=f"The {name} prompt ends in a space. Most tokenizers put the space at the "
            "start of the next word, so the model now expects an unusual token: remove it.",
        )
        for name, prompt in (("clean", pair.clean), ("corrupted", pair.corrupt))
        if isinstance(prompt, str) and prompt[-1:].isspace()
    ]


def _missing_spaces(pair: Pair, tokenizer: Tokenizer | None) -> list[Notice]:
    ends_in_space = isinstance(pair.clean, str) and pair.clean[-1:].isspace()
    return [
        Notice(
            code="no_leading_space",
            message=f"The answer '{visible(item)}' has no leading space and is another token than "
            f"'·{visible(item)}', which usually follows a word: write ' {visible(item)}' if you "
            "mean the whole word.",
        )
        for item in (*pair.answers, *pair.wrongs)
        if isinstance(item, str)
        and item[:1].isalpha()
        and not ends_in_space
        and encode_inside(" " + item, tokenizer) != encode_inside(item, tokenizer)
    ]
