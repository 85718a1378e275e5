"""What a result has to say about itself: warnings with a stable code."""

from collections.abc import Iterable
from typing import TypedDict


class Notice(TypedDict):
    """A warning: `code` for programs, `message` for people."""

    code: str
    message: str


def is_stopped(notices: Iterable[Notice]) -> bool:
    """Whether the result that says this was stopped before its end."""
    return any(one["code"] == "stopped" for one in notices)
