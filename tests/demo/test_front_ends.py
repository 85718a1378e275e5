"""Every built-in example through every front end: the same numbers, and nothing refused."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import patchwright as pw
from app_pages import whole_page, workbench
from command import patchwright
from http_service import client_of
from patchwright.prompts.examples import Example, examples

DEMO = [one for one in examples() if "demo" in one.models]

each_example = pytest.mark.parametrize("one", DEMO, ids=lambda one: one.id)


def in_the_library(demo: pw.Model, one: Example) -> NDArray[np.float64]:
    return pw.patch(demo, one.pair, metric=one.metric).patched.values


def values_of(document: dict[str, Any]) -> NDArray[np.float64]:
    return np.array(document["patched"], dtype=np.float64)


@each_example
def test_an_example_on_the_command_line(demo: pw.Model, one: Example) -> None:
    done = patchwright("patch", "--example", one.id, "--json", "-", "--no-store")
    assert done.returncode == 0, done.stderr
    found = values_of(json.loads(done.stdout))
    np.testing.assert_array_equal(found, in_the_library(demo, one))


@each_example
def test_an_example_over_http_without_what_may_be_left_out(demo: pw.Model, one: Example) -> None:
    pair = one.pair.model_dump(mode="json", exclude_defaults=True)
    body = {"method": "patch", "model": "demo", "pairs": pair, "metric": one.metric}
    with client_of(demo) as client:
        answer = client.post("/v1/experiments", json=body)
        assert answer.status_code == 202, answer.text
        job = answer.json()
        with client.stream("GET", job["events"]) as events:
            assert "event: done" in "".join(events.iter_text())
        result = client.get(client.get(f"/v1/jobs/{job['id']}").json()["result"]).json()
    np.testing.assert_array_equal(values_of(result), in_the_library(demo, one))


@each_example
@pytest.mark.filterwarnings("default")
def test_an_example_on_the_page(one: Example) -> None:
    page = whole_page(example=one.id)
    assert [error.value for error in page.error] == []
    assert workbench(page)["state"] == "rest"
