"""A party's stock of presignatures: what it opens, what it gives out, what it tells."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.party.presignatures import Pool, Presignatures
from keyquorum_core_signer.party.refusal import Refusal
from keyquorum_core_signer.party.worker_context import Worker
from keyquorum_core_signer.store.envelope import EnvelopeError
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from keyquorum_core_signer.wire.identity import IdentityKey
from support.intents import cell
from support.share_store import NOW_MS, admission, make_key, open_store

POOL = Pool("key_1", 1, (0, 7), ("party-1", "party-2"))
OTHER_PATH = Pool("key_1", 1, (0, 8), ("party-1", "party-2"))
NAME = bytes([1]) * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is, for its owner alone."""
    tmp_path.chmod(0o700)
    return tmp_path / "shares.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteShareStore]:
    """With a key."""
    made = await open_store(path)
    await make_key(made)
    yield made
    await made.close()


async def opened(store: SqliteShareStore) -> Presignatures:
    """As a process that starts."""
    made = Presignatures(store, lambda: NOW_MS)
    await made.open()
    return made


async def admitted(store: SqliteShareStore) -> str:
    """An operation that may burn."""
    admit = admission("key_1")
    await store.execute(admit)
    return admit.op_id


async def test_another_process_opens_nothing(store: SqliteShareStore) -> None:
    """What one process sealed the next neither has in stock nor could open, had somebody put it back."""
    worker = Worker("party-1", cell().roster, IdentityKey.generate())
    first = await opened(store)
    envelope = worker.seal(first.key("key_1", 1), b"phi, u and v")
    await first.store(POOL, jobs.MadePresignatures(((NAME, envelope),)))
    assert worker.open(jobs.Sealed(first.key("key_1", 1), envelope)) == b"phi, u and v"
    second = await opened(store)
    assert second.pools() == ()
    assert await store.presignatures() == ()
    with pytest.raises(EnvelopeError):
        worker.open(jobs.Sealed(second.key("key_1", 1), envelope))


async def test_each_is_for_its_pool(store: SqliteShareStore) -> None:
    """Named for another path it is refused and stays; burned it is gone for everybody, and everybody is told."""
    stock, op_id = await opened(store), await admitted(store)
    told: list[tuple[Pool, int]] = []
    stock.listen(lambda pool: told.append((pool, len(stock.stock(pool)))))
    await stock.store(POOL, jobs.MadePresignatures(((NAME, b"sealed"),)))
    with pytest.raises(Refusal, match="not in stock"):
        await stock.burn(op_id, bytes(32), [OTHER_PATH], (NAME,))
    burned = await stock.burn(op_id, bytes(32), [POOL], (NAME,))
    assert burned.uses == ((NAME, b"sealed"),)
    assert b"sealed" not in repr(burned).encode()
    with pytest.raises(Refusal, match="not in stock"):
        await stock.burn(op_id, bytes([1]) * 32, [POOL], (NAME,))
    assert stock.stock(POOL) == ()
    async with asyncio.timeout(10):
        while len(told) < 2:
            await asyncio.sleep(0.01)
    assert told == [(POOL, 1), (POOL, 0)]


async def test_without_an_admitted_operation_nothing_is_burned(store: SqliteShareStore) -> None:
    """The store decides, after the memory has: what it refuses to give is not given."""
    stock = await opened(store)
    await stock.store(POOL, jobs.MadePresignatures(((NAME, b"sealed"),)))
    with pytest.raises(Refusal):
        await stock.burn("op_unknown", bytes(32), [POOL], (NAME,))
    assert [record.presignature_id for record in await store.presignatures()] == [NAME]
