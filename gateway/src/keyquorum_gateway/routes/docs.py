"""The OpenAPI document, and a page to read it on: one file, nothing loaded from elsewhere, no script."""

import json
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from keyquorum_gateway.docs_page import docs_page
from keyquorum_gateway.openapi import openapi_document
from keyquorum_gateway.routes.endpoint import Endpoint

_CACHE: Final = {"Cache-Control": "public, max-age=60"}
_PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def docs_endpoints(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints that describe all others, and themselves."""
    rendered: dict[str, bytes] = {}

    async def get_openapi(_request: web.Request) -> web.Response:
        return web.Response(body=rendered["json"], content_type="application/json", headers=_CACHE)

    async def get_docs(_request: web.Request) -> web.Response:
        headers = {**_CACHE, "Content-Security-Policy": _PAGE_POLICY}
        return web.Response(body=rendered["html"], content_type="text/html", charset="utf-8", headers=headers)

    own = (
        Endpoint(
            "GET",
            "/openapi.json",
            get_openapi,
            summary="This document",
            tag="health",
            responses={200: "application/json"},
        ),
        Endpoint(
            "GET", "/docs", get_docs, summary="This document as a page", tag="health", responses={200: "text/html"}
        ),
    )
    document = openapi_document([*endpoints, *own])
    rendered["json"] = json.dumps(document, separators=(",", ":")).encode()
    rendered["html"] = docs_page(document).encode()
    return own
