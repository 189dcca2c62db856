"""Signatures through a coordinator, with parties that do their part and parties that do not."""

import asyncio
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from integration.coordinator.harness import gateway_of, running, settled, states
from keyquorum_core_signer.coordinator import ceremony
from keyquorum_core_signer.intents.intent import operation_id
from keyquorum_protos.signer.v1 import signer_pb2

HAPPY = ["KEY_SHARE", "PREPARE_SIGN", "SIGN_ROUND1", "SIGN_ROUND2", "SIGN_ROUND2", "VERIFY", "COMPLETE"]


@pytest.fixture(autouse=True)
async def key(gateway):
    """A key of all three parties, two of which sign; most tests have no other use for creation."""
    await gateway.make_key()


def verify(cell, message, signature, key_id="key_1"):
    key = cell.keys[key_id].public_key().public_bytes_raw()
    Ed25519PublicKey.from_public_bytes(key).verify(signature, message)


async def test_a_quorum_signs(cell, gateway):
    """Two of three parties sign, every state is told in order, and the signatures verify."""
    data = cell.intent(cell.sign("key_1", b"one", b"two"))
    events = await gateway.sign(data)
    assert states(events) == HAPPY
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert {event.operation_id for event in events} == {operation_id(data)}
    assert [event.round for event in events] == [0, 0, 0, 1, 2, 0, 0]
    for message, signature in zip((b"one", b"two"), events[-1].signatures, strict=True):
        verify(cell, message, signature)
    assert events[-1].duration_ms > 0


async def test_parties_get_the_intent_as_it_was_sent(cell, gateway):
    """The quorum sees the same bytes, authorization, participants in index order, and a deadline."""
    data = cell.intent(cell.sign("key_1"))
    await gateway.sign(data)
    starts = [party.started[-1] for party in cell.parties.values() if party.started[-1].intent == data]
    assert len(starts) == 2
    for start in starts:
        assert start.authorization == cell.authorize(data)
        assert [p.node_id for p in start.participants] == sorted(p.node_id for p in start.participants)
        assert 0 < start.deadline_ms <= 1000
    assert starts[0] == starts[1]


async def test_a_derived_key_signs_when_the_parties_agree(cell, gateway):
    """Below a path the coordinator cannot verify, but it sees whether all report the same."""
    events = await gateway.sign(cell.intent(cell.sign("key_1", b"x", path=(0, 7))))
    assert states(events)[-1] == "COMPLETE"


async def test_quorums_rotate_evenly(cell, gateway):
    """Each party's part of a spending window is its own, so over time each signs equally often."""
    for _ in range(9):
        await gateway.sign(cell.intent(cell.sign("key_1")))
    assert [len(party.started) - 1 for party in cell.parties.values()] == [6, 6, 6]


async def test_operations_run_concurrently(cell, gateway):
    """More operations at once than parties offer nonces all complete."""
    orders = [cell.intent(cell.sign("key_1", bytes([i]))) for i in range(40)]
    outcomes = await asyncio.gather(*(gateway.sign(data) for data in orders))
    assert {states(events)[-1] for events in outcomes} == {"COMPLETE"}
    for i, events in enumerate(outcomes):
        verify(cell, bytes([i]), events[-1].signatures[0])


@pytest.mark.parametrize("after", [0, 1])
async def test_a_party_killed_in_mid_session_is_replaced(cell, gateway, after):
    """The loss is seen at once, and another quorum signs the same intent."""
    victim = cell.parties["party-1"]
    victim.script.die_after = after
    data = cell.intent(cell.sign("key_1"))
    began = time.monotonic()
    events = await gateway.sign(data)
    assert time.monotonic() - began < 0.9, "noticed by the link, not by a time-out"
    assert states(events)[-5:] == HAPPY[2:]
    assert [state for state in states(events) if state in ("TIMEOUT", "RECOVERY")] == ["TIMEOUT", "RECOVERY"]
    lost = events[states(events).index("TIMEOUT")]
    assert "party-1" in lost.detail
    verify(cell, b"hello", events[-1].signatures[0])
    assert {start.intent for p in ("party-2", "party-3") for start in cell.parties[p].started[1:]} == {data}
    assert any(cell.parties[p].aborted for p in ("party-2", "party-3")), "who was left behind was told"


