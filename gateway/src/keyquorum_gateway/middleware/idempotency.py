"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): one answer per key, whatever the client repeats.

Whether an answer is kept is decided by what happened: an answer about an operation is; 503 says that nothing happened,
so the key stays usable for the same request; an error before any operation leaves the key unused.
"""

import asyncio
import hashlib
import re
from typing import Any, Final

from aiohttp import web

from keyquorum_gateway.bounds import IDEMPOTENCY_KEY_CHARS_MAX
from keyquorum_gateway.middleware.problems import as_problem
from keyquorum_gateway.models.operations import OperationModel
from keyquorum_gateway.problems import MEDIA_TYPE, Problem
from keyquorum_gateway.routes.endpoint import ENDPOINT, Handler
from keyquorum_gateway.routes.endpoint import Idempotency as Rule
from keyquorum_gateway.services import CLAIM, PRINCIPAL, SERVICES, TRACE_ID, Services
from keyquorum_gateway.state.idempotency import Answer, Claim, InFlight, Mismatch, Replay

_KEY: Final = re.compile(r'"(?P<quoted>[!#-\[\]-~ ]+)"|(?P<bare>[!#-\[\]-~]+)')
_KEPT_HEADERS: Final = ("Content-Type", "Location", "Retry-After")
_REPLAYED: Final = {"Idempotent-Replayed": "true"}


def idempotency() -> Any:
    """The innermost middleware: what it keeps is the handler's own answer."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        endpoint = request.get(ENDPOINT)
        if endpoint is None or endpoint.idempotency is Rule.NONE or PRINCIPAL not in request:
            return await handler(request)
        key = _key_of(request)
        if key is None:
            if endpoint.idempotency is Rule.REQUIRED:
                raise Problem("idempotency-key-missing", "send an Idempotency-Key, such as a new UUID")
            return await handler(request)
        services = request.app[SERVICES]
        tenant_id = request[PRINCIPAL].tenant_id
        try:
            claimed = services.idempotency.claim(tenant_id, key, await _fingerprint(request))
        except InFlight:
            raise Problem("idempotency-key-in-use", headers={"Retry-After": "1"}) from None
        except Mismatch:
            raise Problem("idempotency-key-reused") from None
        if isinstance(claimed, Replay):
            return _replay(services, tenant_id, claimed)
        request[CLAIM] = claimed
        return await _run(request, handler, services, claimed)

    return middleware


async def _run(request: web.Request, handler: Handler, services: Services, claim: Claim) -> web.StreamResponse:
    try:
        response = await handler(request)
    except asyncio.CancelledError:
        if not claim.operation_id:  # an operation goes on without its request, and the key keeps pointing at it
            await asyncio.shield(services.idempotency.release(claim))
        raise
    except Exception as error:
        problem = as_problem(error)
        if claim.operation_id and problem.status != 503:
            body = problem.body(request.path, request[TRACE_ID])
            services.idempotency.settle(claim, Answer(problem.status, {"Content-Type": MEDIA_TYPE}, body))
        else:
            await services.idempotency.release(claim)
        raise
    if isinstance(response, web.Response) and isinstance(response.body, bytes):
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        services.idempotency.settle(claim, Answer(response.status, headers, response.body))
    return response


def _replay(services: Services, tenant_id: str, replay: Replay) -> web.Response:
    """The stored answer; after a crash that left none, the operation that the key started."""
    if replay.answer is not None:
        answer = replay.answer
        return web.Response(status=answer.status, body=answer.body, headers={**answer.headers, **_REPLAYED})
    live = services.engine.find(replay.operation_id, tenant_id)
    if live is None:
        raise Problem("internal", "the operation of this key is gone", operation_id=replay.operation_id)
    return web.Response(
        status=202,
        body=OperationModel.of(live.operation).model_dump_json().encode(),
        content_type="application/json",
        headers={"Location": f"/v1/operations/{live.operation.id}", **_REPLAYED},
    )


def _key_of(request: web.Request) -> str | None:
    """The key, quoted or bare."""
    values = request.headers.getall("Idempotency-Key", ())
    if not values:
        return None
    text = values[0].strip()
    found = _KEY.fullmatch(text) if len(values) == 1 and len(text) <= IDEMPOTENCY_KEY_CHARS_MAX else None
    if found is None:
        raise Problem(
            "idempotency-key-invalid", f"one key of 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters"
        )
    return found["quoted"] or found["bare"]


async def _fingerprint(request: web.Request) -> bytes:
    """SHA-256 over method, path with query, and body, each with its length."""
    digest = hashlib.sha256()
    for part in (request.method.encode(), request.path_qs.encode(), await request.read()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
