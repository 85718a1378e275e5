"""Models for the tests, and what is skipped where its tools are missing."""

import itertools
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Several small processes share few cores; the numbers do not depend on it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from signatures import check_signatures

check_signatures("patchwright.model", "patchwright.algorithms")

import pytest
import torch
from hypothesis import Phase, settings
from transformers import GPT2LMHeadModel, PreTrainedModel

import patchwright as pw
from families import BLOCKS, FAMILIES, MISSING
from tiny import random_gpt2

if TYPE_CHECKING:
    from playwright.sync_api import Browser

settings.register_profile(
    "tests",
    deadline=None,
    max_examples=25,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
settings.load_profile("tests")

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
INSTALL_CHROMIUM = "no Chromium here: `sudo apt-get install chromium` installs one"

AXE = Path(__file__).parents[1] / ".axe" / "node_modules" / "axe-core" / "axe.min.js"
INSTALL_AXE = "no axe-core here: `make .axe/installed` installs it with npm"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip browser tests without a browser, unless it is required.

    And drop what would ask a family for a site that it does not have: `test_families` sees that it
    is refused.
    """
    items[:] = [item for item in items if _has_site(item)]
    required = os.environ.get("PATCHWRIGHT_REQUIRE_BROWSER") == "1"
    for item in items:
        if item.get_closest_marker("browser") and CHROMIUM is None and not required:
            item.add_marker(pytest.mark.skip(reason=INSTALL_CHROMIUM))


def _has_site(item: pytest.Item) -> bool:
    """Whether the family that a test runs on, if it is of any, has the site that it is about."""
    given: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    family = given.get("module", given.get("family"))
    return given.get("site") not in MISSING.get(str(family), frozenset())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of a failed browser test, report what was to be seen."""
    report = yield
    used: dict[str, Any] = getattr(item, "funcargs", {})
    if call.when == "call" and report.failed and "browser" in used:
        from browser_pages import what_is_seen

        folder: Path = used["home"].with_name(f"{used['home'].name}-seen")
        folder.mkdir()
        report.sections.append(("what the browser shows", what_is_seen(used["browser"], folder)))
    return report


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    if CHROMIUM is None:
        pytest.fail(INSTALL_CHROMIUM)
    return CHROMIUM


@pytest.fixture(scope="module")
def browser(chromium: str) -> "Generator[Browser]":
    """A Chromium for the tests of one module."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which finds barriers on a page."""
    if AXE.is_file():
        return AXE.read_text(encoding="utf-8")
    if os.environ.get("PATCHWRIGHT_REQUIRE_BROWSER") == "1":
        pytest.fail(INSTALL_AXE)
    pytest.skip(INSTALL_AXE)


@pytest.fixture(scope="session")
def gpt2() -> GPT2LMHeadModel:
    """A random tiny GPT-2 in float64: 3 layers, 4 heads, width 16, 50 tokens."""
    return random_gpt2(seed=0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked `every_family` run on a model of each family that has parts of its own."""
    if marker := metafunc.definition.get_closest_marker("every_family"):
        families = [one for one in BLOCKS if one not in marker.kwargs.get("without", ())]
        metafunc.parametrize("module", families, indirect=True, scope="session")


@pytest.fixture(scope="session")
def module(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A random tiny model in float64, of GPT-2's family unless the test is of every family."""
    return FAMILIES[getattr(request, "param", "gpt2")](seed=0)


@pytest.fixture(scope="session")
def model(module: PreTrainedModel) -> pw.Model:
    """The same, wrapped; prompts are token ids."""
    return pw.wrap_model(module, name="tiny")


@pytest.fixture(scope="session")
def demo() -> pw.Model:
    """The demo model that ships with the package."""
    return pw.load_model("demo")


_HOMES = itertools.count()


@pytest.fixture(autouse=True)
def _quiet_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep remembered fingerprints out of the user's cache."""
    folder: Path = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run store of the test's own, for its processes too; never the user's."""
    # The store makes its folder when it keeps something: most tests need none.
    folder = tmp_path_factory.getbasetemp() / f"home-{next(_HOMES)}"
    monkeypatch.setenv("PATCHWRIGHT_HOME", str(folder))
    return folder


torch.set_num_threads(1)
