"""HTTP to a node that may be slow, wrong or hostile: every answer has a time, a size and a status, and no redirects."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import aiohttp

_CHUNK_BYTES = 64 * 1024
_TEXT_CHARS_MAX = 200
_NOT_FORWARDED = frozenset({400, 401, 403, 404, 405, 413, 414, 415, 429, 503})


class NoAnswer(Exception):
    """No sensible answer came. ``acted`` is False only where the node cannot have acted on the request."""

    def __init__(self, detail: str, *, acted: bool) -> None:
        self.detail = detail
        self.acted = acted
        super().__init__(detail)


class Refused(Exception):
    """The node answered, and said no. ``code`` is bitcoind's, 0 where there is none; ``message`` its text, cleaned."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = printable(message)
        super().__init__(f"{code}: {self.message}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in full."""

    status: int
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text for people, cut and cleaned."""
        return printable(self.body[: 4 * _TEXT_CHARS_MAX].decode("utf-8", "replace"))

    def json(self) -> Any:
        """The body as JSON; fractions as Decimal, since binary ones are no amounts of money."""
        try:
            return json.loads(self.body, parse_float=Decimal, parse_constant=_refuse_constant)
        except (ValueError, ArithmeticError, RecursionError):
            raise NoAnswer("the node's answer is not JSON", acted=True) from None


class Transport:
    """One endpoint. ``http`` is an aiohttp.ClientSession that the host owns; the URL is never shown."""

    def __init__(self, http: aiohttp.ClientSession, url: str, *, timeout_s: float, response_bytes_max: int) -> None:
        self._http = http
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._response_bytes_max = response_bytes_max

    async def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """The answer with whatever status, or :class:`NoAnswer`."""
        try:
            async with self._http.request(
                method, self._url + path, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                return Reply(response.status, await self._read(response))
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


def unusual(status: int) -> NoAnswer:
    """What an HTTP status that the protocol does not know comes to."""
    return NoAnswer(f"the node answered HTTP {status}", acted=status not in _NOT_FORWARDED)


def printable(text: str) -> str:
    """A node's text for people: cut, on one line, nothing invisible."""
    return "".join(c if c.isprintable() else " " for c in text[:_TEXT_CHARS_MAX]).strip()


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
