"""JSON-RPC over HTTP to a node that may be slow, wrong or hostile.

Answers are parsed here and not by solders, whose typed responses panic on an error variant they do not know. Whatever
is not a well-formed answer to the very request is no answer.
"""

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

BATCH_BYTES_MAX = 48 * 1024  # of one request; nodes take 50 KiB
_HEADERS = {"Content-Type": "application/json"}
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


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that waits to be sent with others."""

    request_id: int
    text: str
    answer: asyncio.Future[Any] = field(repr=False)  # the answer's JSON


class JsonRpc:
    """One endpoint. ``http`` is an aiohttp.ClientSession that the host owns.

    With a ``batch_max`` above 1, calls that are made in one turn of the event loop travel in one request, which is what
    makes many builds at a time cheap; each is answered, and fails, as if it had been sent alone.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        *,
        timeout_s: float,
        response_bytes_max: int,
        batch_max: int = 1,
    ) -> None:
        self._http = http
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._response_bytes_max = response_bytes_max
        self._batch_max = batch_max
        self._ids = itertools.count(1)
        self._waiting: list[_Call] = []
        self._batches: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End what is under way."""
        batches = list(self._batches)
        for batch in batches:
            batch.cancel()
        await asyncio.gather(*batches, return_exceptions=True)

    async def call(self, method: str, params: list[Any], shape: TypeAdapter[T]) -> T:
        """Call ``method``; its result in ``shape``. Raises :class:`NodeError` or :class:`NoAnswer`."""
        request_id = next(self._ids)
        text = json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        answer = _parsed(await self._post(text)) if self._batch_max == 1 else await self._enqueue(request_id, text)
        result = _result(answer, request_id)
        try:
            return shape.validate_python(result)
        except ValidationError:
            raise NoAnswer(f"the node's answer to {method} has the wrong form", acted=True) from None

    async def _enqueue(self, request_id: int, text: str) -> Any:
        loop = asyncio.get_running_loop()
        call = _Call(request_id, text, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append(call)
        return await call.answer

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        calls: list[_Call] = []
        size = 0
        for call in waiting:
            if calls and (len(calls) == self._batch_max or size + len(call.text) > BATCH_BYTES_MAX):
                self._start(calls)
                calls, size = [], 0
            calls.append(call)
            size += len(call.text) + 1
        self._start(calls)

    def _start(self, calls: list[_Call]) -> None:
        batch = asyncio.create_task(self._deliver(calls), name="keyquorum-sol-batch")
        self._batches.add(batch)
        batch.add_done_callback(self._batches.discard)

    async def _deliver(self, calls: list[_Call]) -> None:
        try:
            if len(calls) == 1:
                answers = {calls[0].request_id: _parsed(await self._post(calls[0].text))}
            else:
                answers = _by_id(_parsed(await self._post(f"[{','.join(call.text for call in calls)}]")))
        except NoAnswer as error:
            _fail(calls, error)
            return
        except asyncio.CancelledError:
            _fail(calls, NoAnswer("the connection to the node was closed", acted=True))
            raise
        for call in calls:
            if not call.answer.done():
                call.answer.set_result(answers.get(call.request_id))

    async def _post(self, text: str) -> bytes:
        try:
            async with self._http.post(
                self._url, data=text.encode(), headers=_HEADERS, timeout=self._timeout, allow_redirects=False
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


def _fail(calls: list[_Call], error: NoAnswer) -> None:
    for call in calls:
        if not call.answer.done():
            call.answer.set_exception(NoAnswer(error.detail, acted=error.acted))


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise NoAnswer("the node's answer is not JSON", acted=True) from None


def _by_id(answers: Any) -> dict[int, Any]:
    if not isinstance(answers, list):
        raise NoAnswer("the node does not take several calls in one request: set rpc_batch_max to 1", acted=True)
    return {answer["id"]: answer for answer in answers if isinstance(answer, dict) and type(answer.get("id")) is int}


def _result(answer: Any, request_id: int) -> Any:
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
