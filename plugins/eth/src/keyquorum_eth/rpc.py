"""JSON-RPC over HTTP to a node that may be slow, wrong or hostile, one call or a batch at a time.

Whatever is not a well-formed answer to the very request is no answer. Nothing is ever repeated here: whoever asks knows
whether asking twice is safe.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import aiohttp
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

BATCH_MAX = 100  # calls in one request; more are sent in several
_CHUNK_BYTES = 64 * 1024
_TEXT_CHARS_MAX = 200
_NOT_FORWARDED = frozenset({400, 401, 403, 404, 405, 413, 414, 415, 429, 503})
_RATE_LIMITS = frozenset({429, -32005})  # of HTTP, said in JSON-RPC; and EIP-1474's "limit exceeded"


class NodeError(Exception):
    """The node answered with a JSON-RPC error. ``message`` is the node's own text, cut and cleaned."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
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
class Question(Generic[T]):
    """A call, and the form that its result has to have."""

    method: str
    params: list[Any]
    shape: TypeAdapter[T]

    def read(self, result: Any) -> T:
        """The result in its form."""
        try:
            return self.shape.validate_python(result)
        except (ValidationError, RecursionError):
            raise NoAnswer(f"the node's answer to {self.method} has the wrong form", acted=True) from None


class JsonRpc:
    """One endpoint. ``http`` is an aiohttp.ClientSession that the host owns."""

    def __init__(self, http: aiohttp.ClientSession, url: str, *, timeout_s: float, response_bytes_max: int) -> None:
        self._http = http
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._response_bytes_max = response_bytes_max
        self._ids = itertools.count(1)

    async def ask(self, question: Question[T]) -> T:
        """One answer. Raises :class:`NodeError` or :class:`NoAnswer`."""
        call = self._call(question)
        answer = await self._post(call)
        if not isinstance(answer, dict):
            raise NoAnswer("the node's answer is not JSON-RPC", acted=True)
        result = _result(answer, call["id"])
        if isinstance(result, NodeError):
            raise result
        return question.read(result)

    async def ask_all(self, questions: Sequence[Question[Any]]) -> list[Any]:
        """Answers in the order of the questions; where the node refused one, its :class:`NodeError` stands in its place.

        Raises :class:`NoAnswer` unless every question was answered, once.
        """
        found: list[Any] = []
        for start in range(0, len(questions), BATCH_MAX):
            found += await self._ask_batch(questions[start : start + BATCH_MAX])
        return found

    async def _ask_batch(self, questions: Sequence[Question[Any]]) -> list[Any]:
        calls = [self._call(question) for question in questions]
        answers = await self._post(calls)
        if not isinstance(answers, list) or len(answers) != len(calls):
            raise NoAnswer("the node does not answer a batch of calls", acted=True)
        by_id = {answer.get("id"): answer for answer in answers if isinstance(answer, dict) and _has_id(answer)}
        found = []
        for call, question in zip(calls, questions, strict=True):
            if call["id"] not in by_id:
                raise NoAnswer("the node answered something else", acted=True)
            result = _result(by_id[call["id"]], call["id"])
            found.append(result if isinstance(result, NodeError) else question.read(result))
        return found

    def _call(self, question: Question[Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": question.method, "params": question.params}

    async def _post(self, request: Any) -> Any:
        try:
            async with self._http.post(
                self._url, json=request, timeout=self._timeout, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise NoAnswer(
                        f"the node answered HTTP {response.status}", acted=response.status not in _NOT_FORWARDED
                    )
                body = await self._read(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL):
            raise NoAnswer("the node cannot be reached", acted=False) from None
        except TimeoutError:
            raise NoAnswer("the node did not answer in time", acted=True) from None
        except (aiohttp.ClientError, OSError, RuntimeError):  # RuntimeError: the host has closed the session
            raise NoAnswer("the connection to the node broke", acted=True) from None
        try:
            return json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise NoAnswer("the node's answer is not JSON", acted=True) from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > self._response_bytes_max:
                raise NoAnswer("the node's answer is too long", acted=True)
        return bytes(body)


def _has_id(answer: dict[str, Any]) -> bool:
    return type(answer.get("id")) is int


def _result(answer: dict[str, Any], request_id: int) -> Any:
    """The result, or the node's refusal."""
    if answer.get("jsonrpc") != "2.0":
        raise NoAnswer("the node's answer is not JSON-RPC", acted=True)
    error = answer.get("error")
    if error is None:
        if not _has_id(answer) or answer["id"] != request_id or "result" not in answer:
            raise NoAnswer("the node answered something else", acted=True)
        return answer["result"]
    code = error.get("code") if isinstance(error, dict) else None
    if type(code) is not int or not isinstance(error.get("message"), str) or answer.get("id") not in (request_id, None):
        raise NoAnswer("the node's error is not JSON-RPC", acted=True)
    if code in _RATE_LIMITS:
        raise NoAnswer("the node asks for fewer requests", acted=False)
    return NodeError(code, error["message"], error.get("data"))


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
