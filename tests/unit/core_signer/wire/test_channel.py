"""What a channel does when nobody interferes."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyquorum_core_signer.wire import channel as channel_module
from keyquorum_core_signer.wire.channel import AGE_S_MAX, FRAME_BYTES_MAX, ChannelError
from support.channels import Node, pair, shake_hands

ONE, TWO = Node("party-1", 1), Node("party-2", 2)


def test_both_ends_know_each_other():
    """After the handshake each end is established and names the other."""
    client, server = pair(ONE, TWO, channel_id=b"c" * 16)
    assert (client.peer, server.peer) == ("party-2", "party-1")
    assert client.channel_id == server.channel_id == b"c" * 16
    assert (
        repr(client) == f"PairwiseChannel(urn:keyquorum:channel:cell:party-1:party-2:{'63' * 16}:client, established)"
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40_000), max_size=6), st.randoms(use_true_random=False))
def test_frames_arrive_whole_and_in_order(frames, random):
    """However the bytes are cut on the way, the frames that come out are the frames that went in."""
    client, server = pair(ONE, TWO)
    for frame in frames:
        client.send(frame)
    data, received = client.drain(), []
    while data:
        cut = random.randint(1, len(data))
        received += server.receive(data[:cut])
        data = data[cut:]
    assert received == frames


def test_both_directions_carry_frames_at_once():
    """Each end may send without waiting for the other."""
    client, server = pair(ONE, TWO)
    client.send(b"to the server")
    server.send(b"to the client")
    assert client.receive(server.drain()) == [b"to the client"]
    assert server.receive(client.drain()) == [b"to the server"]


def test_largest_frame_fits_and_no_larger():
    """The cap is inclusive; a frame over it and an empty one are the caller's mistake and do not hurt the channel."""
    client, server = pair(ONE, TWO)
    for frame in (b"", bytes(FRAME_BYTES_MAX + 1)):
        with pytest.raises(ValueError, match="a frame has"):
            client.send(frame)
    client.send(bytes(FRAME_BYTES_MAX))
    assert server.receive(client.drain()) == [bytes(FRAME_BYTES_MAX)]


def test_client_is_established_only_when_the_server_says_so():
    """A client that has finished TLS does not know yet whether it was accepted, and cannot send."""
    client, server = ONE.client(TWO), TWO.server(ONE)
    with pytest.raises(ChannelError, match="not established"):
        client.send(b"early")
    server.receive(client.drain())
    assert not server.established
    assert client.receive(server.drain()) == []
    assert not client.established
    server.receive(client.drain())
    assert server.established
    client.receive(server.drain())
    assert client.established


def test_channel_expires_after_an_hour_of_the_given_clock():
    """Age is counted from the clock that the caller gave, and a clock that jumps back ends a channel too."""
    client, _ = pair(ONE, TWO, now=1000.0)
    assert not client.expired(1000.0 + AGE_S_MAX - 1)
    assert client.expired(1000.0 + AGE_S_MAX)
    assert client.expired(1000.0 - AGE_S_MAX)


def test_channel_expires_before_its_cipher_wears_out(monkeypatch):
    """Records count against a limit in both directions."""
    client, server = pair(ONE, TWO)
    monkeypatch.setattr(channel_module, "RECORDS_MAX", 10)
    for _ in range(12):
        client.send(b"x")
    assert client.expired(0)
    assert not server.expired(0)
    server.receive(client.drain())
    assert server.expired(0)


def test_closing_ends_both_ends():
    """A closed channel says so to the other end, and neither can be used again."""
    client, server = pair(ONE, TWO)
    client.close()
    with pytest.raises(ChannelError, match="closed by the peer"):
        server.receive(client.drain())
    for end in (client, server):
        assert not end.established
        with pytest.raises(ChannelError, match="dead"):
            end.send(b"x")
        with pytest.raises(ChannelError, match="dead"):
            end.receive(b"")
        end.close()


def test_handshake_in_single_bytes():
    """A handshake may arrive in any pieces."""
    client, server = ONE.client(TWO), TWO.server(ONE)
    for sender, receiver in ((client, server), (server, client), (client, server), (server, client)):
        for byte in sender.drain():
            receiver.receive(bytes([byte]))
    assert client.established
    assert server.established


def test_every_handshake_has_its_own_keys():
    """Neither a session ticket nor a key exchange is used twice: two channels share no byte of their hellos' key shares."""
    hellos = [ONE.client(TWO, channel_id=os.urandom(16)).drain() for _ in range(2)]
    assert hellos[0] != hellos[1]
    client, server = ONE.client(TWO), TWO.server(ONE)
    shake_hands(client, server)
    assert client._tls.session is None or not client._tls.session.has_ticket
    assert server._tls.context.num_tickets == 0
    assert client._tls.version() == "TLSv1.3"
    assert not client._tls.session_reused


def test_private_key_reaches_no_file(monkeypatch):
    """The leaf's key is handed to TLS through descriptors that are pipes, and they are closed afterwards."""
    opened = []
    original = channel_module._filled_pipe

    def recording(data):
        descriptor = original(data)
        opened.append((descriptor, str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        return descriptor

    monkeypatch.setattr(channel_module, "_filled_pipe", recording)
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    ONE.client(TWO)
    assert [target.startswith("pipe:") for _, target in opened] == [True, True]
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before
