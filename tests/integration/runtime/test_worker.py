"""Sessions in worker processes: the right result, bounded, on time, and every failure says so."""

import asyncio
import os
import signal
import statistics
import time
from pathlib import Path

import pytest

from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.runtime import events
from keyquorum_core_signer.runtime.events import Checkpoint, Failed, Finished, Outgoing, Progress
from keyquorum_core_signer.runtime.limits import PoolLimits
from keyquorum_core_signer.runtime.worker import WorkerPool, WorkerStartError
from keyquorum_core_signer.runtime.worker_session import PoolClosed, PoolOverloaded, WorkerLost
from support.toy_jobs import SECRET_TEXT
from support.toy_protocol import expected_total, toy_session

TESTS = Path(__file__).parents[2]
SESSION = bytes(32)


@pytest.fixture(autouse=True)
def _find_toy_jobs(monkeypatch):
    """Workers import the toy factory."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)


def pool_of(workers=1, factory="support.toy_jobs:make_jobs", setup=b"setup", **options) -> WorkerPool:
    """A pool of toy workers, not started."""
    return WorkerPool(factory, setup, workers=workers, **options)


def job(me: int, parties: int, session_id: bytes = SESSION) -> bytes:
    """Party ``me``'s side of the toy protocol."""
    return b"%d %d %s" % (me, parties, session_id.hex().encode())


async def take(session, *, until=(Finished, Failed)) -> list[events.Event]:
    """Events up to the first of a kind."""
    seen = []
    async with asyncio.timeout(20):
        async for event in session:
            seen.append(event)
            if isinstance(event, until):
                break
    return seen


async def run_party(me: int, sessions) -> list[events.Event]:
    """Carry one party's envelopes to the others until it ends."""
    seen = []
    async for event in sessions[me]:
        seen.append(event)
        match event:
            case Outgoing(recipient, data):
                sessions[recipient].deliver(PartyId(me), data)
            case Checkpoint():
                sessions[me].resume()
    return seen


async def until_true(condition) -> None:
    """Wait for something that another process does."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def exists(pid: int) -> bool:
    """Whether a process is there, running or not reaped."""
    return Path(f"/proc/{pid}").exists()


async def test_committee_across_workers_finishes():
    """Three parties in two workers get the sum, with their progress and checkpoint in between, in order."""
    async with pool_of(workers=2) as pool:
        sessions = {me: pool.open(job(me, 3)) for me in (1, 2, 3)}
        assert len({session.worker_pid for session in sessions.values()}) == 2
        runs = await asyncio.gather(*(run_party(me, sessions) for me in sessions))
        for seen in runs:
            others = [event for event in seen if not isinstance(event, Outgoing)]
            assert others == [
                Progress(1),
                Progress(2),
                Checkpoint(b"checkpoint %d" % expected_total(3)),
                Progress(3),
                Finished(b"%d" % expected_total(3)),
            ]
        assert all(session.ended for session in sessions.values())
        assert pool.sessions == 0


async def test_many_sessions_share_a_worker():
    """Sessions of one worker do not mix."""
    async with pool_of() as pool:
        groups = [{me: pool.open(job(me, 2, bytes([i]) * 32)) for me in (1, 2)} for i in range(50)]
        runs = await asyncio.gather(*(run_party(me, group) for group in groups for me in group))
        assert all(seen[-1] == Finished(b"%d" % expected_total(2)) for seen in runs)


async def test_checkpoint_comes_once_and_holds_the_session():
    """Envelopes that arrive at a checkpoint neither repeat it nor get past it."""
    async with pool_of() as pool:
        session, peer = pool.open(job(1, 2)), toy_session(2, 2)
        out = peer.start()
        for o in out:
            session.deliver(PartyId(2), o.data)
        seen = await take(session, until=Progress)
        sent = [o for e in seen if isinstance(e, Outgoing) for o in peer.receive(PartyId(1), e.data)]
        for o in sent:
            session.deliver(PartyId(2), o.data)
        seen += await take(session, until=Checkpoint)
        for o in sent:
            session.deliver(PartyId(2), o.data)
        session.resume()
        following = await take(session, until=Outgoing)
        assert [type(e) for e in following] == [Outgoing]


async def test_affinity_keeps_to_one_worker():
    """Jobs of one affinity share a worker; jobs without one go where there is least to do."""
    async with pool_of(workers=2) as pool:
        assert len({pool.open(job(1, 2), "key-1").worker_pid for _ in range(5)}) == 1
        spread = [pool.open(job(1, 2), f"key-{i}").worker_pid for i in range(30)]
        assert len(set(spread)) == 2
        free = [pool.open(job(1, 2)).worker_pid for _ in range(40)]
        assert len(set(free)) == 2


async def test_peer_that_breaks_the_protocol_is_named():
    """An abort in a worker arrives with its step, its culprits and its evidence."""
    async with pool_of() as pool:
        session = pool.open(job(1, 3))
        session.deliver(PartyId(3), b"\xff")
        failed = (await take(session))[-1]
        assert failed.code == events.PROTOCOL_ABORT
        assert failed.culprits == (3,)
        assert "parse" in failed.step


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"refuse", Failed("key-not-found", detail="no such key")),
        (b"explode", Failed(events.INTERNAL, detail="ValueError")),
        (b"", Failed(events.INTERNAL, detail="ValueError")),
    ],
)
async def test_job_that_cannot_start_says_why(data, expected):
    """A refusal keeps its words; any other error keeps its type's name alone, and the worker goes on."""
    async with pool_of() as pool:
        (pid,) = pool.pids
        assert await take(pool.open(data)) == [expected]
        assert SECRET_TEXT not in repr(expected)
        assert isinstance((await take(pool.open(job(1, 2)), until=Outgoing))[-1], Outgoing)
        assert pool.pids == (pid,)


