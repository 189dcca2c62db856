"""JSON-RPC over HTTP to a node that may be slow, wrong or hostile.

Answers are parsed here and not by solders, whose typed responses panic on an error variant they do not know. Whatever
is not a well-formed answer to the very request is no answer.
"""

import itertools
import json
from typing import Any, TypeVar

import aiohttp
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

_CHUNK_BYTES = 64 * 1024
_TEXT_CHARS_MAX = 200
_NOT_FORWARDED = frozenset({400, 401, 403, 404, 405, 413, 414, 415, 429, 503})


class NodeError(Exception):
    """The node answered with a JSON-RPC error. ``message`` is the node's own text, cut and cleaned."""

    def __init__(self, code: int, message: str, data: Any) -> None:
        self.code = code
        self.message = "".join(c for c in message[:_TEXT_CHARS_MAX] if c.isprintable())
        self.data = data
        super().__init__(f"{code}: {self.message}")


class NoAnswer(Exception):
    """No sensible answer came. ``acted`` is False only where the node cannot have acted on the request."""

    def __init__(self, detail: str, *, acted: bool) -> None:
        self.detail = detail
        self.acted = acted
        super().__init__(detail)


class JsonRpc:
    """One endpoint. ``http`` is an aiohttp.ClientSession that the host owns."""

    def __init__(self, http: aiohttp.ClientSession, url: str, *, timeout_s: float, response_bytes_max: int) -> None:
        self._http = http
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._response_bytes_max = response_bytes_max
        self._ids = itertools.count(1)

    async def call(self, method: str, params: list[Any], shape: TypeAdapter[T]) -> T:
        """Call ``method``; its result in ``shape``. Raises :class:`NodeError` or :class:`NoAnswer`."""
        request_id = next(self._ids)
        body = await self._post({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        result = _result(body, request_id)
        try:
            return shape.validate_python(result)
        except ValidationError:
            raise NoAnswer(f"the node's answer to {method} has the wrong form", acted=True) from None

    async def _post(self, request: dict[str, Any]) -> bytes:
        try:
            async with self._http.post(
                self._url, json=request, timeout=self._timeout, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise NoAnswer(
                        f"the node answered HTTP {response.status}", acted=response.status not in _NOT_FORWARDED
                    )
                return await self._read(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL):
            raise NoAnswer("the node cannot be reached", acted=False) from None
        except TimeoutError:
            raise NoAnswer("the node did not answer in time", acted=True) from None
        except (aiohttp.ClientError, OSError, RuntimeError):  # RuntimeError: the host has closed the session
            raise NoAnswer("the connection to the node broke", acted=True) from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > self._response_bytes_max:
                raise NoAnswer("the node's answer is too long", acted=True)
        return bytes(body)


def _result(body: bytes, request_id: int) -> Any:
    try:
        answer = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise NoAnswer("the node's answer is not JSON", acted=True) from None
    if not isinstance(answer, dict) or answer.get("jsonrpc") != "2.0":
        raise NoAnswer("the node's answer is not JSON-RPC", acted=True)
    error = answer.get("error")
    if error is None:
        if type(answer.get("id")) is not int or answer["id"] != request_id or "result" not in answer:
            raise NoAnswer("the node answered something else", acted=True)
        return answer["result"]
    code = error.get("code") if isinstance(error, dict) else None
    if type(code) is not int or not isinstance(error.get("message"), str) or answer.get("id") not in (request_id, None):
        raise NoAnswer("the node's error is not JSON-RPC", acted=True)
    if code == 429:  # rate limiters in front of nodes answer in JSON-RPC, too
        raise NoAnswer("the node asks for fewer requests", acted=False)
    raise NodeError(code, error["message"], error.get("data"))


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
