"""The log keeps every step in order, pages newest first, and fails at a restart what was unfinished."""

import pytest

from keyquorum_core_signer.coordinator.database import Database
from keyquorum_core_signer.coordinator.events import OperationEvent
from keyquorum_core_signer.coordinator.failures import Failure
from keyquorum_core_signer.coordinator.limits import OPERATIONS_KEPT_MS
from keyquorum_core_signer.coordinator.log import LoggedStep, OperationLog
from keyquorum_core_signer.coordinator.states import State


@pytest.fixture
async def database(tmp_path):
    database = Database.open(tmp_path / "operations.sqlite3", now_ms=1, on_fenced=lambda: None)
    yield database
    database.close()


def step(operation_id, sequence, state, *, valid_until_ms=10**13, **fields):
    event = OperationEvent(operation_id, sequence, state, time_ms=1000 + sequence, **fields)
    return LoggedStep(event, "sign", valid_until_ms, None if event.terminal else 2000)


def name(number):
    return f"op_{number:032x}"


async def test_events_come_back_as_they_were(database):
    """Every field of an event survives the log."""
    log = OperationLog(database)
    failure = Failure("protocol-abort", "share invalid", State.SIGN_ROUND2, ("party-2",), retriable=True)
    steps = [
        step(name(1), 1, State.KEY_SHARE),
        step(name(1), 2, State.SIGN_ROUND2, round=2, node_id="party-1", detail="round 2"),
        step(name(1), 3, State.FAILED, failure=failure),
    ]
    for entry in steps[:2]:
        log.note(entry)
    await log.commit(steps[2])
    assert log.events(name(1)) == tuple(entry.event for entry in steps)
    assert log.events(name(2)) == ()
    done = step(name(2), 1, State.COMPLETE, signatures=(b"\x01" * 64, b"\x02" * 64), duration_ms=12.5)
    await log.commit(done)
    assert log.events(name(2)) == (done.event,)


async def test_pages_are_newest_first_and_complete(database):
    """Pages of any size string together to all operations, each with its latest step."""
    log = OperationLog(database)
    for number in range(7):
        log.note(step(name(number), 1, State.KEY_SHARE))
        await log.commit(step(name(number), 2, State.COMPLETE))
    for limit in (1, 2, 3, 7, 100):
        seen, before = [], None
        while True:
            page, before = log.latest(limit, before)
            seen += [(event.operation_id, event.sequence) for event in page]
            if before is None:
                break
        assert seen == [(name(number), 2) for number in reversed(range(7))]


async def test_a_restart_fails_what_was_unfinished(database):
    """Unfinished operations get a terminal, retriable step that names the stage; finished ones are left alone."""
    log = OperationLog(database)
    log.note(step(name(1), 1, State.KEY_SHARE))
    log.note(step(name(1), 2, State.SIGN_ROUND1))
    await log.commit(step(name(2), 1, State.COMPLETE))
    assert await log.interrupt_unfinished(now_ms=5000) == 1
    last = log.events(name(1))[-1]
    assert (last.sequence, last.state, last.time_ms) == (3, State.FAILED, 5000)
    assert last.failure.retriable
    assert last.failure.stage is State.SIGN_ROUND1
    assert len(log.events(name(2))) == 1
    assert await log.interrupt_unfinished(now_ms=6000) == 0


async def test_only_what_is_old_and_over_is_forgotten(database):
    """Pruning takes terminal operations whose intent expired long ago, and nothing else."""
    log = OperationLog(database)
    now_ms = 10**12
    await log.commit(step(name(1), 1, State.COMPLETE, valid_until_ms=now_ms - OPERATIONS_KEPT_MS - 1))
    await log.commit(step(name(2), 1, State.COMPLETE, valid_until_ms=now_ms - OPERATIONS_KEPT_MS))
    await log.commit(step(name(3), 1, State.SIGN_ROUND1, valid_until_ms=0))
    log.prune(now_ms)
    await log.commit(step(name(4), 1, State.KEY_SHARE))
    assert [bool(log.events(name(number))) for number in (1, 2, 3, 4)] == [False, True, True, True]


async def test_each_step_is_one_row_with_its_deadline(database):
    """Every transition is a row of its own that says until when the state may last."""
    log = OperationLog(database)
    log.note(step(name(1), 1, State.KEY_SHARE))
    await log.commit(step(name(1), 2, State.FAILED, failure=Failure("internal", "x")))
    rows = database.read("SELECT sequence, state, deadline_ms FROM event")
    assert rows == [(1, State.KEY_SHARE, 2000), (2, State.FAILED, None)]