async def test_closed_session_is_gone():
    """A closed session gives no events, costs nothing, and may be closed again."""
    async with pool_of() as pool:
        session = pool.open(job(1, 2))
        waiting = asyncio.create_task(take(session, until=Finished))
        await asyncio.sleep(0.05)
        session.close()
        assert all(isinstance(event, Outgoing) for event in await waiting)
        session.close()
        session.deliver(PartyId(2), b"\xff")
        session.resume()
        assert session.ended
        assert pool.sessions == 0
        assert await take(session) == []


async def test_killed_worker_fails_its_sessions_and_no_others_and_is_replaced():
    """kill -9 on one worker: its sessions say worker-lost, the other's go on, and a new process takes its place."""
    lost = []
    async with pool_of(workers=2, on_lost=lambda pid, reason: lost.append((pid, reason))) as pool:
        sessions = [pool.open(job(1, 2)) for _ in range(6)]
        victim = pool.pids[0]
        os.kill(victim, signal.SIGKILL)
        doomed = [session for session in sessions if session.worker_pid == victim]
        spared = [session for session in sessions if session.worker_pid != victim]
        assert len(doomed) == len(spared) == 3
        for session in doomed:
            failed = (await take(session))[-1]
            assert failed.code == events.WORKER_LOST
            assert session.ended
        assert not any(session.ended for session in spared)
        await until_true(lambda: len(pool.pids) == 2)
        assert victim not in pool.pids
        assert lost == [(victim, "the worker process ended (signal 9)")]
        assert (await take(pool.open(job(1, 2)), until=Outgoing))[-1].recipient == 2


async def test_worker_that_dies_of_a_job_takes_only_itself():
    """A crash inside a job is a lost worker, and affinity finds another one meanwhile."""
    async with pool_of(workers=2) as pool:
        first = pool.open(b"die", "key-1")
        assert (await take(first))[-1].code == events.WORKER_LOST
        again = pool.open(job(1, 2), "key-1")
        assert again.worker_pid != first.worker_pid
        assert isinstance((await take(again, until=Outgoing))[-1], Outgoing)


async def test_pool_without_workers_refuses():
    """With every process gone, open() says so at once instead of waiting."""
    async with pool_of(limits=PoolLimits(respawn_s_min=5.0)) as pool:
        os.kill(pool.pids[0], signal.SIGKILL)
        await until_true(lambda: not pool.pids)
        with pytest.raises(WorkerLost):
            pool.open(job(1, 2))


async def test_sessions_per_worker_are_bounded():
    """A full worker takes no more, and takes again when one has ended."""
    async with pool_of(limits=PoolLimits(sessions_per_worker_max=2)) as pool:
        first, _ = pool.open(job(1, 2)), pool.open(job(1, 2))
        with pytest.raises(PoolOverloaded):
            pool.open(job(1, 2))
        first.close()
        pool.open(job(1, 2))


async def test_backlog_is_bounded():
    """When a computing worker leaves too much unread, deliveries fail their session instead of filling memory."""
    async with pool_of(limits=PoolLimits(backlog_bytes_max=1 << 20)) as pool:
        session = pool.open(job(1, 2))
        await take(session, until=Outgoing)
        pool.open(b"sleep 1.5")
        for _ in range(20):
            session.deliver(PartyId(2), bytes(1 << 20))
        assert (await take(session))[-1].code == events.OVERLOADED
        with pytest.raises(PoolOverloaded):
            pool.open(job(1, 2))


