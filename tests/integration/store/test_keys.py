"""Shares and their epochs: stored before promised, activated by the matching certificate only, destroyed for good."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store.envelope import ShareContext, open_sealed
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from support.share_store import (
    DEK,
    NOW_MS,
    PARTY,
    activation,
    admission,
    make_key,
    open_store,
    prepared,
    sealed_share,
)


async def admitted_creation(store: SqliteShareStore, key_id: str = "key_1") -> str:
    create = admission(key_id, kind=c.OperationKind.CREATE_KEY)
    assert isinstance(await store.execute(create), c.Admitted)
    return create.op_id


async def refreshed(store: SqliteShareStore, op_id: str, epoch: int) -> c.StorePreparedShare:
    """The same key's share of a later epoch."""
    return prepared(op_id, epoch=epoch, statement=b"epoch %d" % epoch, sealed=sealed_share(epoch=epoch))


async def test_key_lives_through_its_states_and_restarts(store: SqliteShareStore, path: Path) -> None:
    """Prepared, then active, then readable by the process that comes next."""
    op_id = await admitted_creation(store)
    share = prepared(op_id, sealed=sealed_share(share=b"the share"))
    assert await store.execute(share) == c.Prepared("key_1", 1)
    (waiting,) = await store.prepared_keys()
    assert (waiting.key_id, waiting.state, waiting.signatures) == ("key_1", c.KeyState.PREPARED, ())
    assert await store.get_share("key_1") is None
    assert await store.get_share("key_1", epoch=1) is not None
    certificate = activation()
    assert await store.execute(certificate) == c.Activated("key_1", 1)
    assert await store.prepared_keys() == ()
    await store.close()
    again = await open_store(path)
    key = await again.get_key("key_1")
    assert key is not None
    assert (key.state, key.epoch, key.op_id) == (c.KeyState.ACTIVE, 1, op_id)
    assert (key.statement, key.signatures) == (certificate.statement, certificate.signatures)
    stored = await again.get_share("key_1")
    assert stored is not None
    context = ShareContext(PARTY, "usr_1", "key_1", "eddsa_ed25519", 1, 1, "soft:test:1")
    assert open_sealed(DEK, context, stored.sealed) == b"the share"
    await again.close()


async def test_one_statement_per_key_and_epoch(store: SqliteShareStore) -> None:
    """A party that has promised one share never promises another for the same key, and repeats itself freely."""
    op_id = await admitted_creation(store)
    await store.execute(prepared(op_id))
    kept = await store.get_share("key_1", epoch=1)
    assert await store.execute(prepared(op_id, sealed=sealed_share())) == c.Prepared("key_1", 1, repeat=True)
    outcome = await store.execute(prepared(op_id, statement=b"another certificate"))
    assert isinstance(outcome, c.Conflict)
    assert await store.get_share("key_1", epoch=1) == kept
    await store.execute(activation())
    assert await store.execute(prepared(op_id)) == c.Prepared("key_1", 1, repeat=True)


async def test_share_needs_an_admitted_operation_for_its_key(store: SqliteShareStore) -> None:
    """Nothing is stored for an operation that is unknown, of another key, or given back."""
    op_id = await admitted_creation(store)
    assert await store.execute(prepared("op_none")) == c.NotAdmitted("op_none")
    assert await store.execute(prepared(op_id, "key_2")) == c.NotAdmitted(op_id)
    await store.execute(c.ReleaseReservation(op_id, NOW_MS))
    assert await store.execute(prepared(op_id)) == c.NotAdmitted(op_id)
    assert await store.get_key("key_1") is None


