"""The OpenAPI document holds what it says, whatever is sent: no server errors, no undocumented answers."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.jobs.conftest import Served

JUDGED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "ignored_auth",
)
N_OPERATIONS = 15
"""Routes of the document."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_operation_keeps_its_word_whatever_is_sent(idle: Served) -> None:
    headers = {"Authorization": f"Bearer {idle.operator.token}"}
    document = schemathesis.openapi.from_url(f"http://127.0.0.1:{idle.port}/openapi.json", headers=headers)
    schemathesis.checks.load_all_checks()
    judged = [schemathesis.checks.CHECKS.get_one(name) for name in JUDGED]
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) == N_OPERATIONS, [operation.label for operation in operations]
    for operation in operations:
        _try(operation, judged, headers)


def _try(operation: Any, judged: list[Any], headers: dict[str, str]) -> None:
    """Send requests of all sorts to one operation."""

    @settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def keeps_its_word(case: schemathesis.Case) -> None:
        response = case.call(headers=headers, timeout=30)
        case.validate_response(response, checks=judged, headers=headers)

    keeps_its_word()
