"""The operation engine's rules, with programs of the test's own on a real database."""

import asyncio
import time

import pytest
from opentelemetry.trace import NoOpTracer

from keyquorum_gateway.identity import InitiatorKey
from keyquorum_gateway.intents import Authorization, authorize, ceremony_id
from keyquorum_gateway.operations.engine import OperationEngine, Outcome
from keyquorum_gateway.operations.record import Ceremony, OperationKind, OperationState
from keyquorum_gateway.problems import OperationFailed, Problem
from keyquorum_gateway.state.database import Database
from keyquorum_gateway.state.idempotency import Claim, Idempotency, Replay
from keyquorum_gateway.telemetry import Metrics
from keyquorum_plugin_api.errors import InsufficientFunds
from keyquorum_protos.signer.v1 import intent_pb2

KEY = InitiatorKey.from_seed(bytes(32))


class Scripted:
    """A program that does what the test says, and notes what it was asked."""

    def __init__(self):
        self.run_with = None
        self.abandoned = []

    async def run(self, live):
        """The test's function."""
        return await self.run_with(live)

    def belongings(self, live):
        """Nothing else."""
        return ()

    async def abandon(self, live, failure):
        """Note the code."""
        self.abandoned.append(failure.code)


@pytest.fixture
async def database(tmp_path):
    """Empty."""
    made = Database(tmp_path / "x.db")
    yield made
    await made.close()


@pytest.fixture
def program():
    """What operations do."""
    return Scripted()


@pytest.fixture
async def engine(database, program):
    """With the one program."""
    made = OperationEngine(database, Metrics(), NoOpTracer())
    made.register({OperationKind.SIGNATURE: program})
    return made


def begin(engine, claim=None, **subject):
    """A running operation."""
    live = engine.open(OperationKind.SIGNATURE, "default", claim, **subject)
    engine.launch(live)
    return live


def stored(database, live):
    """State in the database, or None."""
    row = database.read_one("SELECT state FROM operations WHERE id = ?", (live.operation.id,))
    return row and row[0]


async def written(database):
    """Wait until all that is queued is written."""
    await database.write(lambda connection: None)


async def test_one_that_fails_before_anything_left_leaves_no_trace(engine, database, program):
    """Not in memory, not in the database, and its key is free."""

    async def fail(live):
        raise InsufficientFunds("poor")

    program.run_with = fail
    live = begin(engine, Claim("default", "k", b"f"))
    assert await engine.settle(live, 1)
    await written(database)
    assert (live.operation.state, live.operation.error.code) == (OperationState.FAILED, "insufficient-funds")
    assert stored(database, live) is None
    assert engine.find(live.operation.id, "default") is None
    assert program.abandoned == ["insufficient-funds"]


async def test_one_that_fails_while_its_id_is_being_stored_ends_in_the_database_too(engine, database, program):
    """The client was told the id with 202 in the same moment: the operation must not stay "running" for ever."""
    go = asyncio.Event()

    async def fail(live):
        await go.wait()
        raise InsufficientFunds("poor")

    program.run_with = fail
    live = begin(engine)
    assert not await engine.settle(live, 0)
    storing = asyncio.create_task(engine.make_durable(live))
    await asyncio.sleep(0)
    go.set()
    await storing
    assert await engine.settle(live, 1)
    await written(database)
    assert stored(database, live) == "failed"
    assert [event.stage for event in engine.find(live.operation.id, "default").events] == ["accepted", "failed"]


async def test_an_unexpected_exception_is_an_end_as_well(engine, database, program):
    """Code internal, no words of it."""

    async def crash(live):
        await engine.persist(live)
        raise ZeroDivisionError("secret")

    program.run_with = crash
    live = begin(engine)
    assert await engine.settle(live, 1)
    assert live.operation.error.code == "internal"
    assert "secret" not in live.operation.error.detail
    await written(database)
    assert stored(database, live) == "failed"


async def test_the_key_is_durable_with_the_operation(engine, database, program):
    """After a crash the key leads to the operation, and not to a second one."""

    async def persist(live):
        await engine.persist(live)
        await asyncio.Event().wait()

    program.run_with = persist
    live = begin(engine, Idempotency(database).claim("default", "k", b"f"))
    while not live.durable:
        await asyncio.sleep(0.01)
    replay = Idempotency(database).claim("default", "k", b"f")
    assert isinstance(replay, Replay)
    assert (replay.answer, replay.operation_id) == (None, live.operation.id)
    await engine.close(0)