async def test_certificate_of_another_generation_activates_nothing(store: SqliteShareStore) -> None:
    """Only the statement that goes with the stored share makes it usable."""
    op_id = await admitted_creation(store)
    await store.execute(prepared(op_id))
    assert isinstance(await store.execute(activation(statement=b"another")), c.Conflict)
    assert await store.execute(activation("key_2")) == c.KeyUnavailable("key_2", None)
    assert await store.execute(activation(epoch=2)) == c.KeyUnavailable("key_1", c.KeyState.PREPARED)
    assert await store.execute(activation()) == c.Activated("key_1", 1)
    assert await store.execute(activation()) == c.Activated("key_1", 1, repeat=True)


@pytest.mark.parametrize("field", ["wallet_id", "user_id", "tenant_id", "scheme"])
async def test_later_epoch_is_of_the_same_key(store: SqliteShareStore, field: str) -> None:
    """A key does not change its owner, wallet or scheme on the way to its next epoch."""
    op_id = await make_key(store)
    share = replace(await refreshed(store, op_id, 2), **{field: "other"})
    assert isinstance(await store.execute(share), c.Conflict)


async def test_old_epoch_stays_until_the_new_one_is_active(store: SqliteShareStore) -> None:
    """A crash at any step of a refresh leaves the old epoch usable, or the new one."""
    op_id = await make_key(store)
    second = await refreshed(store, op_id, 2)
    assert await store.execute(second) == c.Prepared("key_1", 2)
    current = await store.get_share("key_1")
    assert current is not None
    assert current.epoch == 1
    assert [key.epoch for key in await store.prepared_keys()] == [2]
    assert await store.execute(activation(epoch=2, statement=second.statement)) == c.Activated("key_1", 2)
    current, old = await store.get_share("key_1"), await store.get_share("key_1", epoch=1)
    assert current is not None
    assert old is not None
    assert (current.epoch, old.epoch) == (2, 1)
    assert isinstance(await store.execute(activation()), c.KeyUnavailable)
    assert isinstance(await store.execute(await refreshed(store, op_id, 1)), c.Conflict)
    assert await store.execute(c.DeleteShares(op_id, "key_1", 1, NOW_MS)) == c.Deleted("key_1", c.KeyState.ACTIVE)
    assert await store.get_share("key_1", epoch=1) is None
    assert await store.get_share("key_1") == current


async def test_deleting_the_current_epoch_deletes_the_key(store: SqliteShareStore) -> None:
    """No share is left, a prepared one neither; the id is never used again."""
    op_id = await make_key(store)
    await store.execute(await refreshed(store, op_id, 2))
    delete = c.DeleteShares(op_id, "key_1", 1, NOW_MS)
    assert await store.execute(delete) == c.Deleted("key_1", c.KeyState.DELETED)
    assert await store.execute(delete) == c.Deleted("key_1", c.KeyState.DELETED, repeat=True)
    assert await store.get_share("key_1") is None
    assert await store.get_share("key_1", epoch=2) is None
    assert await store.prepared_keys() == ()
    assert isinstance(await store.execute(await refreshed(store, op_id, 3)), c.KeyUnavailable)
    assert isinstance(await store.execute(activation(epoch=2, statement=b"epoch 2")), c.KeyUnavailable)
    assert await store.execute(c.DeleteShares("op_1", "key_9", 1, NOW_MS)) == c.KeyUnavailable("key_9", None)


async def test_deleted_share_is_gone_from_the_database_file(store: SqliteShareStore, path: Path) -> None:
    """Once the store is closed, its file holds nothing of the ciphertext: not in a row, not in a free page."""
    sealed = sealed_share(share=b"s" * 500)
    op_id = await make_key(store, sealed=sealed)
    kept = await make_key(store, "key_2")
    await store.execute(c.DeleteShares(op_id, "key_1", 1, NOW_MS))
    await store.close()
    content = await asyncio.to_thread(path.read_bytes)
    assert all(sealed[at : at + 16] not in content for at in range(len(sealed) - 500, len(sealed) - 16))
    assert kept.encode() in content


