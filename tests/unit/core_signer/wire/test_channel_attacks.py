"""What whoever carries a channel's bytes, or pretends to be an end of it, can do: end it."""

import ssl
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyquorum_core_signer.wire import channel as channel_module
from keyquorum_core_signer.wire.certificates import CertificateError, Credentials, identity_certificate
from keyquorum_core_signer.wire.channel import FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX, ChannelError, PairwiseChannel
from support.channels import Node, pair

ONE, TWO, THREE = (Node(f"party-{i}", i) for i in (1, 2, 3))


def try_to_connect(client: PairwiseChannel, server: PairwiseChannel) -> list[str]:
    """Carry bytes both ways until both have stopped; gives the reasons. Nothing may be delivered."""
    errors = []
    for _ in range(4):
        for sender, receiver in ((client, server), (server, client)):
            data = sender.drain()
            if data:
                try:
                    assert receiver.receive(data) == []
                except ChannelError as error:
                    errors.append(str(error))
    return errors


def refused(client: PairwiseChannel, server: PairwiseChannel) -> str:
    """The handshake ends with neither end established; gives the first reason."""
    errors = try_to_connect(client, server)
    assert not client.established
    assert not server.established
    assert errors
    return errors[0]


def records(data: bytes) -> list[bytes]:
    """Cut TLS bytes into records."""
    found = []
    while data:
        length = 5 + int.from_bytes(data[3:5], "big")
        found.append(data[:length])
        data = data[length:]
    return found


def dead(channel: PairwiseChannel, data: bytes) -> str:
    """The bytes kill the channel for good; gives the reason."""
    with pytest.raises(ChannelError) as caught:
        channel.receive(data)
    assert not channel.established
    with pytest.raises(ChannelError, match="dead"):
        channel.receive(b"")
    return str(caught.value)


def test_reordered_records_kill_the_channel():
    """Two records in the wrong order do not decrypt."""
    client, server = pair(ONE, TWO)
    client.send(b"first")
    client.send(b"second")
    first, second = records(client.drain())
    assert "BAD_RECORD_MAC" in dead(server, second + first)


def test_replayed_record_kills_the_channel():
    """A record that was delivered is not delivered again."""
    client, server = pair(ONE, TWO)
    client.send(b"once")
    data = client.drain()
    assert server.receive(data) == [b"once"]
    assert "BAD_RECORD_MAC" in dead(server, data)


def test_reflected_record_kills_the_channel():
    """An end does not accept its own records back."""
    client, _ = pair(ONE, TWO)
    client.send(b"mine")
    assert "BAD_RECORD_MAC" in dead(client, client.drain())


def test_left_out_record_kills_the_channel():
    """What follows a missing record does not decrypt."""
    client, server = pair(ONE, TWO)
    client.send(b"lost")
    client.drain()
    client.send(b"next")
    assert "BAD_RECORD_MAC" in dead(server, client.drain())


def test_truncated_record_delivers_nothing():
    """Half a record is nothing; whatever is put in place of the other half kills the channel."""
    client, server = pair(ONE, TWO)
    client.send(b"x" * 100)
    data = client.drain()
    assert server.receive(data[:50]) == []
    dead(server, bytes(len(data) - 50))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), st.integers(0, 7))
def test_no_altered_bit_is_delivered(at, bit):
    """Whatever bit is flipped in a record, what comes out is an error or, for now, nothing."""
    client, server = pair(ONE, TWO)
    client.send(b"the truth")
    sent = bytearray(client.drain())
    sent[at % len(sent)] ^= 1 << bit
    try:
        assert server.receive(bytes(sent)) == []
    except ChannelError:
        assert not server.established


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.booleans())
def test_garbage_never_crashes_an_end(garbage, established):
    """Any bytes give an error or nothing, before and after the handshake."""
    server = pair(ONE, TWO)[1] if established else TWO.server(ONE)
    try:
        assert server.receive(garbage) == []
    except ChannelError as error:
        assert str(error)  # noqa: PT017 - garbage need not be an error yet


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 3), st.integers(0, 2**16), st.integers(0, 7))
def test_altered_handshake_ends_or_changes_nothing(flight, at, bit):
    """A bit flipped in the handshake ends it, or was one that TLS ignores: then the two ends still understand each other."""
    client, server = ONE.client(TWO), TWO.server(ONE)
    ends = [(client, server), (server, client)]
    for number in range(4):
        sender, receiver = ends[number % 2]
        sent = bytearray(sender.drain())
        if number == flight:
            sent[at % len(sent)] ^= 1 << bit
        try:
            assert receiver.receive(bytes(sent)) == []
        except ChannelError:
            assert not receiver.established
            return
    if client.established:
        client.send(b"understood")
        assert server.receive(client.drain()) == [b"understood"]


