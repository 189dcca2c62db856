"""How commands reach the gateway, and how its problems read on a terminal."""

import asyncio
import functools
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, ParamSpec

import aiohttp
import click

P = ParamSpec("P")

REQUEST_S: Final = 60.0
DEFAULT_URL: Final = "http://127.0.0.1:8080"


class GatewayProblem(click.ClickException):
    """The gateway answered with a problem, or did not answer."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway and the key to it. ``as_json`` is how the command's result is wanted."""

    url: str
    api_key: str
    as_json: bool
    session: aiohttp.ClientSession

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The JSON of a GET."""
        return await self._call("GET", path, query=query)

    async def post(self, path: str, body: Any) -> Any:
        """The JSON of a POST, under an idempotency key of its own."""
        return await self._call("POST", path, body=body, headers={"Idempotency-Key": str(uuid.uuid4())})

    async def events(self, path: str) -> AsyncIterator[Any]:
        """The data of server-sent events, to the end of the stream."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_S)
        async with self.session.get(self.url + path, headers=self._headers(), timeout=timeout) as response:
            if response.status != 200:
                raise _problem(response.status, await response.text())
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        async with self.session.request(
            method,
            self.url + path,
            params=query,
            json=body,
            headers={**self._headers(), **(headers or {})},
            timeout=aiohttp.ClientTimeout(total=REQUEST_S),
        ) as response:
            text = await response.text()
            if response.status >= 400:
                raise _problem(response.status, text)
            return json.loads(text)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"}


def gateway_command(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make an async function of a :class:`Gateway` a command with the options that every such command has."""

    @click.option(
        "--url", envvar="KEYQUORUM_URL", default=DEFAULT_URL, show_default=True, help="The gateway's base URL."
    )
    @click.option(
        "--api-key-file",
        envvar="KEYQUORUM_API_KEY_FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        required=True,
        help="File that holds the API key.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
    @functools.wraps(function)
    def command(*, url: str, api_key_file: Path, as_json: bool, **arguments: Any) -> None:
        asyncio.run(_run(function, url.rstrip("/"), api_key_file.read_text().strip(), arguments, as_json=as_json))

    return command


async def _run(
    function: Callable[..., Awaitable[None]], url: str, api_key: str, arguments: Mapping[str, Any], *, as_json: bool
) -> None:
    try:
        async with aiohttp.ClientSession() as session:
            await function(Gateway(url, api_key, as_json, session), **arguments)
    except aiohttp.ClientError as error:
        raise GatewayProblem(f"no answer from {url}: {error}") from None
    except TimeoutError:
        raise GatewayProblem(f"no answer from {url} in time") from None


def _problem(status: int, text: str) -> GatewayProblem:
    try:
        problem = json.loads(text)
        lines = [f"{problem['title']} ({problem['code']}, {status}): {problem['detail']}"]
        lines += [f"  {error['pointer']}: {error['detail']}" for error in problem.get("errors", ())]
        lines.append(f"  trace {problem['trace_id']}")
    except (ValueError, KeyError, TypeError):
        return GatewayProblem(f"status {status} from something that is no Keyquorum gateway")
    return GatewayProblem("\n".join(lines))