async def test_share_is_resealed_version_by_version(store: SqliteShareStore) -> None:
    """Another KEK generation replaces the envelope; a version is neither skipped nor taken twice."""
    await make_key(store)
    old = await store.get_share("key_1")
    assert old is not None
    resealed = c.UpdateShare("key_1", 1, 2, "soft:test:2", NOW_MS, sealed_share(version=2))
    assert await store.execute(resealed) == c.Updated("key_1", 1, 2)
    assert await store.execute(resealed) == c.Updated("key_1", 1, 2, repeat=True)
    for wrong in (
        replace(resealed, sealed=sealed_share(version=2)),
        replace(resealed, version=4),
        replace(resealed, version=1),
    ):
        assert isinstance(await store.execute(wrong), c.Conflict)
    current = await store.get_share("key_1")
    assert current is not None
    assert (current.version, current.kek_id, current.sealed) == (2, "soft:test:2", resealed.sealed)
    assert await store.execute(replace(resealed, key_id="key_9")) == c.KeyUnavailable("key_9", None)


async def test_bans_survive_a_restart_and_keep_their_first_reason(store: SqliteShareStore, path: Path) -> None:
    """A ban is for good; saying it again changes nothing."""
    ban = c.BanPeer("op_1", "party-2", "key_1", "selective failure", bytes(32), NOW_MS)
    assert await store.execute(ban) == c.Banned("party-2", "key_1")
    assert await store.execute(replace(ban, reason="other")) == c.Banned("party-2", "key_1", repeat=True)
    assert await store.execute(replace(ban, key_id="")) == c.Banned("party-2", "")
    await store.close()
    again = await open_store(path)
    assert [(b.node_id, b.key_id, b.reason) for b in await again.bans()] == [
        ("party-2", "", "selective failure"),
        ("party-2", "key_1", "selective failure"),
    ]
    await again.close()


async def test_keys_are_listed_in_pages(store: SqliteShareStore) -> None:
    """By user, by wallet, and one page after the other, each key once."""
    for number in range(7):
        owner = {"user_id": f"usr_{number % 2}", "wallet_id": f"wal_{number % 3}"}
        await make_key(store, f"key_{number}", **owner)
    first = await store.list_keys(limit=3)
    second = await store.list_keys(after=first[-1].key_id, limit=3)
    third = await store.list_keys(after=second[-1].key_id, limit=3)
    assert [key.key_id for key in (*first, *second, *third)] == [f"key_{n}" for n in range(7)]
    assert [key.key_id for key in await store.list_keys(user_id="usr_1")] == ["key_1", "key_3", "key_5"]
    assert [key.key_id for key in await store.list_keys(wallet_id="wal_2")] == ["key_2", "key_5"]
    assert await store.list_keys(user_id="usr_1", wallet_id="wal_9") == ()
    with pytest.raises(ValueError, match="at least one row"):
        await store.list_keys(limit=0)


async def test_log_is_read_in_pages(store: SqliteShareStore) -> None:
    """Events and audit rows come in order, each once, and end at the head."""
    await make_key(store)
    events = await store.events(limit=2)
    events += await store.events(after=events[-1].seq, limit=2)
    assert [event.kind for event in events] == ["operation-admitted", "share-prepared", "epoch-activated"]
    assert (events[-1].seq, events[-1].hash) == ((await store.head()).seq, (await store.head()).hash)
    rows = await store.audit()
    assert [row.event_hash for row in rows] == [event.hash for event in events]
    assert await store.projection_lag() == 0


async def test_audit_rows_hold_no_identifier(store: SqliteShareStore) -> None:
    """Identifiers are pseudonyms, equal for equal subjects; the initiator's key and the key id stand nowhere."""
    await make_key(store)
    await store.execute(admission())
    await store.execute(admission())
    rows = await store.audit()
    shown = repr(rows)
    assert "key_1" not in shown
    assert "default" not in shown
    assert len({row.key for row in rows}) == 1
    assert len({row.operation for row in rows if row.operation}) == 3
    assert all(len(row.key) == 32 for row in rows)
