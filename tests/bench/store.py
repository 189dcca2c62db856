"""The share store on a real disk: what a signature waits for, and how many can be admitted at once.

A signature from stock waits for a burn beside its admission: of one presignature, or of a whole batch's in one command.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.rows import Row, latency, throughput
from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store import presignature_commands as s
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from support.share_store import KIND, NOW_MS, admission, make_key, open_store

WRITERS = 32
CAP = 2**200  # no admission of a measurement is refused
READS_MIN = 200
ENVELOPE_BYTES = 600  # of a DKLs23 presignature
BATCH = 100
STOCK = 20_000  # other presignatures that lie in the store meanwhile
STORED_AT_ONCE = 250


def rows(folder: Path, scale: float = 1.0) -> list[Row]:
    """Measure below ``folder``, which has to be on the disk that is meant."""
    folder.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_rows(folder / f"store-{secrets.token_hex(4)}.db", scale))


async def _rows(path: Path, scale: float) -> list[Row]:
    store = await open_store(path)
    await make_key(store)
    found = [
        await _admissions_alone(store, max(100, int(1000 * scale))),
        *await _admissions_together(store, max(500, int(16_000 * scale))),
        *await _reads(store, max(READS_MIN, int(5000 * scale))),
        *await _burns(store, max(100, int(1000 * scale)), int(STOCK * scale)),
    ]
    await store.close()
    began = time.perf_counter()
    await (await open_store(path)).close()
    opened = latency("store_open", [time.perf_counter() - began], events=int(found[0]["n"]) + int(found[1]["n"]))
    return [*found, opened]


async def _admissions_alone(store: SqliteShareStore, n: int) -> Row:
    """What one signature waits for: one admission, one fsync."""
    return latency("store_admit", await _samples(n, lambda: _admit(store)), synchronous="FULL")


async def _admissions_together(store: SqliteShareStore, n: int) -> list[Row]:
    """Group commit: how many admissions a party makes durable in a second, and what each of them waits."""
    commands = iter([admission(amount=1, window_cap=CAP) for _ in range(n)])
    taken: list[float] = []

    async def write() -> None:
        for command in commands:
            began = time.perf_counter()
            assert isinstance(await store.execute(command), c.Admitted)
            taken.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(WRITERS)))
    seconds = time.perf_counter() - began
    more = {"writers": WRITERS, "synchronous": "FULL"}
    return [
        throughput(f"store_admit_{WRITERS}_writers", n, seconds, **more),
        latency(f"store_admit_{WRITERS}_writers_latency", taken, **more),
    ]


async def _reads(store: SqliteShareStore, n: int) -> list[Row]:
    """Point reads beside the write path."""
    known = admission(amount=1, window_cap=CAP)
    await store.execute(known)
    return [
        latency("store_read_key", await _samples(n, lambda: store.get_key("key_1"))),
        latency("store_read_share", await _samples(n, lambda: store.get_share("key_1"))),
        latency("store_read_operation", await _samples(n, lambda: store.get_operation(known.op_id))),
    ]


async def _burns(store: SqliteShareStore, n: int, stock: int) -> list[Row]:
    """Presignatures out of a well-filled store, one by one and a hundred in one command; and all voided at a start."""
    admit = admission(amount=1, window_cap=CAP)
    await store.execute(admit)
    for path in range(0, stock, 4 * STORED_AT_ONCE):
        for _ in range(4):
            await _store_presignatures(store, STORED_AT_ONCE, path)
    rows = []
    for together, times in ((1, n), (BATCH, max(20, n // BATCH))):
        taken = []
        for _ in range(times):
            names = await _store_presignatures(store, together, stock)
            command = s.BurnPresignatures(admit.op_id, secrets.token_bytes(32), names, "key_1", NOW_MS)
            began = time.perf_counter()
            outcome = await store.execute(command)
            taken.append(time.perf_counter() - began)
            assert isinstance(outcome, s.Burned)
        rows.append(latency(f"store_burn_{together}", taken, synchronous="FULL", stock=stock))
    began = time.perf_counter()
    voided = await store.execute(s.VoidPresignatures("restart", NOW_MS))
    return [*rows, latency("store_void_all", [time.perf_counter() - began], presignatures=voided.count)]


async def _store_presignatures(store: SqliteShareStore, n: int, path: int) -> tuple[bytes, ...]:
    names = tuple(secrets.token_bytes(32) for _ in range(n))
    entries = tuple((name, secrets.token_bytes(ENVELOPE_BYTES)) for name in names)
    outcome = await store.execute(
        s.StorePresignatures("key_1", 1, (path,), ("party-1", "party-2"), KIND, NOW_MS, entries)
    )
    assert isinstance(outcome, s.PresignaturesStored)
    return names


async def _admit(store: SqliteShareStore) -> None:
    outcome = await store.execute(admission(amount=1, window_cap=CAP))
    assert isinstance(outcome, c.Admitted)


async def _samples(n: int, action: Callable[[], Awaitable[object]]) -> list[float]:
    taken = []
    for _ in range(n):
        began = time.perf_counter()
        await action()
        taken.append(time.perf_counter() - began)
    return taken
