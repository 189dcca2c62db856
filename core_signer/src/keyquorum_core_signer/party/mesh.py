"""The pairwise channels of one link: who talks to whom end to end, through a coordinator that only moves bytes.

Of each pair the node with the lower index opens the channel. A handshake that somebody only pretends to start never
disturbs the channel that stands: a new one takes over when it is established, which needs the peer's identity key.
A replaced channel still receives for a while, because frames of running sessions may be under way in it.
"""

import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from keyquorum_core_signer.wire.channel import ChannelError, PairwiseChannel

CHANNEL_ID_BYTES = 16
HANDSHAKES_MAX = 2  # per peer: one under way and one that a reconnecting peer starts over it
HANDSHAKE_S_MAX = 5.0  # three flights through a healthy relay take milliseconds
HANDSHAKES_BEGUN_MAX = (
    16  # per peer in HANDSHAKE_S_MAX: each costs milliseconds, and whoever carries bytes can ask for one
)
RETIRED_S_MAX = 120.0  # no session may take longer
RETIRED_MAX = 4  # per peer: an honest one renews every hour, and after what broke


class ChannelOpener(Protocol):
    """Makes the TLS endpoint of one channel with a pinned peer."""

    def __call__(self, peer: str, channel_id: bytes, *, initiate: bool) -> PairwiseChannel:
        """A channel that has not said anything yet."""


@dataclass(slots=True)
class _Handshake:
    channel: PairwiseChannel
    started: float


@dataclass(slots=True)
class _Peer:
    initiate: bool
    reachable: bool = False
    standing: tuple[bytes, PairwiseChannel] | None = None
    handshakes: dict[bytes, _Handshake] = field(default_factory=dict)
    begun: deque[float] = field(default_factory=lambda: deque(maxlen=HANDSHAKES_BEGUN_MAX))
    retired: dict[bytes, tuple[PairwiseChannel, float]] = field(default_factory=dict)


class ChannelMesh:
    """All channels of a node on one link.

    ``transmit(peer, channel_id, data)`` hands bytes to the relay, ``deliver(peer, frame)`` hands a frame that ``peer``
    is proven to have sent to the sessions, ``changed()`` tells that the set of standing channels is another.
    """

    def __init__(
        self,
        peers: Iterable[tuple[str, bool]],
        open_channel: ChannelOpener,
        *,
        transmit: Callable[[str, bytes, bytes], None],
        deliver: Callable[[str, bytes], None],
        changed: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """``peers`` are (node id, whether we open the channel); ``clock`` gives monotonic seconds."""
        self._peers = {node_id: _Peer(initiate) for node_id, initiate in peers}
        self._open_channel = open_channel
        self._transmit = transmit
        self._deliver = deliver
        self._changed = changed
        self._clock = clock

    def standing(self) -> tuple[str, ...]:
        """The peers with which a channel stands."""
        return tuple(node_id for node_id, peer in self._peers.items() if peer.standing is not None)

    def reach(self, node_ids: Iterable[str]) -> None:
        """The relay now reaches exactly these nodes: open what is ours to open, drop what cannot be reached."""
        reachable = set(node_ids)
        lost = False
        for node_id, peer in self._peers.items():
            peer.reachable = node_id in reachable
            if not peer.reachable:
                lost = lost or peer.standing is not None
                peer.standing = None
                peer.handshakes.clear()
                peer.retired.clear()
        if lost:
            self._changed()
        self.tend()

    def tend(self) -> None:
        """Give up what takes too long, renew what is too old; called from a timer."""
        now = self._clock()
        for node_id, peer in self._peers.items():
            for channel_id in [i for i, h in peer.handshakes.items() if now - h.started > HANDSHAKE_S_MAX]:
                del peer.handshakes[channel_id]
            for channel_id in [i for i, (_, since) in peer.retired.items() if now - since > RETIRED_S_MAX]:
                del peer.retired[channel_id]
            due = peer.standing is None or peer.standing[1].expired(now)
            if peer.initiate and peer.reachable and due and not peer.handshakes:
                channel_id = secrets.token_bytes(CHANNEL_ID_BYTES)
                channel = self._begin(node_id, peer, channel_id)
                if channel is not None:
                    self._flush(node_id, channel_id, channel)

    def send(self, node_id: str, frame: bytes) -> bool:
        """Send a frame to a peer; False where no channel stands."""
        peer = self._peers.get(node_id)
        if peer is None or peer.standing is None:
            return False
        channel_id, channel = peer.standing
        channel.send(frame)
        self._flush(node_id, channel_id, channel)
        return True

    def receive(self, node_id: str, channel_id: bytes, data: bytes) -> None:
        """Take bytes from the relay. Nothing in them is believed before the channel has authenticated it."""
        peer = self._peers.get(node_id)
        if peer is None or len(channel_id) != CHANNEL_ID_BYTES:
            return
        channel = self._find(peer, channel_id)
        if channel is None:
            if peer.initiate or not peer.reachable or len(peer.handshakes) >= HANDSHAKES_MAX:
                return
            channel = self._begin(node_id, peer, channel_id)
            if channel is None:
                return
        try:
            frames = channel.receive(data)
        except ChannelError:
            self._flush(node_id, channel_id, channel)
            self._drop(peer, channel_id)
            return
        self._flush(node_id, channel_id, channel)
        if channel.established and channel_id in peer.handshakes:
            self._promote(peer, channel_id)
        for frame in frames:
            self._deliver(node_id, frame)

    def close(self) -> None:
        """Forget all channels, and tell nobody."""
        self._peers.clear()

    def _begin(self, node_id: str, peer: _Peer, channel_id: bytes) -> PairwiseChannel | None:
        """A new handshake; None where there have been too many of late."""
        now = self._clock()
        if len(peer.begun) == HANDSHAKES_BEGUN_MAX and now - peer.begun[0] <= HANDSHAKE_S_MAX:
            return None
        peer.begun.append(now)
        channel = self._open_channel(node_id, channel_id, initiate=peer.initiate)
        peer.handshakes[channel_id] = _Handshake(channel, now)
        return channel

    def _promote(self, peer: _Peer, channel_id: bytes) -> None:
        channel = peer.handshakes.pop(channel_id).channel
        if peer.standing is not None:
            old_id, old = peer.standing
            peer.retired[old_id] = (old, self._clock())
            if len(peer.retired) > RETIRED_MAX:
                del peer.retired[next(iter(peer.retired))]
        peer.standing = (channel_id, channel)
        self._changed()

    def _drop(self, peer: _Peer, channel_id: bytes) -> None:
        peer.handshakes.pop(channel_id, None)
        peer.retired.pop(channel_id, None)
        if peer.standing is not None and peer.standing[0] == channel_id:
            peer.standing = None
            self._changed()

    def _flush(self, node_id: str, channel_id: bytes, channel: PairwiseChannel) -> None:
        data = channel.drain()
        if data:
            self._transmit(node_id, channel_id, data)

    @staticmethod
    def _find(peer: _Peer, channel_id: bytes) -> PairwiseChannel | None:
        if peer.standing is not None and peer.standing[0] == channel_id:
            return peer.standing[1]
        if channel_id in peer.handshakes:
            return peer.handshakes[channel_id].channel
        if channel_id in peer.retired:
            return peer.retired[channel_id][0]
        return None