def test_stranger_with_the_right_name_is_refused():
    """A self-made certificate for the expected node's name is nothing: its key is not the pinned one."""
    impostor = Node("party-1", 66)
    assert "CERTIFICATE_VERIFY_FAILED" in refused(impostor.client(TWO), TWO.server(ONE))
    assert "CERTIFICATE_VERIFY_FAILED" in refused(ONE.client(TWO), Node("party-2", 66).server(ONE))


def test_other_node_of_the_cell_is_refused():
    """Party 3 is as well pinned as party 1, and still is not party 1, even where it takes party 1's name."""
    assert refused(THREE.client(TWO), TWO.server(ONE))
    assert refused(ONE.client(TWO), THREE.server(ONE))
    thief = Node("party-1", 3)
    assert thief.identity.public == THREE.identity.public
    assert "CERTIFICATE_VERIFY_FAILED" in refused(thief.client(TWO), TWO.server(ONE))
    assert "CERTIFICATE_VERIFY_FAILED" in refused(TWO.client(ONE), thief.server(TWO))


def test_end_without_a_certificate_is_refused(monkeypatch):
    """Authentication is mutual: a client that shows nothing gets nothing."""
    monkeypatch.setattr(channel_module, "_load_leaf", lambda context, leaf: None)
    nameless = ONE.client(TWO)
    monkeypatch.undo()
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in refused(nameless, TWO.server(ONE))


@pytest.mark.parametrize("changes", [{"channel_id": b"x" * 16}, {"cell_id": "other-cell"}], ids=["channel id", "cell"])
def test_spliced_handshake_is_refused(changes):
    """A handshake between the right nodes that is carried into another channel id or cell is refused by both ends."""
    assert "another channel" in refused(ONE.client(TWO, **changes), TWO.server(ONE))
    assert "another channel" in refused(ONE.client(TWO), TWO.server(ONE, **changes))


def test_channel_is_not_bent_back():
    """A relay that connects a node's client end with the same node's own server end, or two clients, gets nowhere."""
    assert refused(ONE.client(TWO), ONE.server(TWO))
    client, other = ONE.client(TWO), TWO.client(ONE)
    with pytest.raises(ChannelError):
        other.receive(client.drain())


def test_records_of_a_parallel_channel_are_refused():
    """Two channels between the same nodes share no keys: a record of one kills the other."""
    client, _ = pair(ONE, TWO)
    _, server = pair(ONE, TWO)
    client.send(b"elsewhere")
    assert "BAD_RECORD_MAC" in dead(server, client.drain())


@pytest.mark.parametrize("role", ["client", "server"])
def test_leaf_of_the_other_role_is_refused(monkeypatch, role):
    """A node that presents the leaf of the opposite role, as a thief of one would, is refused."""
    original = channel_module.channel_leaf

    def swapped(identity, binding, own_role, utc):
        return original(identity, binding, "server" if own_role == "client" else "client", utc)

    monkeypatch.setattr(channel_module, "channel_leaf", swapped)
    wrong = ONE.client(TWO) if role == "client" else TWO.server(ONE)
    monkeypatch.undo()
    ends = (wrong, TWO.server(ONE)) if role == "client" else (ONE.client(TWO), wrong)
    assert refused(*ends)


@pytest.mark.parametrize("offset", [timedelta(hours=1), -timedelta(hours=1)], ids=["future", "past"])
def test_leaf_outside_its_minutes_is_refused(offset):
    """A leaf that was made for another time, and may have been stolen meanwhile, is refused."""
    assert "CERTIFICATE_VERIFY_FAILED" in refused(ONE.client(TWO, utc=datetime.now(UTC) + offset), TWO.server(ONE))


