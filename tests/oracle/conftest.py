"""The real language model of these tests, loaded once a process."""

import os

import pytest

import patchwright as pw
from patchwright.errors import PatchwrightError
from patchwright.model import catalog


@pytest.fixture(scope="session")
def smollm2() -> pw.Model:
    """SmolLM2 in the user's own data folder: fetched where the oracles are required, else as it is.

    The session's fixtures come before the tests' own data folders.
    """
    required = os.environ.get("PATCHWRIGHT_REQUIRE_ORACLE") == "1"
    if not required and catalog.local("smollm2") is None:
        pytest.skip("`patchwright models get smollm2` fetches the model")
    try:
        catalog.get("smollm2")
    except PatchwrightError as error:
        pytest.fail(str(error))
    return pw.load_model("smollm2")
