"""What comes into stock, what does not, and that nothing comes into it twice."""

from dataclasses import replace
from pathlib import Path

import pytest

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store import limits
from keyquorum_core_signer.store import pair_commands as p
from keyquorum_core_signer.store import presignature_commands as s
from keyquorum_core_signer.store import presignatures as handlers
from keyquorum_core_signer.store.sqlite import SqliteShareStore, rebuild_store
from keyquorum_core_signer.store.verify import verify_store
from support.share_store import (
    KIND,
    NOW_MS,
    PARTY,
    SETUP,
    activation,
    admission,
    make_key,
    open_store,
    pair_setup,
    prepared,
    presignatures,
    sealed_share,
)

KEY = "key_2"
PEER = "party-2"
QUORUM = (PARTY, PEER)
SESSION = bytes([1]) * 32


def name(number: int) -> bytes:
    return bytes([number]) * 32


async def names(store: SqliteShareStore) -> list[bytes]:
    return [record.presignature_id for record in await store.presignatures()]


async def burned(store: SqliteShareStore, *numbers: int) -> c.Command[object]:
    """The command that has just burned them."""
    admit = admission(KEY)
    await store.execute(admit)
    command = s.BurnPresignatures(admit.op_id, SESSION, tuple(map(name, numbers)), KEY, NOW_MS)
    assert isinstance(await store.execute(command), s.Burned)
    return command


@pytest.mark.parametrize("end", ["burned", "voided", "peer banned"])
@pytest.mark.parametrize("rebuilt", [False, True])
async def test_no_id_comes_into_stock_twice(path: Path, end: str, *, rebuilt: bool) -> None:
    """However it left, alone or among others, in this process or in a later one, with read models made anew or not."""
    store = await open_store(path)
    await make_key(store, KEY)
    first = presignatures(1, 2)
    await store.execute(first)
    if end == "burned":
        await burned(store, 1)
    elif end == "voided":
        await store.execute(s.VoidPresignatures("restart", NOW_MS))
    else:
        await store.execute(c.BanPeer("op_1", "party-4", "", "bad row", bytes(32), NOW_MS))
        await store.execute(p.LiftBan("party-4", "replaced", NOW_MS))
    stock = await names(store)
    for again in (first, presignatures(1), presignatures(3, 1), presignatures(1, node_ids=(PARTY, "party-5"))):
        assert isinstance(await store.execute(again), s.PresignatureConflict)
    await store.close()
    if rebuilt:
        rebuild_store(path, PARTY)
    store = await open_store(path)
    assert await store.execute(presignatures(3, 1)) == s.PresignatureConflict(name(1))
    assert await names(store) == stock
    await store.close()
    assert verify_store(path).problems == ()


async def test_nothing_made_with_a_destroyed_pair_is_taken(store: SqliteShareStore) -> None:
    """A session that was under way when its pair was destroyed ends with presignatures that nobody may use."""
    await make_key(store, KEY)
    await store.execute(pair_setup())
    await store.execute(p.DestroyPairSetup(PEER, KIND, "checks without a verdict", NOW_MS))
    assert await store.execute(presignatures(1, node_ids=QUORUM)) == p.PairUnavailable(PEER)
    assert await names(store) == []
    await store.execute(pair_setup(generation=2))
    assert await store.execute(presignatures(1, node_ids=QUORUM)) == s.PresignaturesStored(1)


async def test_a_ban_from_one_key_reaches_its_stock(store: SqliteShareStore) -> None:
    """Presignatures of that key with the peer go, and none is taken any more; those of other keys stay."""
    for key_id in (KEY, "key_3"):
        await make_key(store, key_id, sealed=sealed_share(key_id))
    await store.execute(presignatures(1, node_ids=QUORUM))
    await store.execute(presignatures(2, node_ids=(PARTY, "party-3")))
    await store.execute(presignatures(3, key_id="key_3", node_ids=QUORUM))
    await store.execute(c.BanPeer("op_1", PEER, KEY, "bad proof", bytes(32), NOW_MS))
    assert sorted(await names(store)) == [name(2), name(3)]
    assert await store.execute(presignatures(4, node_ids=QUORUM)) == p.PeerIsBanned(PEER)
    assert await store.execute(presignatures(4, key_id="key_3", node_ids=QUORUM)) == s.PresignaturesStored(1)


