"""What a link carries, in which order, and what ends it."""

import asyncio
import secrets
from datetime import UTC, datetime

import pytest

from integration.coordinator.harness import running, settled, states
from integration.coordinator.scripted import free_ports
from keyquorum_core_signer.coordinator import limits, outbox
from keyquorum_core_signer.wire.certificates import transport_credentials
from keyquorum_protos.party.v1 import party_pb2


async def eventually(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_peers_are_announced_and_channels_stand(cell, coordinator):
    """Parties that learn of one another open their channels through the relay."""
    for node_id, party in cell.parties.items():
        assert party.link.reachable == set(cell.node_ids) - {node_id}
        assert party.link.standing == set(cell.node_ids) - {node_id}


async def test_a_lost_party_is_announced_at_once(cell, coordinator):
    """The others hear of a loss within a moment, and of the return."""
    await cell.parties["party-2"].kill()
    await eventually(lambda: cell.parties["party-1"].link.reachable == {"party-3"})
    await eventually(lambda: cell.parties["party-3"].link.reachable == {"party-1"})
    await cell.parties["party-2"].start()
    await settled(coordinator, *cell.node_ids)


async def test_relayed_bytes_arrive_whole_and_in_order(cell, coordinator):
    """A thousand frames of many sizes, both ways at once, with the sender that the coordinator authenticated."""
    sent = {}
    for source, target in (("party-1", "party-2"), ("party-2", "party-1"), ("party-3", "party-1")):
        sent[source, target] = [secrets.token_bytes(1 + (i * 97) % 5000) for i in range(1000)]
        for data in sent[source, target]:
            relay = party_pb2.Relay(node_id=target, channel_id=b"c" * 16, data=b"\xff" + data)
            cell.parties[source].link.send(relay=relay)

    def got(source, target):
        relays = cell.parties[target].received
        return [r.data[1:] for r in relays if r.node_id == source and r.data[:1] == b"\xff"]

    await eventually(lambda: all(len(got(*ends)) >= len(frames) for ends, frames in sent.items()))
    for (source, target), frames in sent.items():
        assert got(source, target) == frames
    assert {bytes(r.channel_id) for r in cell.parties["party-2"].received if r.data[:1] == b"\xff"} == {b"c" * 16}


@pytest.mark.parametrize("target", ["party-1", "party-9", "", "coordinator-1"])
async def test_bytes_for_nobody_are_dropped(cell, coordinator, target):
    """To oneself or to a stranger nothing is relayed, and the link stays."""
    link = cell.parties["party-1"].link
    link.send(relay=party_pb2.Relay(node_id=target, channel_id=bytes(16), data=b"\xffx"))
    link.send(relay=party_pb2.Relay(node_id="party-2", channel_id=bytes(16), data=b"\xfflast"))
    await eventually(lambda: any(r.data == b"\xfflast" for r in cell.parties["party-2"].received))
    assert not any(r.data == b"\xffx" for p in cell.parties.values() for r in p.received)
    assert coordinator.committee.members["party-1"].link.up


def oversized_message(link):
    link.send(relay=party_pb2.Relay(node_id="party-2", channel_id=bytes(16), data=bytes(limits.FRAME_BYTES_MAX)))


def oversized_relay(link):
    link.send(relay=party_pb2.Relay(node_id="party-2", channel_id=bytes(16), data=bytes(limits.RELAY_BYTES_MAX)))


def second_hello(link):
    link.send(hello=party_pb2.PartyHello(node_id=link.me))


def short_nonce(link):
    link.send(nonces=party_pb2.SessionNonces(nonces=[b"short"]))


def too_many_nonces(link):
    link.send(nonces=party_pb2.SessionNonces(nonces=[bytes(32)] * (limits.NONCES_PER_LINK_MAX + 1)))


def nested_batch(link):
    inner = party_pb2.LinkResponse(batch=party_pb2.LinkResponseBatch(frames=[party_pb2.LinkResponse()]))
    link.send(batch=party_pb2.LinkResponseBatch(frames=[inner]))


@pytest.mark.parametrize(
    "violation",
    [oversized_message, oversized_relay, second_hello, short_nonce, too_many_nonces, nested_batch],
)
async def test_a_party_that_breaks_the_contract_loses_its_link_alone(cell, coordinator, gateway, violation):
    """The link ends and is dialled again; nobody else notices, and the party may behave from then on."""
    await gateway.make_key()
    party = cell.parties["party-1"]
    others = {n: coordinator.committee.members[n].link.since_ms for n in ("party-2", "party-3")}
    links = party.links
    violation(party.link)
    await eventually(lambda: party.links > links)
    await settled(coordinator, *cell.node_ids)
    assert {n: coordinator.committee.members[n].link.since_ms for n in others} == others
    assert states(await gateway.sign(cell.intent(cell.sign("key_1"))))[-1] == "COMPLETE"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("node_id", "party-2", "the party has another node id"),
        ("cell_id", "cell-other", "the party is of another cell"),
        ("roster_hash", bytes(32), "the party has another roster"),
    ],
)
async def test_a_hello_that_does_not_fit_is_no_link(cell, field, value, reason):
    """Another node, another cell, another roster: the link is refused, and the reason is kept for the operator."""
    await cell.stop()
    await cell.start("party-2", "party-3")
    async with running(cell) as coordinator:
        await cell.start("party-1")
        cell.parties["party-1"].script.hello = lambda hello: setattr(hello, field, value)
        link = coordinator.committee.members["party-1"].link
        await eventually(lambda: link.reason == reason)
        assert not link.up
        cell.parties["party-1"].script.hello = None
        await eventually(lambda: link.up)


