"""The link to one party: dialled, greeted, kept up, and lost at once when it is lost.

Everything that belongs to a link ends with it: the party's nonces, its pairwise channels, the sessions that run over
it. Nothing in a frame is believed beyond what it is for: a party that breaks the contract (a wrong nonce, a second
hello, a batch in a batch) loses its link, and what it says about sessions is checked where it is used.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
import structlog

from keyquorum_core_signer.coordinator.backoff import Backoff
from keyquorum_core_signer.coordinator.limits import (
    CODEC_BYTES_MAX,
    CODECS_MAX,
    LINK_STABLE_S,
    NONCES_PER_LINK_MAX,
    PREPARED_KEYS_MAX,
    RECONNECT_S_MAX,
    RECONNECT_S_MIN,
    VERSION_CHARS_MAX,
)
from keyquorum_core_signer.coordinator.outbox import Outbox
from keyquorum_core_signer.intents.roster import Node
from keyquorum_protos.party.v1 import party_pb2, party_pb2_grpc
from keyquorum_protos.signer.v1 import intent_pb2

NONCE_BYTES: Final = 32

_log = structlog.get_logger(__name__)


class LinkBroken(Exception):
    """Says why a link ended, or was never up. About the party it proves nothing."""


class RouteSink(Protocol):
    """Whoever waits for answers on a route."""

    def on_progress(self, node_id: str, round_number: int) -> None:
        """A party finished a round (0: it admitted the intent)."""

    def on_result(self, node_id: str, result: party_pb2.SessionResult) -> None:
        """A party's session ended."""

    def on_attested(self, node_id: str, attested: party_pb2.Attested) -> None:
        """A party attested an address, or refused to."""

    def on_lost(self, node_id: str, reason: str) -> None:
        """The party's link ended."""


class LinkListener(Protocol):
    """The committee, as a link sees it. All calls come from the event loop, none blocks."""

    def on_up(self, link: "PartyLink") -> None:
        """The link stands."""

    def on_down(self, link: "PartyLink", reason: str) -> None:
        """The link is lost, its sessions with it."""

    def on_changed(self, link: "PartyLink") -> None:
        """Nonces arrived, or other channels stand: a quorum may be possible that was not."""

    def on_relay(self, link: "PartyLink", relay: party_pb2.Relay) -> None:
        """The party sends bytes to another node."""

    def on_pool(self, link: "PartyLink", pool: party_pb2.PresignaturePool) -> None:
        """The party tells what presignatures it has."""

    def on_activated(self, link: "PartyLink", activated: party_pb2.KeyActivated) -> None:
        """The party answers an ActivateKey."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a party says of itself when its link comes up, cut to what is shown to others. Believed by nobody."""

    version: str = ""
    kek_kind: str = ""
    codecs: tuple[intent_pb2.CodecRef, ...] = ()
    prepared_key_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, hello: party_pb2.PartyHello) -> "Introduction":
        """The hello's, bounded."""
        codecs = (codec for codec in hello.codecs[:CODECS_MAX] if codec.ByteSize() <= CODEC_BYTES_MAX)
        return cls(
            version=hello.version[:VERSION_CHARS_MAX],
            kek_kind=hello.kek_kind[:VERSION_CHARS_MAX],
            codecs=tuple(codecs),
            prepared_key_ids=tuple(hello.prepared_key_ids[:PREPARED_KEYS_MAX]),
        )


@dataclass(frozen=True, slots=True)
class LinkTerms:
    """What a link is opened with. ``dial`` makes a fresh channel; times are seconds."""

    hello: party_pb2.LinkHello
    node_ids: frozenset[str]  # of the roster
    dial: Callable[[Node], grpc.aio.Channel]
    dial_s: float
    clock: Callable[[], float]
    now_ms: Callable[[], int]
    rng: Callable[[], float]


