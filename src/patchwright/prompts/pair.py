"""A clean/corrupt pair, its answers, and what is checked before anything runs."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeGuard, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    model_validator,
)

from patchwright.errors import AnswerError, InputError, PromptError, quoted
from patchwright.prompts.align import (
    EDGES_HINT,
    Align,
    Matching,
    match_positions,
    unequal_lengths_error,
)
from patchwright.prompts.chat import chat_ids, chat_notices
from patchwright.prompts.messages import (
    Message,
    contents_text,
    is_chat,
    looks_like_chat,
    messages_of,
    text_to_continue,
)
from patchwright.prompts.roles import Role, check_roles
from patchwright.prompts.tokens import (
    Tokenizer,
    encode_inside,
    encode_prompt,
    quoted_token,
    special_notices,
    token_texts,
    visible,
    with_bos,
)
from patchwright.validation import first_error, to_python, whole_number
from patchwright.warnings import Notice


def _parse_text(value: object) -> object:
    """A text, or token ids as whole numbers. Raises ValueError for anything else."""
    value = to_python(value)
    if isinstance(value, str):
        return value
    with suppress(ValueError):
        if _is_list(value):
            return tuple(whole_number(one) for one in value)
    raise ValueError("give a text, or the token ids of one prompt as whole numbers")


def _parse_prompt(value: object) -> object:
    """A text, token ids, or the messages of a chat. Raises ValueError for anything else."""
    if _is_list(value) and looks_like_chat(value):
        return messages_of(value)
    return _parse_text(value)


def _parse_answers(value: object) -> object:
    """Texts or token ids; one counts as a list of one. Raises ValueError for anything else."""
    value = () if value is None else to_python(value)
    items = list(value) if _is_list(value) else [value]
    if all(isinstance(one, str) for one in items):
        return tuple(items)
    with suppress(ValueError):
        return tuple(whole_number(one) for one in items)
    raise ValueError("give a text or a list of texts, or a token id or a list of token ids")


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _frozen(value: str | Sequence[object]) -> str | tuple[object, ...]:
    """Of JSON and of Python the same kind of value, which an experiment's hash compares."""
    return value if isinstance(value, str) else tuple(value)


Text = Annotated[str | Sequence[int], BeforeValidator(_parse_text), AfterValidator(_frozen)]
"""A text or token ids."""

if TYPE_CHECKING:  # What may be given; the field itself has `Message`s.
    Prompt = str | Sequence[int] | Sequence[Message] | Sequence[Mapping[str, str]]
else:
    Prompt = Annotated[
        str | Sequence[int] | Sequence[Message],
        BeforeValidator(_parse_prompt),
        AfterValidator(_frozen),
    ]
"""A text, token ids, or the messages of a chat."""

Answers = Annotated[
    str | int | Sequence[str] | Sequence[int],
    BeforeValidator(_parse_answers),
    AfterValidator(_frozen),
]


