"""The supervisor's control socket: who runs, and start, stop or kill one process of a stack by its name.

One JSON object per line each way, on a Unix socket that its owner alone can open. Socket paths are limited to about a
hundred bytes, so both ends reach theirs through a descriptor of the state folder.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

SOCKET_NAME: Final = "control.sock"
REQUEST_BYTES_MAX: Final = 4096
ANSWER_S_MAX: Final = 60.0  # a start answers once the process is ready

Answer = dict[str, Any]
Handler = Callable[[str, str], Awaitable[Answer]]  # (command, program name) -> answer


class ControlError(Exception):
    """No stack runs on this state, or it refused the command; the text says which."""


@contextlib.contextmanager
def _short_path(state: Path) -> Iterator[str]:
    descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def listening(state: Path, handler: Handler) -> AsyncIterator[None]:
    """Answer control commands for as long as the context is open."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                request = json.loads(await reader.readline())
                answer = await handler(str(request["command"]), str(request.get("name", "")))
            except (ValueError, KeyError, TypeError) as error:
                answer = {"error": f"not understood: {error}"}
            except ControlError as error:
                answer = {"error": str(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            with contextlib.suppress(ConnectionError):
                await writer.drain()

    (state / SOCKET_NAME).unlink(missing_ok=True)
    with _short_path(state) as path:
        before = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(serve, path, limit=REQUEST_BYTES_MAX)
        finally:
            os.umask(before)
    try:
        yield
    finally:
        server.close()
        (state / SOCKET_NAME).unlink(missing_ok=True)


async def ask(state: Path, command: str, name: str = "") -> Answer:
    """Send one command to the stack that runs on ``state``; :class:`ControlError` if none does or it refuses."""
    try:
        with _short_path(state) as path:
            reader, writer = await asyncio.open_unix_connection(path)
    except OSError:
        raise ControlError(f"no stack runs on {state}") from None
    with contextlib.closing(writer):
        writer.write(json.dumps({"command": command, "name": name}).encode() + b"\n")
        try:
            line = await asyncio.wait_for(reader.readline(), ANSWER_S_MAX)
        except TimeoutError:
            raise ControlError(f"no answer within {ANSWER_S_MAX:.0f} s") from None
    if not line:
        raise ControlError("the stack went away")
    answer: Answer = json.loads(line)
    if "error" in answer:
        raise ControlError(answer["error"])
    return answer
