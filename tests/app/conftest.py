"""A tiny model whose runs differ enough for effects to be shown."""

import pytest

import patchwright as pw
from tiny import loud_model


@pytest.fixture(scope="session")
def model() -> pw.Model:
    """In the place of the one that all tests have."""
    return loud_model()
