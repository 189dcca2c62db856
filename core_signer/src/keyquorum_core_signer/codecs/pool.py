"""All codecs that a party pins, each with its workers."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from keyquorum_core_signer.codecs.answers import Description
from keyquorum_core_signer.codecs.errors import CodecFault, CodecRefused
from keyquorum_core_signer.codecs.worker import CodecWorker, WorkerLimits
from keyquorum_core_signer.config.party import CodecPin
from keyquorum_core_signer.intents.effects import CodecRef, Decoded, OwnAccount

_log: Any = structlog.get_logger(__name__)


class PinnedCodec:
    """One codec, pinned by name, version and hash. Every question goes to a worker that is idle, or waits for one."""

    def __init__(self, ref: CodecRef, folder: Path | None, workers: int, limits: WorkerLimits | None) -> None:
        self.ref = ref
        self._workers = [CodecWorker(ref, folder, limits) for _ in range(workers)]
        self._description: Description | None = None
        self._idle: asyncio.LifoQueue[CodecWorker] = asyncio.LifoQueue()  # the last one used is the warmest
        for worker in reversed(self._workers):
            self._idle.put_nowait(worker)

    @property
    def identifier(self) -> str:
        """Tells this codec from every other, and from other versions and builds of itself."""
        return f"{self.ref.name} {self.ref.version} {self.ref.sha256.hex()}"

    async def start(self) -> Description:
        """Start one worker; the others start when they are first needed. Raises CodecError."""
        self._description = await self._workers[0].start()
        return self._description

    async def describe(self) -> Description:
        """What the pinned artifact says of itself, which never changes; raises CodecError."""
        return self._description or await self.start()

    async def decode(self, payload: bytes, chain: str, accounts: Sequence[OwnAccount]) -> Decoded:
        """What ``payload`` does, if ``accounts`` are the key's own; raises CodecError."""
        async with self._worker() as worker:
            return await worker.decode(payload, chain, accounts)

    async def derive_address(self, public_key: bytes, chain: str) -> str:
        """The address of ``public_key`` on ``chain``; raises CodecError."""
        async with self._worker() as worker:
            return await worker.derive_address(public_key, chain)

    async def validate_address(self, address: str, chain: str) -> str:
        """The canonical spelling of ``address``; raises CodecRejected if it is none of ``chain``'s."""
        async with self._worker() as worker:
            return await worker.validate_address(address, chain)

    async def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            await worker.close()

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[CodecWorker]:
        worker = await self._idle.get()
        try:
            yield worker
        except (CodecFault, CodecRefused) as error:  # how it failed is the operator's business alone
            _log.warning("codec stopped", codec=self.ref.name, version=self.ref.version, reason=error.detail)
            raise
        finally:
            self._idle.put_nowait(worker)


class CodecPool:
    """The codecs of one party."""

    def __init__(self, pins: Iterable[CodecPin], limits: WorkerLimits | None = None) -> None:
        self._codecs: dict[CodecRef, PinnedCodec] = {}
        for pin in pins:
            ref = CodecRef(pin.name, pin.version, pin.digest)
            self._codecs[ref] = PinnedCodec(ref, pin.path, pin.workers, limits)

    @property
    def refs(self) -> tuple[CodecRef, ...]:
        """What is pinned, in the order of the configuration."""
        return tuple(self._codecs)

    def find(self, ref: CodecRef) -> PinnedCodec | None:
        """Exactly the codec ``ref``, if this party pins it."""
        return self._codecs.get(ref)

    def named(self, name: str) -> PinnedCodec | None:
        """The codec that this party derives addresses with: of those with that name, the last one pinned."""
        return next((codec for ref, codec in reversed(self._codecs.items()) if ref.name == name), None)

    async def start(self) -> tuple[Description, ...]:
        """Load every codec once, so that a wrong pin is found before the first intent; raises CodecError."""
        return tuple([await codec.start() for codec in self._codecs.values()])

    async def close(self) -> None:
        """End all workers of all codecs."""
        for codec in self._codecs.values():
            await codec.close()
