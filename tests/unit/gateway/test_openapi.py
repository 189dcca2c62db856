"""The checked-in OpenAPI document is the one that the code makes, and every promise in it has a model behind it."""

import json
from pathlib import Path

import pytest

from keyquorum_gateway.app import ROUTES
from keyquorum_gateway.problems import CATALOGUE
from keyquorum_gateway.routes.endpoint import Idempotency
from keyquorum_gateway.spec import specification
from keyquorum_plugin_api import errors

CHECKED_IN = Path(__file__).parents[3] / "docs" / "openapi.json"
DOCUMENT = json.loads(specification())


def test_the_checked_in_document_is_current():
    """A change of the API is seen in review: python -m keyquorum_gateway.spec > docs/openapi.json."""
    assert CHECKED_IN.read_text(encoding="utf-8") == specification()


def operations():
    """(path, method, operation) of the document."""
    return [(path, m, op) for path, methods in DOCUMENT["paths"].items() for m, op in methods.items()]


def test_operation_ids_are_unique():
    """Client generators make functions of them."""
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere():
    """No schema is promised and missing."""

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    found = set(references(DOCUMENT["paths"])) | set(references(DOCUMENT["components"]))
    assert found
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in DOCUMENT["components"]["schemas"]


def test_request_bodies_refuse_unknown_fields():
    """additionalProperties is false in every model that a request is validated with."""
    for path, method, operation in operations():
        if "requestBody" in operation:
            reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            schema = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
            assert schema["additionalProperties"] is False, (method, path)


def test_errors_are_problem_documents():
    """Every 4xx and 5xx but a readiness answer is application/problem+json, and names its codes."""
    for path, _, operation in operations():
        for status, response in operation["responses"].items():
            if int(status) >= 400 and path != "/readyz":
                assert list(response["content"]) == ["application/problem+json"]
                assert "Codes: `" in response["description"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_what_moves_money_or_changes_keys_needs_an_idempotency_key(route):
    """Every POST but the one that only has an address attested."""
    required = route.method == "POST" and not route.path.endswith("/accounts")
    assert (route.idempotency is Idempotency.REQUIRED) is required


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_method_that_changes_something_takes_a_model(route):
    """And every one that does not takes its query through one."""
    assert (route.body is not None) is (route.method == "POST")
    assert (route.query is not None) is (route.method == "GET" and route.path.startswith("/v1/"))


def test_codes_of_the_plugin_api_and_the_core_signer_are_in_the_catalogue():
    """An error that a client can meet has a status of its own choosing, not the default."""
    codes = {
        kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ChainError)
    }
    signing = {
        "quorum-unavailable",
        "policy-denied",
        "intent-invalid",
        "scheme-unavailable",
        "key-not-found",
        "operation-conflict",
        "protocol-abort",
        "deadline-exceeded",
        "attestation-refused",
        "busy",
        "internal",
    }
    assert (codes | signing) - CATALOGUE.keys() == set()


def test_only_what_certainly_did_not_happen_invites_a_blind_retry():
    """503 is retriable and nothing else above 499 is: 500, 502 and 504 leave the outcome unknown."""
    for code, kind in CATALOGUE.items():
        if kind.status >= 500:
            assert kind.retriable is (kind.status == 503), code
