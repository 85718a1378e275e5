"""What a result has to say about itself: warnings with a stable code."""

from typing import TypedDict


class Notice(TypedDict):
    """A warning: `code` for programs, `message` for people."""

    code: str
    message: str
