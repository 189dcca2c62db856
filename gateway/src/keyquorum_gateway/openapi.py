"""The OpenAPI 3.1 document, made of the endpoints and of the models that validate their requests."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from keyquorum_gateway.models.platform import ProblemModel
from keyquorum_gateway.problems import CATALOGUE, MEDIA_TYPE
from keyquorum_gateway.routes.endpoint import Endpoint, Idempotency

VERSION: Final = "1.0.0"
_REF: Final = "#/components/schemas/{model}"
_PATH_PARAMETER: Final = re.compile(r"{(\w+)}")
_PREFIXES: Final = {"wallet_id": "wal_", "account_id": "acc_", "transaction_id": "txn_", "operation_id": "op_"}

_TAGS: Final = {
    "wallets": "A wallet has one threshold key per signature scheme; no process ever holds it.",
    "accounts": "Addresses that the parties attest.",
    "transactions": "Moving money.",
    "signatures": "Signing messages.",
    "operations": "What takes longer than a request, with every signing round as an event.",
    "chains": "The chains that the gateway serves.",
    "platform": "Parties and plugins.",
    "health": "Liveness, readiness, metrics and this document.",
}

_DESCRIPTION: Final = """\
Amounts are decimal strings in minor units. Chains are CAIP-2 ids, assets CAIP-19 types. Times are RFC 3339.

Errors are RFC 9457 problems with a `code`. 500, 502 and 504 mean that the outcome is unknown: look at the operation. 503
means that nothing happened: send the same request again after `Retry-After`.

Calls that move money or change keys need an `Idempotency-Key`. A repeated request gets the stored answer and
`Idempotent-Replayed: true`.
"""


def openapi_document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The whole document."""
    listed = list(endpoints)
    schemas, components = _schemas(listed)
    paths: dict[str, Any] = {}
    for endpoint in listed:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Keyquorum",
            "version": VERSION,
            "summary": "A self-hosted, multi-chain MPC wallet platform.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key: `kq_…`."},
            },
        },
    }


def _schemas(endpoints: list[Endpoint]) -> tuple[Mapping[tuple[type[BaseModel], str], Any], dict[str, Any]]:
    """References by (model, mode), and the components that they point to."""
    wanted: dict[tuple[type[BaseModel], Any], None] = {(ProblemModel, "serialization"): None}
    for endpoint in endpoints:
        if endpoint.body is not None:
            wanted[endpoint.body, "validation"] = None
        for model in (*endpoint.responses.values(), endpoint.event):
            if isinstance(model, type):
                wanted[model, "serialization"] = None
    references, definitions = models_json_schema(list(wanted), ref_template=_REF)
    by_model: dict[Any, Any] = dict(references)
    return by_model, dict(sorted(definitions.get("$defs", {}).items()))


def _operation(endpoint: Endpoint, schemas: Mapping[tuple[type[BaseModel], str], Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.description:
        operation["description"] = endpoint.description
    if endpoint.scope is not None:
        operation["security"] = [{"apiKey": []}]
        operation["x-scope"] = endpoint.scope.value
    if endpoint.body is not None:
        schema = schemas[endpoint.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name)}
        for name in _PATH_PARAMETER.findall(endpoint.path)
    ]
    if endpoint.query is not None:
        schema = endpoint.query.model_json_schema()
        for name, parameter in schema.get("properties", {}).items():
            description = parameter.pop("description", "")
            parameters.append(
                {
                    "name": name,
                    "in": "query",
                    "required": False,
                    "description": description,
                    "schema": _plain(parameter),
                }
            )
    if endpoint.idempotency is not Idempotency.NONE:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": endpoint.idempotency is Idempotency.REQUIRED,
                "description": "A value that is unique per intended call, such as a UUID; quoted or bare.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!#-\[\]-~]+$"},
            }
        )
    if endpoint.waits:
        parameters.append(
            {
                "name": "Prefer",
                "in": "header",
                "required": False,
                "description": "`wait=N`: wait at most N seconds for the result; `respond-async`: do not wait.",
                "schema": {"type": "string", "pattern": r"^(wait=\d{1,4}|respond-async)$"},
            }
        )
    for name, description in endpoint.headers.items():
        parameters.append(
            {
                "name": name,
                "in": "header",
                "required": False,
                "description": description,
                "schema": {"type": "string", "pattern": "^[0-9]{1,9}$"},
            }
        )
    return parameters


def _responses(endpoint: Endpoint, schemas: Mapping[tuple[type[BaseModel], str], Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, model in endpoint.responses.items():
        if endpoint.event is not None:
            content = {model: {"schema": _event_schema(schemas[endpoint.event, "serialization"])}}
        elif isinstance(model, str):
            content = {model: {"schema": {"type": "string"}}}
        else:
            content = {"application/json": {"schema": schemas[model, "serialization"]}}
        responses[str(status)] = {"description": _MEANINGS[status], "content": content}
    for status in sorted(_problem_statuses(endpoint) - set(endpoint.responses)):
        codes = ", ".join(f"`{code}`" for code, kind in CATALOGUE.items() if kind.status == status)
        responses[str(status)] = {
            "description": f"{_MEANINGS[status]} Codes: {codes}.",
            "content": {MEDIA_TYPE: {"schema": schemas[ProblemModel, "serialization"]}},
        }
    return dict(sorted(responses.items()))


def _event_schema(data: Any) -> dict[str, Any]:
    """One server-sent event; its data is JSON in a string."""
    return {
        "type": "object",
        "description": "One event of the stream.",
        "properties": {
            "id": {"type": "string", "description": "The event's sequence number, for Last-Event-ID."},
            "event": {"type": "string", "description": "The stage that was reached."},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        },
        "required": ["id", "event", "data"],
    }


def _problem_statuses(endpoint: Endpoint) -> set[int]:
    """What can go wrong here: its own problems, and those of the middleware in front of it."""
    statuses = {*endpoint.problems, 500}
    if endpoint.scope is not None:
        statuses |= {401, 403}
    if endpoint.rate is not None:
        statuses.add(429)
    if endpoint.query is not None:
        statuses.add(422)
    if endpoint.body is not None:
        statuses |= {400, 408, 413, 415, 422}
    if endpoint.idempotency is not Idempotency.NONE:
        statuses |= {400, 409, 422, 503}
    return statuses


def _path_schema(name: str) -> dict[str, Any]:
    if name in _PREFIXES:
        return {"type": "string", "pattern": f"^{_PREFIXES[name]}[0-9a-f]{{32}}$"}
    if name == "chain":
        return {"type": "string", "pattern": "^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$"}
    return {"type": "string", "pattern": "^[A-Za-z0-9]{1,128}$"}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out, not one that may be null: a query has no null."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    merged = {**schema, **options[0]} if len(options) == 1 else dict(schema)
    for key in ("anyOf", "title"):
        merged.pop(key, None)
    if merged.get("default", ...) is None:
        merged.pop("default")
    return merged


_MEANINGS: Final = {
    200: "Done.",
    201: "Made.",
    202: "Under way, or waiting for the initiator: follow the operation.",
    400: "The request cannot be understood.",
    401: "No API key, or not a valid one.",
    403: "Not allowed: to the API key, to the tenant, or by the key's policy.",
    404: "No such resource.",
    408: "The body took too long.",
    409: "It conflicts with something else.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The request is well-formed, but cannot be carried out as it stands.",
    429: "Too many requests.",
    500: "The gateway failed; the outcome may be unknown.",
    502: "Something behind the gateway failed; the outcome may be unknown.",
    503: "Nothing happened; send the same request again later.",
    504: "It took too long; the outcome is unknown.",
}
