"""A prompt as the messages of a chat, as they are typed: no template has been there yet."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeGuard, get_args

from pydantic import BaseModel, ConfigDict, Field

from patchwright.errors import PromptError

Speaker = Literal["system", "user", "assistant"]

MOST_MESSAGES = 64
"""Of one prompt."""


class Message(BaseModel):
    """A message of a chat: `{"role": "user", "content": "…"}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Speaker
    content: str = Field(min_length=1)


Messages = tuple[Message, ...]


def is_chat(prompt: object) -> TypeGuard[Messages]:
    """Whether a prompt is messages, not a text or token ids."""
    return isinstance(prompt, tuple) and bool(prompt) and isinstance(prompt[0], Message)


def looks_like_chat(value: Sequence[object]) -> bool:
    """Whether a list was meant as messages."""
    return bool(value) and all(isinstance(one, Mapping | Message) for one in value)


def messages_of(value: Sequence[object]) -> Messages:
    """The messages that a list of mappings describes. Raises ValueError with a sentence."""
    if len(value) > MOST_MESSAGES:
        raise ValueError(
            f"a chat has at most {MOST_MESSAGES} messages, and {len(value)} were given"
        )
    found = tuple(_parse_message(one, number) for number, one in enumerate(value, 1))
    if found[-1].role == "system":
        raise ValueError(
            "the last message is the system's: end with what the user says, or with the beginning of "
            "the assistant's answer"
        )
    return found


def _parse_message(value: object, number: int) -> Message:
    fields: dict[str, Any] = dict(value) if isinstance(value, Mapping | Message) else {}
    if set(fields) != {"role", "content"}:
        raise ValueError(f"message {number} must have the fields role and content, and no others")
    role, content = fields["role"], fields["content"]
    if role not in get_args(Speaker):
        raise ValueError(
            f"message {number} has another role than {', '.join(get_args(Speaker))}: name one of these"
        )
    if not isinstance(content, str) or not content.strip():
        raise ValueError(f"message {number} has no content: give a text")
    return Message(role=role, content=content)


def user_chat(text: str, system: str = "") -> Messages:
    """The chat of one text as the user's message, behind a system message where there is one.

    Raises PromptError where one of them is blank.
    """
    before = [{"role": "system", "content": system}] if system else []
    try:
        return messages_of([*before, {"role": "user", "content": text}])
    except ValueError as error:
        raise PromptError(f"The prompt as a chat: {error}.") from error


def contents_text(messages: Sequence[Message]) -> str:
    """The text in which a chat's subjects and roles are found: its contents, a line for each."""
    return "\n".join(one.content for one in messages)


def prompt_text(prompt: object) -> str:
    """A prompt in a line for people: a text as it is, a chat with who says what."""
    if not is_chat(prompt):
        return str(prompt)
    return " ".join(f"{one.role}: {one.content}" for one in prompt)


def text_to_continue(prompt: object) -> str | None:
    """The text that an answer goes on with; None behind token ids, and where its turn begins."""
    if not is_chat(prompt):
        return prompt if isinstance(prompt, str) else None
    return prompt[-1].content if prompt[-1].role == "assistant" else None