async def test_a_later_epoch_voids_the_one_before(store: SqliteShareStore) -> None:
    """Activation and voiding are one step; the later epoch's own are taken from then on, the older one's never."""
    op_id = await make_key(store, KEY)
    await store.execute(presignatures(1))
    await store.execute(prepared(op_id, KEY, epoch=2, statement=b"second", sealed=sealed_share(KEY, epoch=2)))
    assert isinstance(await store.execute(presignatures(2, epoch=2)), c.KeyUnavailable), "not active yet"
    assert await names(store) == [name(1)]
    await store.execute(activation(KEY, epoch=2, statement=b"second"))
    assert await names(store) == []
    assert isinstance(await store.execute(presignatures(3, epoch=1)), c.KeyUnavailable)
    assert await store.execute(presignatures(4, epoch=2)) == s.PresignaturesStored(1)
    await store.execute(c.DeleteShares("op_1", KEY, 1, NOW_MS))
    assert await names(store) == [name(4)], "destroying the old epoch's share spares the new one's stock"


@pytest.mark.parametrize("bound", ["PRESIGNATURES_MAX", "PRESIGNATURES_OF_POOL_MAX"])
async def test_stock_is_bounded(store: SqliteShareStore, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """What would go over a bound is refused whole; what is used up makes room; a pool's bound is not another pool's."""
    monkeypatch.setattr(handlers, bound, 3)
    await make_key(store, KEY)
    assert await store.execute(presignatures(1, 2)) == s.PresignaturesStored(2)
    assert await store.execute(presignatures(3, 4)) == s.PoolFull(2)
    elsewhere = replace(presignatures(5, 6), path=(0, 8))
    whole_store = bound == "PRESIGNATURES_MAX"
    assert await store.execute(elsewhere) == (s.PoolFull(2) if whole_store else s.PresignaturesStored(2))
    await burned(store, 1)
    assert await store.execute(presignatures(3, 4)) == s.PresignaturesStored(2)


def test_malformed_batches_cannot_be_made() -> None:
    """One id, one envelope, one signer each; envelopes and counts bounded; nothing of them in a log line."""
    batch = presignatures(1, 2)
    (one, envelope), (two, _) = batch.entries
    large = bytes(limits.PRESIGNATURE_BYTES_MAX + 1)
    for field, value, said in (
        ("entries", ((one, envelope), (two, envelope)), "twice"),
        ("entries", ((one, large),), "sealed"),
        ("entries", (), "entries"),
        ("entries", tuple((n.to_bytes(32, "big"), bytes([n % 256]) * 9) for n in range(257)), "entries"),
        ("node_ids", (PARTY, PARTY), "node_ids"),
        ("node_ids", (PARTY,), "node_ids"),
        ("protocol", "", "protocol"),
    ):
        with pytest.raises(ValueError, match=said):
            replace(batch, **{field: value})
    for shown in (batch, s.Burned((envelope,)), pair_setup(setup_id=SETUP)):
        assert "sealed" not in repr(shown)
        assert "entries" not in repr(shown)


async def test_named_ones_are_voided_and_no_others(store: SqliteShareStore) -> None:
    """By id, whatever else is named is a condition more; ids that are not there are no matter."""
    await make_key(store, KEY)
    await store.execute(presignatures(1, 2, 3, node_ids=QUORUM))
    await store.execute(presignatures(4))
    void = s.VoidPresignatures("one-sided", NOW_MS, presignature_ids=(name(2), name(4), name(9)))
    assert await store.execute(replace(void, node_id=PEER)) == s.Voided(1)
    assert await names(store) == [name(1), name(3), name(4)]
    assert await store.execute(void) == s.Voided(1)
    assert await store.execute(void) == s.Voided(0)
    assert await names(store) == [name(1), name(3)]
