"""Work that is done a few pieces at one time: whoever waits for it holds no thread meanwhile."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from patchwright.errors import QueueFullError

_T = TypeVar("_T")


class Turns:
    """At most `at_once` pieces of work run, each in a thread, and `waiting` more wait their turn."""

    def __init__(self, at_once: int, waiting: int, what: str) -> None:
        self._limiter = CapacityLimiter(at_once)
        self._most = at_once + waiting
        self._waiting = waiting
        self._what = what
        self._here = 0

    async def run(self, work: Callable[[], _T]) -> _T:
        """What `work` returns. Raises QueueFullError where too many wait already."""
        # Counted here: the limiter counts those who wait only a turn of the event loop later.
        if self._here >= self._most:
            raise QueueFullError(
                f"{self._waiting} {self._what} are already waiting, which is the limit: ask again in 10 "
                "seconds."
            )
        self._here += 1
        try:
            return await run_sync(work, limiter=self._limiter)
        finally:
            self._here -= 1
