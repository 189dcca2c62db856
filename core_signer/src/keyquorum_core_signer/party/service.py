"""The party's gRPC edge: who may open a link, and moving frames between the stream and :class:`Link`."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Final

import grpc
import structlog

from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party.link import Link, LinkOverflow, LinkServices
from keyquorum_core_signer.party.metrics import CHANNELS, LINKS
from keyquorum_protos.party.v1 import party_pb2, party_pb2_grpc

HELLO_S_MAX: Final = 5.0
STREAMS_MAX: Final = 8  # per coordinator: one link, and what is being greeted or ends
_log = structlog.get_logger("party.service")


class PartyService(party_pb2_grpc.PartyServiceServicer):
    """Links for pinned coordinators. A coordinator has one link at a time; a newer one replaces it."""

    def __init__(self, services: LinkServices) -> None:
        self._services = services
        self._roster: Roster = services.session.roster
        self._links: dict[str, Link] = {}
        self._streams: Counter[str] = Counter()

    async def Link(  # noqa: N802 - the method's name in the .proto
        self,
        request_iterator: AsyncIterator[party_pb2.LinkRequest],
        context: grpc.aio.ServicerContext[party_pb2.LinkRequest, party_pb2.LinkResponse],
    ) -> AsyncIterator[party_pb2.LinkResponse]:
        """One coordinator's stream, until either side ends it."""
        coordinator_id = coordinator_of(context.auth_context(), self._roster)
        if coordinator_id is None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not a coordinator of this party's roster")
        if self._streams[coordinator_id] >= STREAMS_MAX:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams of this coordinator are open")
        self._streams[coordinator_id] += 1
        try:
            problem = await self._greet(request_iterator, coordinator_id)
            if problem:
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, problem)
            async with aclosing(self._serve(request_iterator, coordinator_id)) as frames:
                async for frame in frames:
                    yield frame
        finally:
            self._streams[coordinator_id] -= 1

    async def _serve(
        self, frames: AsyncIterator[party_pb2.LinkRequest], coordinator_id: str
    ) -> AsyncGenerator[party_pb2.LinkResponse]:
        stream = asyncio.current_task()
        assert stream is not None
        link = Link(self._services, coordinator_id, expel=stream.cancel)
        previous, self._links[coordinator_id] = self._links.get(coordinator_id), link
        if previous is not None:
            previous.end()
        _log.info("link opened", coordinator=coordinator_id)
        LINKS.inc()
        reader = asyncio.create_task(_read(link, frames))
        try:
            await link.open()
            while (frame := await link.next_frame()) is not None:
                yield frame
        finally:
            reader.cancel()
            await link.close()
            if self._links.get(coordinator_id) is link:
                del self._links[coordinator_id]
                CHANNELS.labels(coordinator_id).set(0)
            LINKS.dec()
            _log.info("link closed", coordinator=coordinator_id)

    async def close(self) -> None:
        """End all links."""
        for link in list(self._links.values()):
            link.end()

    async def _greet(self, frames: AsyncIterator[party_pb2.LinkRequest], coordinator_id: str) -> str:
        """Read the hello; returns what is wrong with it, in English, or nothing."""
        try:
            async with asyncio.timeout(HELLO_S_MAX):
                first = await anext(frames)
        except (TimeoutError, StopAsyncIteration):
            return "the link did not begin with a hello"
        if first.WhichOneof("frame") != "hello":
            return "the link did not begin with a hello"
        hello = first.hello
        if hello.coordinator_id != coordinator_id:
            return "the coordinator's certificate is another's"
        if hello.cell_id != self._roster.cell_id:
            return "another cell"
        if hello.roster_hash != self._roster.roster_hash:
            return "another roster"
        return ""


async def _read(link: Link, frames: AsyncIterator[party_pb2.LinkRequest]) -> None:
    """Feed a link until the stream ends, the link overflows, or the transport fails."""
    try:
        with suppress(LinkOverflow, grpc.aio.AioRpcError, asyncio.CancelledError):
            async for frame in frames:
                await link.take(frame)
    except Exception as error:  # noqa: BLE001 - a link that nobody reads any more must not look open
        _log.error("link reader failed", error=type(error).__name__, exc_info=error)
    link.end()


def coordinator_of(auth: Mapping[str, Iterable[bytes]], roster: Roster) -> str | None:
    """The coordinator whose pinned certificate the TLS peer presented."""
    presented = auth.get("x509_pem_cert", ())
    for pem in presented:
        try:
            der = ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
        except (ValueError, UnicodeDecodeError):
            continue
        for coordinator in roster.coordinators:
            if ssl.PEM_cert_to_DER_cert(coordinator.transport_certificate) == der:
                return coordinator.coordinator_id
    return None
