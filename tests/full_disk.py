"""A disk that is full, for tests of what is then said."""

import resource
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def limited_files(size: int) -> Generator[None]:
    """No file of this process, or of one that it starts, may have more bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
