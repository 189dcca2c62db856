"""The OpenAPI document, and a page to read it on: one file, nothing loaded from elsewhere, no script."""

import asyncio
import json
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from keyquorum_gateway.docs_page import docs_page
from keyquorum_gateway.openapi import openapi_document
from keyquorum_gateway.routes.endpoint import Endpoint

_CACHE: Final = {"Cache-Control": "public, max-age=60"}
_PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


class _Rendered:
    """The document and its page, made when somebody first wants them: that takes a few hundred milliseconds."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._making: asyncio.Task[tuple[bytes, bytes]] | None = None

    async def get(self) -> tuple[bytes, bytes]:
        """JSON and HTML."""
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        return await asyncio.shield(self._making)

    def _make(self) -> tuple[bytes, bytes]:
        document = openapi_document(self._endpoints)
        return json.dumps(document, separators=(",", ":")).encode(), docs_page(document).encode()


def docs_endpoints(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints that describe all others, and themselves."""

    async def get_openapi(_request: web.Request) -> web.Response:
        document, _ = await rendered.get()
        return web.Response(body=document, content_type="application/json", headers=_CACHE)

    async def get_docs(_request: web.Request) -> web.Response:
        _, page = await rendered.get()
        headers = {**_CACHE, "Content-Security-Policy": _PAGE_POLICY}
        return web.Response(body=page, content_type="text/html", charset="utf-8", headers=headers)

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
    rendered = _Rendered([*endpoints, *own])
    return own
