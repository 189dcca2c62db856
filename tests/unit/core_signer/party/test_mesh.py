"""The channels of a link: who opens them, what replaces them, and what cannot disturb them."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keyquorum_core_signer.party.mesh import (
    HANDSHAKE_S_MAX,
    HANDSHAKES_BEGUN_MAX,
    RETIRED_MAX,
    RETIRED_S_MAX,
    ChannelMesh,
)
from keyquorum_core_signer.wire import channel
from keyquorum_core_signer.wire.certificates import ChannelBinding, Credentials, Role, identity_certificate
from keyquorum_core_signer.wire.channel import AGE_S_MAX, FRAMES_AT_ONCE_MAX, ChannelError, PairwiseChannel, PinnedPeer
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


def test_handshakes_are_rationed(net: Net) -> None:
    """Whoever carries the bytes cannot have us compute a handshake for each few of them; later, one is answered again."""
    made: list[bytes] = []
    plain = net.opener("b")

    def counted(peer: str, channel_id: bytes, *, initiate: bool) -> PairwiseChannel:
        made.append(channel_id)
        return plain(peer, channel_id, initiate=initiate)

    mesh = ChannelMesh(
        [("a", False)],
        counted,
        transmit=lambda *_: None,
        deliver=lambda *_: None,
        changed=lambda: None,
        clock=lambda: net.now,
    )
    mesh.reach(["a"])
    for number in range(1000):
        mesh.receive("a", number.to_bytes(16, "big"), b"no TLS record")
    assert len(made) == HANDSHAKES_BEGUN_MAX
    net.now += HANDSHAKE_S_MAX + 1
    mesh.receive("a", b"f" * 16, b"no TLS record")
    assert len(made) == HANDSHAKES_BEGUN_MAX + 1


def test_a_peer_that_renews_without_end_is_not_remembered_without_end(net: Net) -> None:
    """Replaced channels are kept for a while, and a few of them."""
    for _ in range(RETIRED_MAX * 2):
        net.now += HANDSHAKE_S_MAX
        net.meshes["a"]._begin("b", net.meshes["a"]._peers["b"], secrets.token_bytes(16))
        channel_id, handshake = next(iter(net.meshes["a"]._peers["b"].handshakes.items()))
        net.meshes["b"].receive("a", channel_id, handshake.channel.drain())
        net.settle()
    assert len(net.meshes["b"]._peers["a"].retired) == RETIRED_MAX
    net.meshes["a"].send("b", b"still here")
    net.settle()
    assert net.received["b"] == [b"still here"]


def repeating(leaf: x509.Certificate, issuer: Ed25519PrivateKey, *oids: x509.ObjectIdentifier) -> x509.Certificate:
    """The same leaf with the first extension under the second one's name too, signed anew."""
    first, second = (oid_bytes(oid) for oid in oids)
    statement = leaf.tbs_certificate_bytes.replace(first, second)
    whole = leaf.public_bytes(Encoding.DER).replace(leaf.tbs_certificate_bytes, statement)
    return x509.load_der_x509_certificate(whole[:-64] + issuer.sign(statement))


def oid_bytes(oid: x509.ObjectIdentifier) -> bytes:
    """Of the arcs 1.2.a.b, all below 128."""
    return bytes([42, *(int(arc) for arc in oid.dotted_string.split(".")[2:])])


def odd_leaf(identity: IdentityKey, binding: ChannelBinding, role: Role, utc: datetime) -> Credentials:
    """A channel leaf of the peer's own making: right in all that TLS looks at, with an extension that is there twice."""
    issuer, key = Ed25519PrivateKey.from_private_bytes(identity.expose_seed()), Ed25519PrivateKey.generate()
    one, two = x509.ObjectIdentifier("1.2.3.4"), x509.ObjectIdentifier("1.2.3.5")
    urn = x509.UniformResourceIdentifier(binding.urn(role))
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    leaf = (
        x509.CertificateBuilder(public_key=key.public_key(), serial_number=x509.random_serial_number())
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")]))
        .not_valid_before(utc - timedelta(minutes=1))
        .not_valid_after(utc + timedelta(minutes=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
        .add_extension(x509.SubjectAlternativeName([urn]), critical=True)
        .add_extension(authority, critical=False)
        .add_extension(x509.UnrecognizedExtension(one, b"\x05\x00"), critical=False)
        .add_extension(x509.UnrecognizedExtension(two, b"\x05\x00"), critical=False)
        .sign(issuer, None)
    )
    odd = repeating(leaf, issuer, one, two).public_bytes(Encoding.PEM).decode()
    return Credentials(odd, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_a_peers_odd_certificate_ends_its_handshake_and_nothing_else(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leaf that TLS takes and the parser does not is the peer's loss: no exception reaches the link."""
    monkeypatch.setattr(channel, "channel_leaf", odd_leaf)
    odd = net.opener("a")("b", bytes(16), initiate=True)
    monkeypatch.undo()
    for _ in range(3):
        net.meshes["b"].receive("a", bytes(16), odd.drain())
        answers = [data for sender, _, channel_id, data in net.wire if (sender, channel_id) == ("b", bytes(16))]
        net.wire.clear()
        with suppress(ChannelError):
            odd.receive(b"".join(answers))
    assert not odd.established
    net.meshes["b"].send("a", b"still here")
    net.settle()
    assert net.received["a"] == [b"still here"]


def test_a_flood_of_tiny_frames_costs_the_peer_its_channel(net: Net) -> None:
    """A message of a million frames would keep the host from everybody else for seconds."""
    flooding = net.meshes["a"]._peers["b"].standing
    assert flooding is not None
    channel_id, end = flooding
    for _ in range(FRAMES_AT_ONCE_MAX + 1):
        end.send(b"x")
    net.meshes["b"].receive("a", channel_id, end.drain())
    assert net.received["b"] == []
    assert net.meshes["b"].standing() == ()
