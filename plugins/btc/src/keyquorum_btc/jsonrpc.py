"""bitcoind's JSON-RPC over HTTP: authenticated, one request at a time, every answer to the very request."""

import asyncio
import base64
import itertools
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from keyquorum_btc.shapes import shaped
from keyquorum_btc.transport import NoAnswer, Refused, Reply, Transport, unusual

T = TypeVar("T")

PASSWORD_BYTES_MAX = 4096
IN_WARMUP = -28


class Credentials:
    """User and password from a file, which may hold both (``user:password``), as the cookie does that bitcoind writes at
    every start; so it is read again when they are refused."""

    def __init__(self, user: str, file: Path | None) -> None:
        self._user = user
        self._file = file
        self._header: dict[str, str] | None = None

    async def header(self) -> dict[str, str]:
        """The header of a request; :class:`NoAnswer` where the file cannot be read."""
        if self._header is None:
            self._header = {} if self._file is None else {"Authorization": await asyncio.to_thread(self._basic)}
        return self._header

    def forget(self) -> None:
        """They were refused."""
        self._header = None

    def _basic(self) -> str:
        if self._file is None:
            raise AssertionError("no file, no credentials")
        try:
            with self._file.open("rb") as file:
                text = file.read(PASSWORD_BYTES_MAX).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise NoAnswer("the file with the node's password cannot be read", acted=False) from None
        pair = f"{self._user}:{text}" if self._user else text
        return "Basic " + base64.b64encode(pair.encode()).decode()


class JsonRpc:
    """One bitcoind."""

    def __init__(self, transport: Transport, credentials: Credentials) -> None:
        self._transport = transport
        self._credentials = credentials
        self._ids = itertools.count(1)

    async def call(self, method: str, params: list[Any], shape: TypeAdapter[T]) -> T:
        """The result of ``method`` in ``shape``. Raises :class:`Refused` or :class:`NoAnswer`."""
        request_id = next(self._ids)
        request = {"jsonrpc": "1.0", "id": request_id, "method": method, "params": params}
        body = json.dumps(request).encode()
        reply = await self._post(body)
        if reply.status == 401:
            self._credentials.forget()
            reply = await self._post(body)
        return shaped(shape, _result(reply, request_id), method)

    async def _post(self, body: bytes) -> Reply:
        headers = {"Content-Type": "application/json", **await self._credentials.header()}
        return await self._transport.request("POST", "/", body, headers)


def _result(reply: Reply, request_id: int) -> Any:
    # Errors of JSON-RPC 1.0 come as HTTP 500, 404 (no such method) or 400; others have no JSON.
    if reply.status not in (200, 400, 404, 500):
        raise unusual(reply.status)
    try:
        answer = reply.json()
    except NoAnswer:
        if reply.status == 200:
            raise
        raise unusual(reply.status) from None
    if not isinstance(answer, dict) or type(answer.get("id")) is not int or answer["id"] != request_id:
        raise NoAnswer("the node answered something else", acted=True)
    error = answer.get("error")
    if error is None:
        if reply.status != 200 or "result" not in answer:
            raise NoAnswer("the node's answer is not JSON-RPC", acted=True)
        return answer["result"]
    code = error.get("code") if isinstance(error, dict) else None
    if type(code) is not int or not isinstance(error.get("message"), str):
        raise NoAnswer("the node's error is not JSON-RPC", acted=True)
    if code == IN_WARMUP:
        raise NoAnswer("the node is starting", acted=False)
    raise Refused(code, error["message"])
