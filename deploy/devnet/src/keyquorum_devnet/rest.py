"""A REST client of the gateway, as a customer's back end would write it."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

REQUEST_S_MAX: Final = 60.0
POLL_S: Final = 0.05
ACCEPTED: Final = 202
TERMINAL: Final = frozenset({"succeeded", "failed"})


@dataclass(frozen=True, slots=True)
class Answer:
    """One response: status, parsed body, headers."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ordered:
    """What was ordered: the operation, and the wallet or transaction that comes of it."""

    operation_id: str
    made_id: str


class Refused(Exception):
    """The gateway answered with a problem document, or an operation failed."""

    def __init__(self, what: str, status: int, body: Any) -> None:
        self.status = status
        self.body = body
        self.code = body.get("code", "") if isinstance(body, dict) else ""
        detail = body.get("detail", "") if isinstance(body, dict) else body
        super().__init__(f"{what}: {status} {self.code} {detail}")


class NotInTime(Exception):
    """Something did not reach the wanted state before the deadline; the text holds the last thing seen."""


class Gateway:
    """Calls with one API key. Money-moving ones get an ``Idempotency-Key`` of their own."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, api_key: str) -> None:
        self._session = session
        self._base_url = base_url
        self.api_key = api_key

    async def call(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, whatever the answer is. A header of None is left out."""
        sent = {"Authorization": f"Bearer {self.api_key}", **(headers or {})}
        if method == "POST":
            sent.setdefault("Idempotency-Key", str(uuid.uuid4()))
        async with self._session.request(
            method,
            f"{self._base_url}{path}",
            json=body,
            headers=sent,
            timeout=aiohttp.ClientTimeout(total=REQUEST_S_MAX),
        ) as response:
            parsed = (
                await response.json(content_type=None)
                if response.content_type.endswith("json")
                else await response.text()
            )
            return Answer(response.status, parsed, dict(response.headers))

    async def get(self, path: str) -> Any:
        """The body of a GET; :class:`Refused` otherwise."""
        return self._accepted(f"GET {path}", await self.call("GET", path))

    async def post(self, path: str, body: Any) -> Any:
        """The body of a POST that was carried out or accepted; :class:`Refused` otherwise."""
        return self._accepted(f"POST {path}", await self.call("POST", path, body))

    async def order(self, path: str, body: Any) -> "Ordered":
        """A POST that makes a wallet or a transaction: answered with it, or with the operation that is making it."""
        answer = await self.call("POST", path, body)
        made = self._accepted(f"POST {path}", answer)
        if answer.status != ACCEPTED:
            return Ordered(made["operation_id"], made["id"])
        return Ordered(made["id"], made["transaction_id"] or made["wallet_id"])

    async def operation(self, operation_id: str, *, within_s: float, also: frozenset[str] = frozenset()) -> Any:
        """An operation once it has ended, or reached a state of ``also``; :class:`Refused` if it failed."""
        path = f"/v1/operations/{operation_id}"
        found = await self.until(path, TERMINAL | also, within_s=within_s)
        if found["state"] == "failed":
            raise Refused(f"operation {operation_id}", 200, found["error"])
        return found

    async def until(self, path: str, states: frozenset[str], *, within_s: float) -> Any:
        """A resource once its ``state`` is one of ``states``; :class:`NotInTime` otherwise."""
        deadline = time.monotonic() + within_s
        while True:
            found = await self.get(path)
            if found["state"] in states:
                return found
            if time.monotonic() > deadline:
                raise NotInTime(f"{path} is {found['state']} after {within_s:.0f} s: {found.get('detail', '')}")
            await asyncio.sleep(POLL_S)

    @staticmethod
    def _accepted(what: str, answer: Answer) -> Any:
        if answer.status >= 300:
            raise Refused(what, answer.status, answer.body)
        return answer.body
