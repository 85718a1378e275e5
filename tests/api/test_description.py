"""Requests that Schemathesis makes from the description: no fault, nothing undocumented."""

from collections.abc import Generator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi import checks

import patchwright as pw
from patchwright.api.app import make_app
from patchwright.api.limits import Limits
from patchwright.api.office import Office
from patchwright.keep.served import ServedStore

HELD = [
    checks.schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture
def described(demo: pw.Model, tmp_path_factory: pytest.TempPathFactory) -> Generator[Any]:
    """The whole description, its requests answered in this process."""
    store = ServedStore(tmp_path_factory.mktemp("store"))
    office = Office([demo], store, Limits(cells=200, seconds=1), 1)
    yield schemathesis.openapi.from_asgi(
        "/openapi.json", make_app(office), headers={"Host": "localhost"}
    )
    office.close()


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_no_request_finds_a_fault_or_an_undocumented_answer(case: Any) -> None:
    case.call_and_validate(checks=HELD, headers={"Host": "localhost"})