def ceremony(valid_s=60):
    """An intent that waits for KEY."""
    until_ms = int((time.time() + valid_s) * 1000)
    data = intent_pb2.Intent(version=1, initiator_key=KEY.public, valid_until_ms=until_ms).SerializeToString()
    return Ceremony("sign", ceremony_id(data), "key_" + "0" * 32, "eddsa_ed25519", data, until_ms)


async def test_a_wait_for_the_initiator_ends_with_the_signature_or_with_the_intent(engine, database, program):
    """Authorized once, by the named key; expired when nobody signs."""

    async def wait_then_finish(live):
        return Outcome.DONE if live.operation.ceremonies[0].authorization else Outcome.AWAITING_INITIATOR

    program.run_with = wait_then_finish
    live = begin(engine, client_initiated=True, ceremonies=[ceremony()])
    assert await engine.settle(live, 1)
    assert stored(database, live) == "awaiting_initiator"
    data = live.operation.awaited.intent
    with pytest.raises(Problem, match="authorization-invalid"):
        engine.authorize(live, Authorization(KEY.public, bytes(64)), None)
    engine.authorize(live, authorize(data, KEY), None)
    with pytest.raises(Problem, match="operation-not-awaiting"):
        engine.authorize(live, authorize(data, KEY), None)
    assert await engine.settle(live, 1)
    assert live.operation.state is OperationState.SUCCEEDED
    late = begin(engine, client_initiated=True, ceremonies=[ceremony(0.05)])
    assert await engine.settle(late, 1)
    await asyncio.sleep(0.2)
    assert late.operation.error.code == "authorization-expired"


async def test_a_wait_that_is_not_stored_yet_cannot_be_ended(engine, program):
    """Between deciding to wait and having stored that, an authorization is too early."""

    async def wait(live):
        return Outcome.AWAITING_INITIATOR

    program.run_with = wait
    live = begin(engine, client_initiated=True, ceremonies=[ceremony()])
    while live.operation.state is not OperationState.AWAITING_INITIATOR:
        await asyncio.sleep(0)
    assert not live.settled
    with pytest.raises(Problem, match="operation-not-awaiting"):
        engine.authorize(live, authorize(live.operation.ceremonies[0].intent, KEY), None)
    assert await engine.settle(live, 1)
    engine.authorize(live, authorize(live.operation.ceremonies[0].intent, KEY), None)
    await engine.close(1)


async def test_a_client_may_send_its_signature_again_after_nothing_happened(engine, database, program):
    """The same intent waits again, with the reason; what is not retriable ends."""
    codes = ["quorum-unavailable", "policy-denied"]

    async def fail(live):
        if live.operation.ceremonies[0].authorization is None:
            return Outcome.AWAITING_INITIATOR
        raise OperationFailed(codes.pop(0), "x")

    program.run_with = fail
    live = begin(engine, client_initiated=True, ceremonies=[ceremony()])
    await engine.settle(live, 1)
    data = live.operation.awaited.intent
    engine.authorize(live, authorize(data, KEY), None)
    assert await engine.settle(live, 1)
    assert (live.operation.state, live.operation.error.code) == (
        OperationState.AWAITING_INITIATOR,
        "quorum-unavailable",
    )
    assert live.operation.awaited.intent == data
    assert program.abandoned == []
    engine.authorize(live, authorize(data, KEY), None)
    assert await engine.settle(live, 1)
    assert (live.operation.state, live.operation.error.code) == (OperationState.FAILED, "policy-denied")
    assert program.abandoned == ["policy-denied"]


async def test_there_is_room_for_so_many_and_no_more(engine, program, monkeypatch):
    """503 before anything is reserved; a stopping gateway begins nothing."""
    monkeypatch.setattr("keyquorum_gateway.operations.engine.OPERATIONS_LIVE_MAX", 1)
    monkeypatch.setattr("keyquorum_gateway.operations.engine.AWAITING_PER_TENANT_MAX", 1)

    async def wait(live):
        return Outcome.AWAITING_INITIATOR

    program.run_with = wait
    live = begin(engine, client_initiated=True, ceremonies=[ceremony()])
    await engine.settle(live, 1)
    with pytest.raises(Problem, match="busy"):
        begin(engine)
    with pytest.raises(Problem, match="too-many-pending"):
        engine.require_room_to_wait("default")
    engine.require_room_to_wait("other")
    engine.drain()
    with pytest.raises(Problem, match="shutting-down"):
        begin(engine)
    await engine.close(0)