class Pair(BaseModel):
    """Two prompts, their answer and a wrong answer.

    `clean` and `corrupt` are texts, lists of token ids, or the messages of a chat, as in
    `[{"role": "user", "content": "…"}]`, which the tokenizer's chat template writes
    (`prompts.chat`); `answer` and `wrong` are each
    a text or a list of texts or, if the prompts are token ids, an id or a list of ids.
    NumPy arrays and PyTorch tensors are read as lists. `wrong` may be left out
    for metrics that do not need it. `align` says how positions are matched
    where the prompts have different numbers of tokens (`prompts.align`); `roles` name
    places of the clean prompt (`prompts.roles`). Raises PromptError, AnswerError or
    InputError for a field of another type.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clean: Prompt
    corrupt: Prompt
    answer: Answers
    wrong: Answers = ()
    align: Align = "exact"
    roles: tuple[Role, ...] = ()

    if not TYPE_CHECKING:  # There the fields are the signature.

        def __init__(self, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise _pair_error(error) from None

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_roles(
            self.roles, len(contents_text(self.clean) if is_chat(self.clean) else self.clean)
        )
        texts = any(isinstance(one, str) or is_chat(one) for one in (self.clean, self.corrupt))
        for name, answers in (("answer", self.answers), ("wrong", self.wrongs)):
            if texts and any(isinstance(one, int) for one in answers):
                raise AnswerError(
                    f"'{name}' has a number, which would be a token id, and the prompts are text: "
                    "write it as text too, with its leading space, such as ' 1969', or give token ids "
                    "for both prompts."
                )
        return self

    @property
    def answers(self) -> tuple[str, ...] | tuple[int, ...]:
        """`answer`, as a list always."""
        return cast("tuple[str, ...]", self.answer)

    @property
    def wrongs(self) -> tuple[str, ...] | tuple[int, ...]:
        """`wrong`, as a list always."""
        return cast("tuple[str, ...]", self.wrong)


def _pair_error(error: ValidationError) -> InputError:
    """What is wrong with a pair's fields, as the error of that field."""
    cause = error.errors()[0].get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return cause
    where, what = first_error(error)
    kinds = {
        "clean": PromptError,
        "corrupt": PromptError,
        "answer": AnswerError,
        "wrong": AnswerError,
    }
    kind = kinds.get(where, InputError)
    return kind(f"The pair's field {quoted(where)}: {what}" if where else f"The pair: {what}")


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
    pair: Pair,
    tokenizer: Tokenizer | None,
    *,
    n_vocab: int,
    n_context: int,
    bos: bool = True,
    instead: str = EDGES_HINT,
) -> TokenPair:
    """`pair` in tokens, checked.

    `instead` says what can be done about unequal lengths besides rewording; where that is not
    `EDGES_HINT`, edges are not matched even if the pair asks for it.
    Raises PromptError (empty, too long, identical, unequal lengths) or
    AnswerError (none, empty, outside the vocabulary).
    """
    clean = _checked_prompt_ids("clean", pair.clean, tokenizer, n_vocab, bos)
    corrupt = _checked_prompt_ids("corrupted", pair.corrupt, tokenizer, n_vocab, bos)
    if clean == corrupt:
        raise PromptError(
            "The clean and the corrupted prompt are the same tokens, so there is nothing to "
            "patch: change at least one word of the corrupted prompt."
        )
    prompts = {"The clean prompt": clean, "The corrupted prompt": corrupt}
    for name, ids in prompts.items():
        _check_length(name, len(ids), n_context)
    clean_texts, corrupt_texts = token_texts(clean, tokenizer), token_texts(corrupt, tokenizer)
    if len(clean) != len(corrupt) and (pair.align == "exact" or instead != EDGES_HINT):
        raise unequal_lengths_error(clean_texts, corrupt_texts, instead)
    answers, wrongs = _tokenize_answers(pair, prompts, tokenizer, n_vocab, n_context)
    return TokenPair(
        clean,
        corrupt,
        clean_texts,
        corrupt_texts,
        answers,
        wrongs,
        match_positions(clean, corrupt, pair.align),
        (*_trailing_space_notices(pair), *_leading_space_notices(pair, tokenizer)),
    )


def tokenize_prompt(
    prompt: Prompt,
    answer: object,
    wrong: object,
    tokenizer: Tokenizer | None,
    *,
    n_vocab: int,
    n_context: int,
    bos: bool = True,
) -> TokenPair:
    """One prompt with its answers, as a pair of the prompt with itself; raises as `tokenize`."""
    fields: dict[str, Any] = {"answer": answer, "wrong": wrong}
    pair = Pair(clean=prompt, corrupt=prompt, **fields)
    ids = _checked_prompt_ids("clean", pair.clean, tokenizer, n_vocab, bos)
    answers, wrongs = _tokenize_answers(pair, {"The prompt": ids}, tokenizer, n_vocab, n_context)
    texts = token_texts(ids, tokenizer)
    notices = (*_trailing_space_notices(pair)[:1], *_leading_space_notices(pair, tokenizer))
    return TokenPair(
        ids, ids, texts, texts, answers, wrongs, match_positions(ids, ids, "exact"), notices
    )


def prompt_ids(prompt: Prompt, tokenizer: Tokenizer | None, bos: bool) -> tuple[int, ...]:
    """A prompt's token ids, with the beginning-of-text token first where `bos`.

    Before the messages of a chat it is there whatever `bos` says.
    """
    if isinstance(prompt, str):
        return encode_prompt(prompt, tokenizer, bos)
    if is_chat(prompt):
        return chat_ids(prompt, tokenizer)
    ids = cast("Sequence[int]", prompt)
    return with_bos(tuple(ids), tokenizer, bos) if ids else ()