async def test_frames_of_a_later_version_are_passed_over(cell, coordinator):
    """A frame that nobody here knows changes nothing; what follows it is read."""
    party = cell.parties["party-1"]
    unknown = party_pb2.LinkResponse.FromString(bytes([0xFA, 0x01, 0x02, 0x08, 0x01]))  # field 31
    assert unknown.WhichOneof("frame") is None
    party.link.outgoing.put_nowait(unknown)
    party.link.send(relay=party_pb2.Relay(node_id="party-2", channel_id=bytes(16), data=b"\xffafter"))
    await eventually(lambda: any(r.data == b"\xffafter" for r in cell.parties["party-2"].received))
    assert party.links == 1


async def test_a_party_does_not_decide_how_large_our_answers_are(cell):
    """What it says of itself, and of its channels, is cut before it is shown."""
    cell.parties["party-1"].script.hello = lambda hello: (
        setattr(hello, "version", "v" * 100_000),
        hello.codecs.add(name="x" * 100_000),
        hello.prepared_key_ids.extend(f"key_{i}" for i in range(5000)),
    )
    async with running(cell) as coordinator:
        link = coordinator.committee.members["party-1"].link
        cell.parties["party-1"].link.send(channels=party_pb2.ChannelsChanged(node_ids=["party-2", "x" * 1000]))
        await eventually(lambda: link.channels == {"party-2"})
        assert len(link.introduction.version) == limits.VERSION_CHARS_MAX
        assert link.introduction.codecs == ()
        assert len(link.introduction.prepared_key_ids) == limits.PREPARED_KEYS_MAX


async def test_a_party_with_another_certificate_is_not_spoken_to(cell):
    """Whoever listens at a party's address without its pinned key gets no frame at all."""
    await cell.stop()
    await cell.start("party-2", "party-3")
    genuine = cell.transports["party-1"]
    async with running(cell) as coordinator:
        cell.transports["party-1"] = transport_credentials(["party-1"], datetime.now(UTC))
        await cell.start("party-1")
        await asyncio.sleep(1.0)
        assert cell.parties["party-1"].links == 0
        assert not coordinator.committee.members["party-1"].link.up
        await cell.parties["party-1"].kill()
        cell.transports["party-1"] = genuine
        await cell.start("party-1")
        await settled(coordinator, *cell.node_ids)


async def test_a_party_is_back_within_a_second_of_its_restart(cell, coordinator):
    """Back-off never grows beyond a second, however long a party was away."""
    await cell.parties["party-1"].kill()
    await asyncio.sleep(2.5)
    await cell.parties["party-1"].start()
    async with asyncio.timeout(1.5):
        await settled(coordinator, *cell.node_ids)


async def test_a_flood_costs_the_flooder_its_link(cell, coordinator, monkeypatch):
    """Where a queue is full although its party reads, whoever fills it goes; the queue never grows beyond its bound."""
    target = coordinator.committee.members["party-2"].link
    target._outbox = flooded = outbox.Outbox(target._terms.clock, frames_max=64)  # nobody empties this one
    monkeypatch.setattr(flooded, "stalled", lambda: False)
    party = cell.parties["party-1"]
    links = party.links
    for _ in range(200):
        party.link.send(relay=party_pb2.Relay(node_id="party-2", channel_id=bytes(16), data=b"\xff"))
    await eventually(lambda: party.links > links)
    assert len(flooded._waiting) <= 64
    assert coordinator.committee.members["party-3"].link.up


async def test_a_party_that_takes_nothing_loses_its_link(cell, coordinator, monkeypatch):
    """Where a queue is full because its party takes nothing, that party goes, and the sender stays."""
    target = coordinator.committee.members["party-2"].link
    target._outbox = stuck = outbox.Outbox(target._terms.clock, frames_max=64)
    monkeypatch.setattr(stuck, "stalled", lambda: True)
    sender, victim = cell.parties["party-1"], cell.parties["party-2"]
    links = victim.links
    for _ in range(65):
        sender.link.send(relay=party_pb2.Relay(node_id="party-2", channel_id=bytes(16), data=b"\xff"))
    await eventually(lambda: victim.links > links)
    assert sender.links == 1


async def test_an_absent_party_delays_nobody(cell):
    """A coordinator starts with whoever is there."""
    await cell.stop()
    await cell.start("party-1", "party-3")
    async with running(cell) as coordinator:
        assert not coordinator.committee.members["party-2"].link.up
        assert coordinator.committee.members["party-2"].link.reason


def test_free_ports_are_distinct():
    """The scripted cell does not give two parties one address."""
    ports = free_ports(16)
    assert len(set(ports)) == 16