async def test_a_silent_party_costs_one_attempt(cell, gateway):
    """A party that never answers is given up at the attempt's deadline, and avoided afterwards."""
    cell.parties["party-1"].script.silent = True
    events = await gateway.sign(cell.intent(cell.sign("key_1")))
    assert states(events)[-1] == "COMPLETE"
    assert states(events).count("TIMEOUT") == 1
    assert "party-1" in events[states(events).index("TIMEOUT")].detail
    before = len(cell.parties["party-1"].started)
    for _ in range(4):
        assert states(await gateway.sign(cell.intent(cell.sign("key_1")))) == HAPPY
    assert len(cell.parties["party-1"].started) == before


@pytest.mark.parametrize("after", [0, 1])
async def test_a_party_that_stops_answering_is_replaced(cell, gateway, after):
    """Wherever it stops, the operation ends with the other two."""
    cell.parties["party-1"].script.stop_after = after
    events = await gateway.sign(cell.intent(cell.sign("key_1")))
    assert states(events)[-1] == "COMPLETE"
    assert states(events).count("TIMEOUT") <= 2


async def test_a_slow_party_is_waited_for(cell, gateway):
    """Slow is not failed: within the deadline nothing is replaced."""
    for party in cell.parties.values():
        party.script.think_s = 0.2
    assert states(await gateway.sign(cell.intent(cell.sign("key_1")))) == HAPPY


async def test_a_party_without_progress_reports_still_signs(cell, gateway):
    """Results imply the rounds before them."""
    for party in cell.parties.values():
        party.script.progress = False
    assert states(await gateway.sign(cell.intent(cell.sign("key_1")))) == [
        "KEY_SHARE",
        "PREPARE_SIGN",
        "VERIFY",
        "COMPLETE",
    ]


def other_signature(made):
    return tuple(bytes([signature[0] ^ 1]) + signature[1:] for signature in made)


@pytest.mark.parametrize(
    "lie",
    [
        other_signature,
        lambda made: (),
        lambda made: made * 2,
        lambda made: (b"",) * len(made),
        lambda m: (b"x" * 4096,),
    ],
    ids=["another", "none", "too many", "empty", "huge"],
)
async def test_a_party_that_reports_another_signature_is_named(cell, gateway, coordinator, lie):
    """The signature that verifies is returned, and the liar is named and left alone."""
    cell.parties["party-1"].script.signatures = lie
    events = await gateway.sign(cell.intent(cell.sign("key_1")))
    assert states(events) == HAPPY
    verify(cell, b"hello", events[-1].signatures[0])
    assert events[-1].detail == "party-1 reported another signature"
    before = len(cell.parties["party-1"].started)
    for _ in range(4):
        await gateway.sign(cell.intent(cell.sign("key_1")))
    assert len(cell.parties["party-1"].started) == before


async def test_two_that_disagree_below_a_path_are_both_replaced_by_a_quorum_that_agrees(cell, gateway):
    """Where the coordinator cannot tell who lies, it asks other quorums until one agrees."""
    cell.parties["party-1"].script.signatures = other_signature
    events = await gateway.sign(cell.intent(cell.sign("key_1", b"x", path=(1,))))
    assert states(events)[-1] == "COMPLETE"
    assert "RECOVERY" in states(events)
    last = max(i for i, state in enumerate(states(events)) if state == "SIGN_ROUND1")
    assert events[last].detail == "quorum: party-2, party-3"


async def test_signatures_that_nobody_can_verify_complete_nothing(cell, gateway):
    """Where all lie, the operation fails, names all, and the same intent may be sent again."""
    for party in cell.parties.values():
        party.script.signatures = other_signature
    events = await gateway.sign(cell.intent(cell.sign("key_1")))
    error = events[-1].error
    assert states(events)[-1] == "FAILED"
    assert not events[-1].signatures
    assert (error.code, error.retriable) == ("protocol-abort", True)
    assert len(error.culprits) == 2
    assert [len(party.started) for party in cell.parties.values()] == [1 + 2] * 3, "each quorum once"