async def test_events_are_bounded():
    """A host that takes no events loses the session, not its memory."""
    async with pool_of(limits=PoolLimits(events_per_session_max=2)) as pool:
        session = pool.open(job(1, 4))
        await until_true(lambda: session.ended)
        assert (await take(session))[-1].code == events.OVERLOADED


async def test_sizes_are_checked_before_anything_is_sent():
    """Set-ups and jobs over their limits are the caller's mistake."""
    limits = PoolLimits(job_bytes_max=10, setup_bytes_max=5)
    with pytest.raises(ValueError, match="set-up"):
        pool_of(setup=b"x" * 6, limits=limits)
    with pytest.raises(ValueError, match="at least one"):
        pool_of(workers=0)
    async with pool_of(limits=limits) as pool:
        with pytest.raises(ValueError, match="job"):
            pool.open(b"x" * 11)


async def test_closing_lets_sessions_end_and_then_ends_the_workers():
    """A pool that closes takes no more work, waits for what runs, and leaves no process behind."""
    pool = pool_of(workers=2)
    await pool.start()
    pids = pool.pids
    sessions = {me: pool.open(job(me, 2)) for me in (1, 2)}
    closing = asyncio.create_task(pool.close(grace_s=10))
    await asyncio.sleep(0)
    with pytest.raises(PoolClosed):
        pool.open(job(1, 2))
    runs = await asyncio.gather(*(run_party(me, sessions) for me in sessions))
    assert all(isinstance(seen[-1], Finished) for seen in runs)
    started = time.monotonic()
    await closing
    assert time.monotonic() - started < 5
    assert not any(exists(pid) for pid in pids)


async def test_closing_does_not_wait_for_ever():
    """Sessions that do not end in time fail, and a worker that computes on is killed."""
    pool = pool_of(limits=PoolLimits(stop_s_max=0.2))
    await pool.start()
    (pid,) = pool.pids
    stuck = pool.open(b"sleep 60")
    await pool.close(grace_s=0.1)
    assert (await take(stuck))[-1] == Failed(events.WORKER_LOST, detail="the pool closed")
    assert not exists(pid)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"factory": "support.no_such_module:make"}, "no such factory"),
        ({"factory": "support.toy_jobs:no_such_function"}, "AttributeError"),
        ({"setup": b"wrong"}, "internal: ValueError"),
        ({"factory": "support.toy_jobs:refuse_setup"}, "roster-invalid: the roster names nobody"),
    ],
)
async def test_pool_that_cannot_start_says_why(options, reason):
    """A factory that is not there, or refuses, stops the start, with its reason and without its secrets."""
    pool = pool_of(workers=2, **options)
    with pytest.raises(WorkerStartError, match=reason) as caught:
        await pool.start()
    assert SECRET_TEXT not in str(caught.value)
    assert pool.pids == ()


async def test_worker_that_is_never_ready_is_given_up():
    """A start has a deadline."""
    pool = pool_of(limits=PoolLimits(start_s_max=0.001))
    with pytest.raises(WorkerStartError, match="not ready"):
        await pool.start()


async def test_event_loop_never_waits_for_a_worker():
    """While a worker computes, everything the host does returns at once."""
    async with pool_of(workers=2) as pool:
        busy = pool.open(b"sleep 2", "busy")
        other = next(f"k{i}" for i in range(50) if pool._choose(f"k{i}").pid != busy.worker_pid)
        worst = 0.0
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            started = time.monotonic()
            session = pool.open(job(1, 2), other)
            busy.deliver(PartyId(2), b"x")
            worst = max(worst, time.monotonic() - started)
            await take(session, until=Outgoing)
            session.close()
        assert worst < 1


async def test_round_trip_is_short():
    """Opening a job and getting its first envelope costs little more than computing it (0.25 ms on an idle machine)."""
    async with pool_of() as pool:
        there = []
        for _ in range(100):
            started = time.perf_counter()
            session = pool.open(job(1, 2, os.urandom(32)))
            await take(session, until=Outgoing)
            there.append(time.perf_counter() - started)
            session.close()
    here = []
    for _ in range(100):
        started = time.perf_counter()
        toy_session(1, 2, os.urandom(32)).start()
        here.append(time.perf_counter() - started)
    assert statistics.median(there) - statistics.median(here) < 0.02
