"""The real language model of these tests, loaded once a process."""

import os
from pathlib import Path

import pytest

import patchwright as pw
from patchwright.errors import PatchwrightError
from patchwright.model import catalog


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    """SmolLM2's file in the user's own data folder: fetched where the oracles are required.

    The session's fixtures come before the tests' own data folders.
    """
    required = os.environ.get("PATCHWRIGHT_REQUIRE_ORACLE") == "1"
    if not required and catalog.local_path("smollm2") is None:
        pytest.skip("`patchwright models get smollm2` fetches the model")
    try:
        return catalog.fetch_model("smollm2")
    except PatchwrightError as error:
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def smollm2(smollm2_file: Path) -> pw.Model:
    """The model in that file, by its name."""
    assert smollm2_file.is_file()
    return pw.load_model("smollm2")
