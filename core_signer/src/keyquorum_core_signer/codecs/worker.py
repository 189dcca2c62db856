"""One codec process and the conversation with it.

State: no process until the first question or :meth:`CodecWorker.start`; then one process that answers one question at a
time. A question that fails in any way but a well-formed refusal ends the process, and the next question starts another:
an answer that comes late can never be taken for the answer to something else. A codec that would not start as pinned is
refused for good, because nothing but the operator can change that.
"""

import asyncio
import base64
import contextlib
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from keyquorum_core_signer.codecs.answers import (
    FRAME_BYTES_MAX,
    Description,
    parse_response,
    read_address,
    read_decoded,
    read_description,
)
from keyquorum_core_signer.codecs.errors import CodecError, CodecFault, CodecRefused, CodecRejected
from keyquorum_core_signer.intents.effects import CodecRef, Decoded, OwnAccount

A = TypeVar("A")

_HOST_MODULE: Final = "keyquorum_plugin_api.codec_host"
_LENGTH_BYTES: Final = 4
_READ_AHEAD_BYTES: Final = 256 * 1024
_READY: Final = 0  # what the host's first frame answers


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one codec process may take."""

    answer_s: float = 2.0  # wall clock, for one question
    start_s: float = 20.0  # a cold disk and a heavy import
    cpu_s: int = 5  # processor time for one question: a backstop in the kernel, should the party itself be stuck
    memory_mib: int = 512  # address space, of which libraries map much and use little


class _ProcessEnded(CodecFault):
    """There is no answer, because there is no process."""


class CodecWorker:
    """Asks one codec, pinned by ``ref``, in a process of its own. For one event loop; questions wait for each other."""

    def __init__(self, ref: CodecRef, folder: Path | None = None, limits: WorkerLimits | None = None) -> None:
        self.ref = ref
        self._folder = folder
        self._limits = limits or WorkerLimits()
        self._process: Process | None = None
        self._description: Description | None = None
        self._refusal: CodecRefused | None = None
        self._turn = asyncio.Lock()
        self._identifier = _READY
        self._closed = False

    @property
    def process_id(self) -> int | None:
        """The running process, if there is one."""
        return self._process.pid if self._process else None

    async def start(self) -> Description:
        """Have the codec loaded; raises CodecRefused or CodecFault."""
        async with self._turn:
            return await self._started()

    async def decode(self, payload: bytes, chain: str, accounts: Sequence[OwnAccount]) -> Decoded:
        """What ``payload`` does, if ``accounts`` are the key's own; raises CodecError."""
        question = {
            "op": "decode",
            "payload": _base64(payload),
            "chain": chain,
            "accounts": [
                {"address": account.address, "public_key": _base64(account.public_key), "path": account.path}
                for account in accounts
            ],
        }
        return await self._ask(
            question, chain, lambda result, description: read_decoded(result, description, chain, accounts)
        )

    async def derive_address(self, public_key: bytes, chain: str) -> str:
        """The address of ``public_key`` on ``chain``; raises CodecError."""
        question = {"op": "derive_address", "public_key": _base64(public_key), "chain": chain}
        return await self._ask(question, chain, lambda result, _: read_address(result))

    async def validate_address(self, address: str, chain: str) -> str:
        """The canonical spelling of ``address``; raises CodecRejected if it is none of ``chain``'s."""
        question = {"op": "validate_address", "address": address, "chain": chain}
        return await self._ask(question, chain, lambda result, _: read_address(result))

    async def close(self) -> None:
        """End the process, after the question that is being answered; no question is taken afterwards."""
        self._closed = True
        async with self._turn:
            await self._end()

    async def _ask(
        self, question: Mapping[str, Any], chain: str, read: Callable[[dict[str, Any], Description], A]
    ) -> A:
        async with self._turn:
            earlier = self._process
            description = await self._started()
            if chain.partition(":")[0] != description.namespace:
                raise CodecRejected("unsupported-chain", f"the codec {self.ref.name} does not know this chain")
            self._identifier += 1
            frame = _frame({"id": self._identifier, **question})
            try:
                async with asyncio.timeout(self._limits.answer_s):
                    body = await self._answered(frame, reused=self._process is earlier)
                return read(parse_response(body, self._identifier), description)
            except CodecRejected:
                raise
            except TimeoutError:
                await self._end()
                raise CodecFault(f"no answer within {self._limits.answer_s} s") from None
            except BaseException:  # also of a caller that gives up, and leaves an answer behind that nobody may read
                await self._end()
                raise

    async def _answered(self, frame: bytes, *, reused: bool) -> bytes:
        """The answer to a question. A process that ended may have done so before it was asked, which the system tells late:
        a new one is asked once more, and a codec that ends at this very question ends again."""
        try:
            return await self._exchange(frame)
        except _ProcessEnded:
            if not reused:
                raise
            await self._end()
            await self._started()
            return await self._exchange(frame)

    async def _exchange(self, frame: bytes) -> bytes:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(frame)
            await process.stdin.drain()
            return await _read_frame(process.stdout)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise _ProcessEnded("the codec's process ended") from None

    async def _started(self) -> Description:
        if self._refusal is not None:
            raise CodecRefused(self._refusal.detail)
        if self._closed:
            raise CodecFault("the worker is closed")
        if self._process is not None and self._description is not None:
            if self._process.returncode is None:
                return self._description
            await self._end()
        self._process = await asyncio.create_subprocess_exec(
            *self._command(), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, cwd="/", limit=_READ_AHEAD_BYTES
        )
        try:
            async with asyncio.timeout(self._limits.start_s):
                body = await _read_frame(self._stdout())
            self._description = read_description(parse_response(body, _READY), self.ref)
        except CodecError as error:
            await self._end()
            self._refusal = CodecRefused(f"the codec {self.ref.name} {self.ref.version} is refused: {error.detail}")
            raise self._refusal from None
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._end()
            raise CodecFault("the codec's process ended while loading it") from None
        except TimeoutError:
            await self._end()
            raise CodecFault(f"the codec did not load within {self._limits.start_s} s") from None
        except BaseException:
            await self._end()
            raise
        return self._description

    def _stdout(self) -> asyncio.StreamReader:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout

    def _command(self) -> list[str]:
        limits = self._limits
        options = {
            "--codec": self.ref.name,
            "--version": self.ref.version,
            "--sha256": self.ref.sha256.hex(),
            "--cpu-s": str(limits.cpu_s),
            "--memory-mib": str(limits.memory_mib),
        }
        if self._folder is not None:
            options["--path"] = str(self._folder)
        flat = [word for option in options.items() for word in option]
        return [sys.executable, "-I", "-X", "utf8", "-m", _HOST_MODULE, *flat]

    async def _end(self) -> None:
        process, self._process, self._description = self._process, None, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    if not 0 < length <= FRAME_BYTES_MAX:
        raise CodecFault("the answer is empty or too long")
    return await reader.readexactly(length)


def _frame(value: Mapping[str, Any]) -> bytes:
    body = json.dumps(value, separators=(",", ":")).encode()
    if len(body) > FRAME_BYTES_MAX:
        raise CodecRejected("invalid-payload", "the question is too long")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
