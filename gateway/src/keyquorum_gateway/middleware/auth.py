"""Who makes the request, and whether their key may do it. A policy's denial is never reported from here."""

from typing import Any, Final

from aiohttp import web

from keyquorum_gateway.problems import Problem
from keyquorum_gateway.routes.endpoint import ENDPOINT, Handler
from keyquorum_gateway.services import PRINCIPAL, SERVICES

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="keyquorum"'}


def auth() -> Any:
    """API keys as bearer tokens (RFC 6750)."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        endpoint = request.get(ENDPOINT)
        if endpoint is not None and endpoint.scope is not None:
            scheme, _, key = request.headers.get("Authorization", "").partition(" ")
            if not key or scheme.lower() != "bearer":
                raise Problem("authentication-required", "send Authorization: Bearer kq_…", headers=_CHALLENGE)
            principal = request.app[SERVICES].api_keys.recognise(key.strip())
            if principal is None:
                raise Problem("invalid-api-key", headers=_CHALLENGE)
            if endpoint.scope not in principal.scopes:
                raise Problem("insufficient-scope", f"the key lacks the scope {endpoint.scope.value}")
            request[PRINCIPAL] = principal
        return await handler(request)

    return middleware