class PartyLink:
    """One party of the roster, and the stream to it while there is one."""

    def __init__(self, node: Node, terms: LinkTerms, listener: LinkListener) -> None:
        self.node_id: Final = node.node_id
        self.index: Final = node.index
        self._node = node
        self._terms = terms
        self._listener = listener
        self._outbox = Outbox(terms.clock)
        self._nonces: deque[bytes] = deque()
        self._routes: dict[int, RouteSink] = {}
        self._task: asyncio.Task[None] | None = None
        self._call: Any = None
        self._broken = ""
        self._handlers: Mapping[str, Callable[[Any], None]] = {
            "nonces": self._on_nonces,
            "relay": lambda relay: listener.on_relay(self, relay),
            "progress": self._on_progress,
            "result": self._on_result,
            "attested": self._on_attested,
            "channels": self._on_channels,
            "activated": lambda activated: listener.on_activated(self, activated),
            "pool": lambda pool: listener.on_pool(self, pool),
        }
        self.up = False
        self.since_ms = terms.now_ms()
        self.reason = "not dialled yet"
        self.introduction = Introduction()
        self.channels: frozenset[str] = frozenset()
        self.paired: frozenset[str] = frozenset()
        self.banned: frozenset[str] = frozenset()

    def start(self) -> None:
        """Dial, and keep dialling."""
        self._task = asyncio.get_running_loop().create_task(self._keep_up(), name=f"link {self.node_id}")

    async def stop(self) -> None:
        """Hang up for good."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._down("we are stopping")

    @property
    def nonces(self) -> int:
        """How many sessions could start with this party."""
        return len(self._nonces)

    def take_nonce(self) -> bytes:
        """One of the party's nonces, which is gone with this; IndexError where :attr:`nonces` is 0."""
        return self._nonces.popleft()

    def send(self, frame: party_pb2.LinkRequest, origin: str = "") -> bool:
        """Queue a frame. False where the link is down or its queue full; in the latter case somebody must go."""
        return self.up and self._outbox.put(frame, origin)

    def stalled(self) -> bool:
        """Whether the party takes no frames."""
        return self._outbox.stalled()

    def loudest(self) -> str:
        """The node whose relayed bytes fill the queue most."""
        return self._outbox.loudest()

    def drop(self, reason: str) -> None:
        """End the link; it will be dialled again."""
        if self._call is not None and not self._broken:
            self._broken = reason
            self._call.cancel()

    def open_route(self, route: int, sink: RouteSink) -> None:
        """Send the answers on ``route`` to ``sink`` until it is closed or the link is lost."""
        self._routes[route] = sink

    def close_route(self, route: int) -> None:
        """Drop what still arrives on ``route``."""
        self._routes.pop(route, None)

    async def _keep_up(self) -> None:
        backoff = Backoff(RECONNECT_S_MIN, RECONNECT_S_MAX, self._terms.rng)
        while True:
            started = self._terms.clock()
            # A channel of its own for each attempt: a shared one would impose its own, slower back-off.
            async with self._terms.dial(self._node) as channel:
                self._down(await self._hold(channel))
            if self._terms.clock() - started > LINK_STABLE_S:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _hold(self, channel: grpc.aio.Channel) -> str:
        """Hold one link from dialling to its end; returns the reason of the end."""
        self._broken = ""
        call: Any = party_pb2_grpc.PartyServiceStub(channel).Link()
        self._call = call
        writer: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(self._terms.dial_s):
                self._greet(await self._exchange_hellos(call))
            writer = asyncio.create_task(self._write(call), name=f"link {self.node_id} writer")
            while (response := await call.read()) is not grpc.aio.EOF:
                self._receive(response)
        except LinkBroken as error:
            return str(error)
        except TimeoutError:
            return "no hello in time"
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name.lower()}: {error.details()}"
        except asyncio.CancelledError:
            # gRPC cancels whoever reads from a call that drop() cancelled; our own cancellation passes on.
            if not self._broken or _cancelling():
                raise
            return self._broken
        except Exception:  # noqa: BLE001 - a bug of ours costs this link, and is logged; the others go on
            _log.exception("a frame could not be handled", node_id=self.node_id)
            return "a frame could not be handled"
        else:
            return "the party hung up"
        finally:
            self._call = None
            call.cancel()
            if writer is not None:
                writer.cancel()

    async def _exchange_hellos(self, call: Any) -> party_pb2.PartyHello:
        await call.write(party_pb2.LinkRequest(hello=self._terms.hello))
        response = await call.read()
        if response is grpc.aio.EOF or response.WhichOneof("frame") != "hello":
            raise LinkBroken("the party's first frame is not a hello")
        hello: party_pb2.PartyHello = response.hello
        return hello

    def _greet(self, hello: party_pb2.PartyHello) -> None:
        ours = self._terms.hello
        if hello.node_id != self.node_id:
            raise LinkBroken("the party has another node id")
        if hello.cell_id != ours.cell_id:
            raise LinkBroken("the party is of another cell")
        if hello.roster_hash != ours.roster_hash:
            raise LinkBroken("the party has another roster")
        self.introduction = Introduction.of(hello)
        self._outbox = Outbox(self._terms.clock)
        self.up = True
        self.since_ms = self._terms.now_ms()
        self.reason = ""
        _log.info("a party is linked", node_id=self.node_id, version=self.introduction.version)
        self._listener.on_up(self)

    def _down(self, reason: str) -> None:
        if reason != self.reason:
            _log.warning("a party is not linked", node_id=self.node_id, reason=reason, was_up=self.up)
        self.reason = reason
        if not self.up:
            return
        self.up = False
        self.since_ms = self._terms.now_ms()
        self.channels = frozenset()
        self._nonces.clear()
        routes, self._routes = self._routes, {}
        self._listener.on_down(self, reason)
        for sink in routes.values():
            sink.on_lost(self.node_id, reason)

    async def _write(self, call: Any) -> None:
        outbox = self._outbox
        try:
            while True:
                await call.write(await outbox.get())
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            call.cancel()  # the reader finds out why

    def _receive(self, response: party_pb2.LinkResponse) -> None:
        if response.WhichOneof("frame") != "batch":
            self._receive_one(response)
            return
        for frame in response.batch.frames:
            self._receive_one(frame)

    def _receive_one(self, response: party_pb2.LinkResponse) -> None:
        kind = response.WhichOneof("frame")
        if kind is None:
            return  # of a later version, which may know frames that nobody has to understand
        handler = self._handlers.get(kind)
        if handler is None:
            raise LinkBroken(f"the party sends a {kind} where none belongs")
        handler(getattr(response, kind))

    def _on_progress(self, progress: party_pb2.SessionProgress) -> None:
        sink = self._routes.get(progress.route)
        if sink is not None:
            sink.on_progress(self.node_id, progress.round)

    def _on_result(self, result: party_pb2.SessionResult) -> None:
        sink = self._routes.pop(result.route, None)
        if sink is not None:
            sink.on_result(self.node_id, result)

    def _on_attested(self, attested: party_pb2.Attested) -> None:
        sink = self._routes.pop(attested.route, None)
        if sink is not None:
            sink.on_attested(self.node_id, attested)

    def _on_nonces(self, offered: party_pb2.SessionNonces) -> None:
        if any(len(nonce) != NONCE_BYTES for nonce in offered.nonces):
            raise LinkBroken("the party offers a nonce of a wrong length")
        if len(self._nonces) + len(offered.nonces) > NONCES_PER_LINK_MAX:
            raise LinkBroken("the party offers too many nonces")
        self._nonces.extend(offered.nonces)
        self._listener.on_changed(self)

    def _on_channels(self, channels: party_pb2.ChannelsChanged) -> None:
        self.channels = self._terms.node_ids.intersection(channels.node_ids)
        self.paired = self._terms.node_ids.intersection(channels.paired_node_ids)
        self.banned = self._terms.node_ids.intersection(channels.banned_node_ids)
        self._listener.on_changed(self)


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
