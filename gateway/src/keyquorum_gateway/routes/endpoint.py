"""An endpoint: its handler, and everything that middleware and the OpenAPI document need to know about it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from aiohttp import web
from pydantic import BaseModel

from keyquorum_gateway.state.api_keys import Scope

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RateClass(StrEnum):
    """Which budget a request is taken from."""

    READ = "read"
    WRITE = "write"
    CREATE = "create"


class Idempotency(StrEnum):
    """What becomes of an Idempotency-Key."""

    NONE = "none"
    ACCEPTED = "accepted"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. Without a scope it is public; ``problems`` are the codes that are its own."""

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    responses: Mapping[int, Any]
    description: str = ""
    scope: Scope | None = None
    rate: RateClass | None = None
    idempotency: Idempotency = Idempotency.NONE
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    problems: tuple[int, ...] = ()
    waits: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    event: type[BaseModel] | None = None  # what each server-sent event's data is

    @property
    def name(self) -> str:
        """The operation id in the OpenAPI document."""
        return self.handler.__name__


ENDPOINTS: web.AppKey[Mapping[Any, Endpoint]] = web.AppKey("endpoints", Mapping)
"""Endpoints by handler."""

ENDPOINT: web.RequestKey[Endpoint] = web.RequestKey("endpoint", Endpoint)
"""What the middleware stands in front of; absent where nothing is at the path, or not under that method."""