def test_leaf_cannot_certify_another_leaf(monkeypatch):
    """The key of a leaf makes no further leaves."""
    stolen: list[Credentials] = []
    original = channel_module.channel_leaf

    def chained(identity, binding, role, utc):
        leaf = original(identity, binding, role, utc)
        stolen.append(leaf)
        key = Node("party-1", 9).identity
        forged = original(key, binding, role, utc)
        return Credentials(forged.certificate + leaf.certificate, forged.private_key)

    monkeypatch.setattr(channel_module, "channel_leaf", chained)
    client = ONE.client(TWO)
    monkeypatch.undo()
    assert stolen
    assert "CERTIFICATE_VERIFY_FAILED" in refused(client, TWO.server(ONE))


@pytest.mark.parametrize("role", ["client", "server"])
def test_older_tls_is_refused(monkeypatch, role):
    """An end that speaks no TLS 1.3 is not talked to: only 1.3 always has forward secrecy."""
    original = channel_module._tls_context

    def old(*arguments):
        context = original(*arguments)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    monkeypatch.setattr(channel_module, "_tls_context", old)
    downgraded = ONE.client(TWO) if role == "client" else TWO.server(ONE)
    monkeypatch.undo()
    ends = (downgraded, TWO.server(ONE)) if role == "client" else (ONE.client(TWO), downgraded)
    assert "PROTOCOL" in refused(*ends)


def test_endless_handshake_is_cut_off():
    """Before a peer is known, it can make an end hold a few kilobytes and no more."""
    server = TWO.server(ONE)
    record = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff"
    assert server.receive(record) == []
    assert server.receive(bytes(HANDSHAKE_BYTES_MAX - len(record))) == []
    assert "longer than a handshake" in dead(server, b"\x00")


def test_oversized_frame_kills_the_channel_at_its_header():
    """An authenticated peer that announces a frame over the cap is cut off before it is held in memory."""
    client, server = pair(ONE, TWO)
    client._tls.write((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    assert "longer than a frame" in dead(server, client.drain())


def test_empty_frames_have_one_place():
    """An empty frame after the first is refused, at both ends."""
    client, server = pair(ONE, TWO)
    client._tls.write(bytes(4))
    assert "empty frame" in dead(server, client.drain())
    client, server = pair(ONE, TWO)
    server._tls.write(bytes(4))
    assert "empty frame" in dead(client, server.drain())


def test_frame_before_the_server_has_spoken_is_refused(monkeypatch):
    """A client takes nothing from a server that has not said that it authenticated the client."""
    client, server = ONE.client(TWO), TWO.server(ONE)
    monkeypatch.setattr(server, "_write", lambda data: None)
    try_to_connect(client, server)
    monkeypatch.undo()
    assert server.established
    assert not client.established
    server.send(b"too soon")
    assert "empty frame" in dead(client, server.drain())


def test_inconsistent_pin_is_refused_before_anything_is_said():
    """A certificate beside another identity key, or under another name, never becomes a channel."""
    with pytest.raises(CertificateError, match="pinned identity key"):
        ONE.client(_with_pin(TWO, identity_key=THREE.identity.public))
    with pytest.raises(CertificateError, match="another node"):
        ONE.client(_with_pin(TWO, node_id="party-3"))
    of_three = identity_certificate(THREE.identity, "party-2", datetime.now(UTC))
    with pytest.raises(CertificateError, match="pinned identity key"):
        ONE.client(_with_pin(TWO, identity_certificate=of_three))


def _with_pin(node: Node, **changes) -> Node:
    changed = Node(node.node_id, 2)
    changed.pinned = replace(node.pinned, **changes)
    return changed


def test_channels_ignore_a_key_log_in_the_environment(tmp_path):
    """SSLKEYLOGFILE, which makes many TLS programs write their traffic keys to a file, does nothing here."""
    log = tmp_path / "keys"
    program = "from support.channels import Node, pair; pair(Node('a', 1), Node('b', 2))"
    environment = {"SSLKEYLOGFILE": str(log), "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=60)
    assert not log.exists()


def test_errors_hold_nothing_of_the_traffic():
    """The text of an error names the rule, not the bytes."""
    client, server = pair(ONE, TWO)
    client.send(b"SECRET" * 10)
    data = bytearray(client.drain())
    data[20] ^= 1
    with pytest.raises(ChannelError) as caught:
        server.receive(bytes(data))
    assert "SECRET" not in repr(caught.value)
    assert caught.value.__cause__ is None
