"""Roles: named places of a prompt, by which positions of different prompts are compared."""

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from patchwright.errors import PromptError
from patchwright.prompts.characters import text_and_spans, tokens_of_span
from patchwright.prompts.messages import is_chat, prompt_text
from patchwright.prompts.tokens import Tokenizer, visible

LAST = "last"
"""The role that every prompt has: its last token."""


class Role(BaseModel):
    """A name for the characters `start` to `stop` of a clean prompt.

    In a prompt of token ids they are positions, counted without a beginning-of-text
    token that is added before it; in messages they are characters of the contents, joined by
    line ends (`prompts.messages.contents_text`). A role's position is the last token that it touches.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    start: int
    stop: int

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.name or self.name != self.name.strip() or "," in self.name:
            raise ValueError(
                f"{self.name!r} cannot name a role: give a text without commas and outer spaces"
            )
        if self.name == LAST:
            raise ValueError("'last' is the role of every prompt's last token: choose another name")
        if not 0 <= self.start < self.stop:
            raise ValueError(
                f"the role '{self.name}' goes from {self.start} to {self.stop}: it needs at least "
                "one character, counted from 0"
            )
        return self


def check_roles(roles: Sequence[Role], length: int) -> None:
    """Raise ValueError where a role ends behind a clean prompt of `length`, or comes twice."""
    names = [role.name for role in roles]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two roles are named '{twice[0]}': give each its own name")
    if beyond := [role for role in roles if role.stop > length]:
        raise ValueError(
            f"the role '{beyond[0].name}' ends at {beyond[0].stop}, after the clean prompt's end "
            f"at {length}"
        )


def role_position(
    clean: Sequence[object],
    roles: Sequence[Role],
    tokens: Sequence[int],
    tokenizer: Tokenizer | None,
    name: str,
) -> int:
    """Where in the `tokens` of a pair's clean prompt the role `name` stands: the last token it touches.

    Raises PromptError with the roles that the pair has.
    """
    if name == LAST:
        return len(tokens) - 1
    role = next((one for one in roles if one.name == name), None)
    if role is None:
        known = ", ".join([*(visible(one.name) for one in roles), LAST])
        raise PromptError(
            f"The pair '{visible(prompt_text(clean))}' has no role '{visible(name)}': its roles are "
            f"{known}. Name one of these, or give every pair the role."
        )
    if not isinstance(clean, str) and not is_chat(clean):
        return role.stop - 1 + len(tokens) - len(clean)
    _, spans = text_and_spans(clean, tokens, tokenizer)
    touched = tokens_of_span(spans, (role.start, role.stop))
    if not touched:
        raise PromptError(
            f"The model's tokenizer leaves out what the role '{visible(role.name)}' names in "
            f"'{visible(prompt_text(clean))}', so no token stands for it: name other characters."
        )
    return touched[-1]
