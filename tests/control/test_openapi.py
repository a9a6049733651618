"""The published description, and what fuzzing against it finds."""

from collections.abc import Callable

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient


def test_every_operation_declares_its_answer_and_its_errors(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in str(document)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            codes = set(operation["responses"])
            assert {"400", "401", "403", "413", "500"} <= codes, (method, path)
            assert codes & {"200", "201", "202", "204"}, (method, path)
            for status, response in operation["responses"].items():
                if status != "204":
                    assert all(media["schema"] for media in response["content"].values()), (
                        method,
                        path,
                        status,
                    )


def test_the_description_refers_to_nothing_that_is_not_in_it(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    known = set(document["components"]["schemas"])

    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"].rpartition("/")[2]} if "$ref" in value else set()
            return own.union(*(references(each) for each in value.values()), set())
        if isinstance(value, list):
            return set().union(*(references(each) for each in value))
        return set()

    assert references(document) <= known


def test_no_request_makes_it_fail_and_every_answer_is_as_described(start: Callable) -> None:
    url = start().wait().url
    schema = schemathesis.openapi.from_url(url + "/openapi.json")
    checks = [
        not_a_server_error_but_a_missing_node,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    seen: set[tuple[str, str]] = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        seen.add((operation.method, operation.path))
        fuzz(operation, url, checks)
    assert len(seen) > 20


def not_a_server_error_but_a_missing_node(ctx, response, case) -> None:
    """503 is what an operation that needs the node answers while there is none."""
    assert response.status_code < 500 or response.status_code == 503, response.content


def fuzz(operation, url: str, checks: list) -> None:
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy())
    def once(case: schemathesis.Case) -> None:
        response = case.call(base_url=url, timeout=60)
        case.validate_response(response, checks=checks)

    once()
