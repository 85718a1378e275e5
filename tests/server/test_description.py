"""Requests that Schemathesis makes from the description: no fault, nothing undocumented."""

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

import patchwright as pw
from patchwright.server.app import make_app
from patchwright.server.limits import Limits
from patchwright.server.service import ExperimentService
from patchwright.storage.job_store import JobStore
from patchwright.web.hosts import Hosts

HELD = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
PLENTY = {"/v1/experiments": 60, "/v1/agreement": 30}
NOTHING_TO_GET_WRONG = ("/healthz", "/readyz", "/v1/models", "/v1/examples")
HOST = {"Host": "localhost"}


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_finds_a_fault_or_an_undocumented_answer(
    demo: pw.Model, tmp_path: Path, mode: GenerationMode
) -> None:
    service = ExperimentService([demo], JobStore(tmp_path), Limits(cells=200, seconds=1), 1)
    app = make_app(service, None, Hosts("127.0.0.1"))
    description = schemathesis.openapi.from_asgi("/openapi.json", app, headers=HOST)
    asked = 0
    for found in description.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @settings(
            max_examples=PLENTY.get(operation.path, 15),
            deadline=None,
            phases=[Phase.generate],  # requests are short enough as they are
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def hold(case: Case[Any]) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(checks=HELD, headers=HOST)

        if mode is GenerationMode.POSITIVE or operation.path not in NOTHING_TO_GET_WRONG:
            hold()
    service.close()
    assert asked > 80
