"""The channels of a link: who opens them, what replaces them, and what cannot disturb them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from keyquorum_core_signer.party.mesh import HANDSHAKE_S_MAX, RETIRED_S_MAX, ChannelMesh
from keyquorum_core_signer.wire.certificates import identity_certificate
from keyquorum_core_signer.wire.channel import AGE_S_MAX, PairwiseChannel, PinnedPeer
from keyquorum_core_signer.wire.identity import IdentityKey

NOW = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass
class Net:
    """Two nodes, a clock, and a wire that delivers when told to."""

    now: float = 0.0
    wire: list[tuple[str, str, bytes, bytes]] = field(default_factory=list)
    received: dict[str, list[bytes]] = field(default_factory=lambda: {"a": [], "b": []})
    meshes: dict[str, ChannelMesh] = field(default_factory=dict)
    keys: dict[str, IdentityKey] = field(default_factory=lambda: {n: IdentityKey.generate() for n in ("a", "b")})

    def join(self, me: str) -> ChannelMesh:
        """Make (or make anew, as after a restart) the mesh of a node."""
        peer = "b" if me == "a" else "a"
        self.meshes[me] = ChannelMesh(
            [(peer, me == "a")],
            self.opener(me),
            transmit=lambda to, channel_id, data: self.wire.append((me, to, channel_id, data)),
            deliver=lambda _peer, frame: self.received[me].append(frame),
            changed=lambda: None,
            clock=lambda: self.now,
        )
        self.meshes[me].reach([peer])
        return self.meshes[me]

    def opener(self, me: str) -> Callable[..., PairwiseChannel]:
        """Channels of node ``me`` with its pinned peer."""

        def open_channel(peer: str, channel_id: bytes, *, initiate: bool) -> PairwiseChannel:
            certificate = identity_certificate(self.keys[peer], peer, NOW)
            pinned = PinnedPeer(peer, self.keys[peer].public, certificate)
            make = PairwiseChannel.client if initiate else PairwiseChannel.server
            return make(
                self.keys[me], me, pinned, cell_id="cell", channel_id=channel_id, utc=datetime.now(UTC), now=self.now
            )

        return open_channel

    def settle(self) -> None:
        """Deliver until nothing is under way."""
        while self.wire:
            sender, to, channel_id, data = self.wire.pop(0)
            self.meshes[to].receive(sender, channel_id, data)


@pytest.fixture
def net() -> Net:
    """Two nodes whose channel stands."""
    net = Net()
    net.join("b")
    net.join("a")
    net.settle()
    return net


def test_a_channel_stands_once_both_are_reachable(net: Net) -> None:
    """The lower index opens; both then see the other."""
    assert net.meshes["a"].standing() == ("b",)
    assert net.meshes["b"].standing() == ("a",)
    assert net.meshes["a"].send("b", b"hello")
    assert net.meshes["b"].send("a", b"world")
    net.settle()
    assert net.received == {"a": [b"world"], "b": [b"hello"]}


def test_nothing_is_sent_where_no_channel_stands() -> None:
    """A session hears that its peer cannot be reached, instead of waiting."""
    net = Net()
    assert not net.join("a").send("b", b"hello")
    assert not net.meshes["a"].send("nobody", b"hello")


def test_a_pretended_handshake_does_not_disturb_the_standing_channel(net: Net) -> None:
    """Only who has the peer's identity key can take over from a channel that stands."""
    for number in range(10):
        net.meshes["b"].receive("a", bytes([number]) * 16, b"\x16\x03\x01 not a hello")
    net.wire.clear()
    assert net.meshes["b"].standing() == ("a",)
    net.meshes["a"].send("b", b"still here")
    net.settle()
    assert net.received["b"] == [b"still here"]


@pytest.mark.parametrize("channel_id", [b"", bytes(15), bytes(17)])
def test_a_channel_id_has_one_length(net: Net, channel_id: bytes) -> None:
    """Bytes under another kind of name are for nobody."""
    net.meshes["b"].receive("a", channel_id, b"data")
    assert not net.wire


def test_a_corrupted_channel_is_made_anew(net: Net) -> None:
    """The end that notices says so, the end that opens tries again."""
    net.meshes["a"].send("b", b"lost")
    sender, to, channel_id, data = net.wire.pop()
    net.meshes[to].receive(sender, channel_id, data[:-1] + bytes([data[-1] ^ 1]))
    assert net.meshes["b"].standing() == ()
    net.settle()
    net.meshes["a"].tend()
    net.settle()
    assert net.meshes["a"].standing() == ("b",)
    net.meshes["b"].send("a", b"again")
    net.settle()
    assert net.received == {"a": [b"again"], "b": []}


def test_a_restarted_peer_is_heard_again(net: Net) -> None:
    """A peer that forgot its channels answers old records with an alert, which makes the other end begin anew."""
    net.join("b")
    net.meshes["a"].send("b", b"into the void")
    net.settle()
    net.meshes["a"].tend()
    net.settle()
    net.meshes["a"].send("b", b"now")
    net.settle()
    assert net.received["b"] == [b"now"]


def test_an_old_channel_is_replaced_and_still_heard_for_a_while(net: Net) -> None:
    """Frames that are under way in the old channel at renewal are not lost; afterwards it is gone."""
    net.meshes["b"].send("a", b"under way")
    under_way = list(net.wire)
    net.wire.clear()
    net.now = AGE_S_MAX + 1
    net.meshes["a"].tend()
    net.settle()
    net.wire.extend(under_way)
    net.settle()
    assert net.received["a"] == [b"under way"]
    net.now += RETIRED_S_MAX + 1
    net.meshes["a"].tend()
    net.meshes["a"].send("b", b"renewed")
    net.settle()
    assert net.received["b"] == [b"renewed"]


def test_a_handshake_that_hangs_is_given_up() -> None:
    """A peer that never answers is asked again, with one handshake at a time."""
    net = Net()
    net.join("a")
    assert len(net.wire) == 1
    net.meshes["a"].tend()
    assert len(net.wire) == 1
    net.now = HANDSHAKE_S_MAX + 1
    net.meshes["a"].tend()
    net.meshes["a"].tend()
    assert len(net.wire) == 2


def test_an_unreachable_peer_has_no_channel(net: Net) -> None:
    """What the relay cannot reach is not offered to sessions."""
    net.meshes["a"].reach([])
    assert net.meshes["a"].standing() == ()
    assert not net.meshes["a"].send("b", b"x")