async def test_a_refused_intent_fails_at_once_with_what_the_party_said(cell, gateway):
    """A policy's denial is nobody's failure: no other quorum is tried, and the client hears why."""
    denial = signer_pb2.OperationError(code="policy-denied", detail="over the limit of 5", retriable=False)
    for party in cell.parties.values():
        party.script.error = denial
    events = await gateway.sign(cell.intent(cell.sign("key_1")))
    assert states(events) == ["KEY_SHARE", "PREPARE_SIGN", "FAILED"]
    assert events[-1].error.code == "policy-denied"
    assert events[-1].error.detail.endswith("over the limit of 5")
    assert events[-1].error.stage == signer_pb2.OPERATION_STATE_PREPARE_SIGN
    assert not events[-1].error.retriable


@pytest.mark.parametrize(
    ("code", "culprits"),
    [("protocol-abort", ["party-2"]), ("overloaded", []), ("internal", []), ("NOT A CODE", ["who?"])],
)
async def test_a_party_that_fails_is_replaced(cell, gateway, code, culprits):
    """What only says something about a party or a quorum leads to another quorum."""
    cell.parties["party-1"].script.error = signer_pb2.OperationError(
        code=code, detail="x\x00\ny" * 1000, culprits=culprits, retriable=False
    )
    events = await gateway.sign(cell.intent(cell.sign("key_1")))
    assert states(events)[-1] == "COMPLETE"
    assert states(events).count("RECOVERY") <= 2
    for event in events:
        assert event.detail.isprintable()
        assert len(event.detail) < 600


async def test_two_parties_down_end_in_quorum_unavailable(cell, gateway, coordinator, monkeypatch):
    """With one of two parties left the operation waits for recovery, then fails clearly; and works when one is back."""
    monkeypatch.setattr(ceremony, "QUORUM_WAIT_S", 0.5)
    await cell.parties["party-2"].kill()
    await cell.parties["party-3"].kill()
    data = cell.intent(cell.sign("key_1"))
    began = time.monotonic()
    events = await gateway.sign(data)
    assert 0.4 < time.monotonic() - began < 2
    error = events[-1].error
    assert (states(events)[-1], error.code, error.retriable) == ("FAILED", "quorum-unavailable", True)
    assert "party-2: no link" in error.detail
    assert "party-3: no link" in error.detail
    await cell.parties["party-2"].start()
    await settled(coordinator, "party-1", "party-2")
    again = await gateway.sign(data)
    assert states(again)[0] == "KEY_SHARE"
    assert states(again)[-1] == "COMPLETE"
    assert again[0].sequence == events[-1].sequence + 1


async def test_an_operation_waits_for_a_party_to_come_back(cell, gateway):
    """Within the wait for a quorum a restarted party is enough."""
    await cell.parties["party-2"].kill()
    await cell.parties["party-3"].kill()
    order = asyncio.create_task(gateway.sign(cell.intent(cell.sign("key_1"))))
    await asyncio.sleep(0.3)
    await cell.parties["party-3"].start()
    events = await order
    assert states(events)[-1] == "COMPLETE"


async def test_the_callers_deadline_is_kept(cell, gateway):
    """An operation ends before its caller stops listening."""
    for party in cell.parties.values():
        party.script.silent = True
    began = time.monotonic()
    events = await gateway.sign(cell.intent(cell.sign("key_1")), within_s=0.6)
    assert time.monotonic() - began < 0.6
    assert states(events)[-1] == "FAILED"
    assert events[-1].error.code == "deadline-exceeded"
    assert events[-1].error.retriable


async def test_concurrent_duplicates_share_one_run(cell, gateway):
    """Twenty streams of the same intent see the same events of one operation."""
    for party in cell.parties.values():
        party.script.think_s = 0.05
    data = cell.intent(cell.sign("key_1"))
    outcomes = await asyncio.gather(*(gateway.sign(data) for _ in range(20)))
    assert all(events == outcomes[0] for events in outcomes)
    assert sum(start.intent == data for party in cell.parties.values() for start in party.started) == 2


async def test_a_completed_intent_is_replayed(cell, gateway):
    """The same intent again returns the same signatures; nothing is signed again."""
    data = cell.intent(cell.sign("key_1"))
    first = await gateway.sign(data)
    started = sum(len(party.started) for party in cell.parties.values())
    assert await gateway.sign(data) == first
    assert sum(len(party.started) for party in cell.parties.values()) == started