def prompt_notices(
    prompts: Sequence[Prompt], tokenizer: Tokenizer | None, bos: bool
) -> list[Notice]:
    """What is to be known of tokens of `prompts` that nobody typed, each thing once."""
    chats = [one for one in prompts if is_chat(one)]
    typed = any(isinstance(one, str) for one in prompts)
    others = len(chats) < len(prompts)
    return [*special_notices(tokenizer, bos and others, typed), *chat_notices(chats, tokenizer)]


def _tokenize_answers(
    pair: Pair,
    prompts: Mapping[str, tuple[int, ...]],
    tokenizer: Tokenizer | None,
    n_vocab: int,
    n_context: int,
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """Answers and wrong answers in tokens; they have none in common, and fit behind the prompts."""
    answers = _answer_ids("answer", pair.answers, tokenizer, n_vocab)
    if not answers:
        raise AnswerError("No answer was given: name at least one right next token.")
    wrongs = _answer_ids("wrong answer", pair.wrongs, tokenizer, n_vocab)
    if common := set(answers) & set(wrongs):
        shown = visible("".join(token_texts(min(common), tokenizer)))
        raise AnswerError(f"'{shown}' is both an answer and a wrong answer: name it only once.")
    longest = max(len(one) for one in (*answers, *wrongs)) - 1
    for name, ids in prompts.items():
        _check_length(f"{name} with its longest answer", len(ids) + longest, n_context)
    return answers, wrongs


def _check_length(what: str, length: int, n_context: int) -> None:
    if length > n_context:
        raise PromptError(
            f"{what} has {length} tokens; the model takes at most {n_context}. Shorten it."
        )


def _checked_prompt_ids(
    name: str, prompt: Prompt, tokenizer: Tokenizer | None, n_vocab: int, bos: bool
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


def _answer_ids(
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


def _trailing_space_notices(pair: Pair) -> list[Notice]:
    return [
        Notice(
            code="trailing_space",
            message=f"The {name} prompt ends in a space. Most tokenizers put the space at the "
            "start of the next word, so the model now expects an unusual token: remove it.",
        )
        for name, prompt in (("clean", pair.clean), ("corrupted", pair.corrupt))
        if (text_to_continue(prompt) or "")[-1:].isspace()
    ]


def _leading_space_notices(pair: Pair, tokenizer: Tokenizer | None) -> list[Notice]:
    if is_chat(pair.clean) and text_to_continue(pair.clean) is None:
        return []  # An answer that begins a turn follows no word.
    end = (text_to_continue(pair.clean) or "")[-1:]
    return [
        Notice(
            code="no_leading_space",
            message=f"The answer {quoted_token(item)} has no leading space, so it is not the same token "
            f"as {quoted_token(' ' + item)}, which usually follows a word: write ' {visible(item)}' if "
            "you mean the whole word.",
        )
        for item in (*pair.answers, *pair.wrongs)
        if isinstance(item, str)
        and _lacks_space(item, end)
        and encode_inside(" " + item, tokenizer) != encode_inside(item, tokenizer)
    ]


def _lacks_space(answer: str, end: str) -> bool:
    """Whether an answer is a word that begins without a space behind a prompt's `end`."""
    # A number may be completed, as in "from 1732 to 17", or be the result of a sum: "2+3=".
    number = answer[:1].isdigit() and not (end.isdigit() or end == "=")
    return (answer[:1].isalpha() or number) and not end.isspace()


def answers_without_space(pair: Pair) -> list[str]:
    """The answers and wrong answers that begin with no space after a prompt that is a text."""
    end = pair.clean[-1:] if isinstance(pair.clean, str) else " "
    return [
        one
        for one in (*pair.answers, *pair.wrongs)
        if isinstance(one, str) and _lacks_space(one, end)
    ]


def with_spaces(pair: Pair) -> Pair:
    """The same pair, its answers that lack their space with one."""
    lacking = set(answers_without_space(pair))

    def spaced_answers(answers: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(f" {one}" if one in lacking else one for one in answers)

    changed = {"answer": spaced_answers(pair.answers), "wrong": spaced_answers(pair.wrongs)}
    return pair.model_copy(update=changed)