async def test_a_follower_that_leaves_stops_nothing(cell, gateway):
    """When the stream breaks the operation goes on, and the next stream tells all of it."""
    for party in cell.parties.values():
        party.script.think_s = 0.1
    data = cell.intent(cell.sign("key_1"))
    request = signer_pb2.SignRequest(intent=data, authorization=cell.authorize(data))
    call = gateway.signer.Sign(request)
    await call.read()
    call.cancel()
    assert states(await gateway.sign(data)) == HAPPY
    assert sum(start.intent == data for party in cell.parties.values() for start in party.started) == 2


async def test_a_breaker_leaves_a_failing_party_alone(cell, gateway, coordinator):
    """After three failures it is not even a fallback, until its time-out has passed; then one probe brings it back."""
    victim = cell.parties["party-1"]
    victim.script.error = signer_pb2.OperationError(code="internal", retriable=True)
    member = coordinator.committee.members["party-1"]
    for _ in range(3):
        member.failed_at = float("-inf")  # as if the failure were long ago, so that it is the first choice again
        member.last_used = 0
        assert states(await gateway.sign(cell.intent(cell.sign("key_1"))))[-1] == "COMPLETE"
    assert member.breaker.state.name == "OPEN"
    before = len(victim.started)
    member.failed_at = float("-inf")
    await gateway.sign(cell.intent(cell.sign("key_1")))
    assert len(victim.started) == before
    victim.script.error = None
    await asyncio.sleep(member.breaker.retry_in() + 0.01)
    member.failed_at, member.last_used = float("-inf"), 0
    await gateway.sign(cell.intent(cell.sign("key_1")))
    assert len(victim.started) == before + 1
    assert member.breaker.state.name == "CLOSED"


async def test_a_restart_fails_what_was_unfinished_and_takes_it_again(tmp_path, cell, gateway, coordinator):
    """A coordinator that stops in mid-operation tells its followers; the next one knows, and runs the intent again."""
    for party in cell.parties.values():
        party.script.stop_after = 1
    data = cell.intent(cell.sign("key_1"))
    order = asyncio.create_task(gateway.sign(data))
    while not any(start.intent == data for party in cell.parties.values() for start in party.started):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # its first rows are written
    # As after a power cut: a copy of the files as they are now, without the coordinator's last words.
    crashed = tmp_path / "crashed.sqlite3"
    for suffix in ("", "-wal"):
        source = tmp_path / f"operations.sqlite3{suffix}"
        crashed.with_name(crashed.name + suffix).write_bytes(source.read_bytes())
    await coordinator.stop()
    assert states(await order)[-1] == "FAILED"
    for party in cell.parties.values():
        party.script.stop_after = None
    async with running(cell, operations={"path": crashed}) as second, gateway_of(cell, second) as client:
        request = signer_pb2.GetOperationRequest(operation_id=operation_id(data))
        found = await client.signer.GetOperation(request)
        assert states(found.events)[-1] == "FAILED"
        assert found.events[-1].error.retriable
        again = await client.sign(data)
        assert states(again) == HAPPY
        assert again[0].sequence == found.events[-1].sequence + 1


async def test_stopping_lets_operations_end(cell, gateway, coordinator):
    """A coordinator that is told to stop takes nothing new and finishes what it has."""
    for party in cell.parties.values():
        party.script.think_s = 0.1
    order = asyncio.create_task(gateway.sign(cell.intent(cell.sign("key_1"))))
    await asyncio.sleep(0.1)
    await coordinator.stop()
    assert states(await order) == HAPPY


async def test_a_link_that_comes_back_is_used_again(cell, gateway, coordinator):
    """After a restart of each party in turn all three take part again."""
    for node_id in cell.node_ids:
        await cell.parties[node_id].kill()
        await settled(coordinator, *(other for other in cell.node_ids if other != node_id))
        assert states(await gateway.sign(cell.intent(cell.sign("key_1")))) == HAPPY
        await cell.parties[node_id].start()
        await settled(coordinator, *cell.node_ids)
    before = [len(party.started) for party in cell.parties.values()]
    for _ in range(6):
        await gateway.sign(cell.intent(cell.sign("key_1")))
    assert all(len(party.started) > n for party, n in zip(cell.parties.values(), before, strict=True))
