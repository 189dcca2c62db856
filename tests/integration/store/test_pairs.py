"""Pair set-ups, the checks that can cost one, and bans: what stands after each command, and after a restart."""

import secrets
from pathlib import Path

import pytest

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store import pair_commands as p
from keyquorum_core_signer.store import presignature_commands as s
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from keyquorum_core_signer.store.verify import verify_store
from support.share_store import KIND, NOW_MS, SETUP, make_key, open_store, pair_setup, presignatures

SESSION, OTHER = bytes([1]) * 32, bytes([2]) * 32
PEER = "party-2"
QUORUM = ("party-1", PEER)


def checks(session_id: bytes = SESSION, setup_id: bytes = SETUP, node_id: str = PEER) -> p.BeginPairChecks:
    """Checks of one pair."""
    return p.BeginPairChecks(session_id, ((node_id, KIND, setup_id),), NOW_MS)


def condemnation(node_id: str = PEER) -> c.BanPeer:
    """A ban from everything."""
    return c.BanPeer("op_1", node_id, "", "consistency of the transfer extension", bytes(32), NOW_MS)


async def blobs(store: SqliteShareStore, path: Path) -> None:
    """Nothing is kept that belongs to nothing, and nothing lacks."""
    await store.close()
    assert verify_store(path).problems == ()


async def test_a_generation_never_comes_back(store: SqliteShareStore, path: Path) -> None:
    """A set-up gives way to a later one only; after it is destroyed too, so that an old one cannot be replayed."""
    first = pair_setup(generation=2)
    assert await store.execute(first) == p.PairStored(PEER, KIND)
    assert await store.execute(first) == p.PairStored(PEER, KIND, repeat=True)
    for generation in (1, 2):
        refused = await store.execute(pair_setup(generation=generation, setup_id=OTHER))
        assert refused == p.PairConflict(PEER, KIND, 2)
    other_envelope = pair_setup(generation=2)
    assert await store.execute(other_envelope) == p.PairConflict(PEER, KIND, 2), "it is not the one that is kept"
    assert await store.execute(pair_setup(generation=3, setup_id=OTHER)) == p.PairStored(PEER, KIND)
    stored = await store.get_pair_setup(PEER, KIND)
    assert stored is not None
    assert (stored.generation, stored.setup_id) == (3, OTHER)
    destroy = p.DestroyPairSetup(PEER, KIND, "stale", NOW_MS)
    assert await store.execute(destroy) == p.PairDestroyed(PEER, KIND)
    assert await store.execute(destroy) == p.PairDestroyed(PEER, KIND, repeat=True)
    assert await store.get_pair_setup(PEER, KIND) is None
    assert await store.execute(pair_setup(generation=3, setup_id=OTHER)) == p.PairConflict(PEER, KIND, 3)
    await blobs(store, path)


async def test_one_session_at_a_time_checks_a_pair(store: SqliteShareStore) -> None:
    """Not a second one, not with another set-up, not with a peer that there is none with; and all pairs or none."""
    await store.execute(pair_setup())
    await store.execute(pair_setup("party-3"))
    assert await store.execute(checks(setup_id=OTHER)) == p.PairUnavailable(PEER)
    assert await store.execute(checks(node_id="party-4")) == p.PairUnavailable("party-4")
    assert await store.execute(checks()) == p.ChecksBegun()
    assert await store.execute(checks()) == p.ChecksBegun(repeat=True)
    assert await store.execute(checks(OTHER)) == p.PairUnavailable(PEER)
    both = p.BeginPairChecks(OTHER, (("party-3", KIND, SETUP), (PEER, KIND, SETUP)), NOW_MS)
    assert isinstance(await store.execute(both), p.PairUnavailable)
    assert [record.pending for record in await store.pair_setups()] == [SESSION, b""]
    assert await store.execute(p.EndPairChecks(SESSION, NOW_MS)) == p.ChecksEnded()
    assert await store.execute(p.EndPairChecks(SESSION, NOW_MS)) == p.ChecksEnded(repeat=True)
    assert await store.execute(both) == p.ChecksBegun()


async def test_interrupted_checks_cost_the_pair(path: Path) -> None:
    """A process that ends between a check and its verdict leaves a note, and the next one destroys the set-up."""
    store = await open_store(path)
    await store.execute(pair_setup())
    await store.execute(pair_setup("party-3"))
    await store.execute(checks())
    await store.close()
    store = await open_store(path)
    assert await store.execute(p.AbandonInterruptedChecks(NOW_MS)) == p.Abandoned(((PEER, KIND),))
    assert await store.execute(p.AbandonInterruptedChecks(NOW_MS)) == p.Abandoned(())
    assert [(record.node_id, record.living) for record in await store.pair_setups()] == [
        (PEER, False),
        ("party-3", True),
    ]
    await blobs(store, path)


async def test_a_ban_takes_everything_with_it(path: Path) -> None:
    """Set-ups, notes and presignatures with the peer go in the same transaction; it is banned over restarts, until an
    operator lifts that, and may be banned again."""
    store = await open_store(path)
    await make_key(store, "key_2")
    await store.execute(pair_setup())
    await store.execute(pair_setup("party-3"))
    await store.execute(presignatures(1, 2, node_ids=QUORUM))
    await store.execute(presignatures(3, node_ids=("party-1", "party-3")))
    await store.execute(checks())
    assert await store.execute(condemnation()) == c.Banned(PEER, "")
    assert await store.execute(condemnation()) == c.Banned(PEER, "", repeat=True)
    await store.close()
    store = await open_store(path)
    assert [(ban.node_id, ban.key_id) for ban in await store.bans()] == [(PEER, "")]
    assert [record.presignature_id for record in await store.presignatures()] == [bytes([3]) * 32]
    assert await store.get_pair_setup(PEER, KIND) is None
    assert await store.get_pair_setup("party-3", KIND) is not None
    assert await store.execute(pair_setup(generation=2)) == p.PeerIsBanned(PEER)
    assert await store.execute(presignatures(4, node_ids=QUORUM)) == p.PeerIsBanned(PEER)
    lift = p.LiftBan(PEER, "the node was replaced", NOW_MS)
    assert await store.execute(lift) == p.BanLifted(PEER)
    assert await store.execute(lift) == p.NotBanned(PEER)
    assert await store.execute(pair_setup(generation=1)) == p.PairConflict(PEER, KIND, 1)
    assert await store.execute(pair_setup(generation=2)) == p.PairStored(PEER, KIND)
    assert await store.execute(condemnation()) == c.Banned(PEER, "")
    await blobs(store, path)


@pytest.mark.parametrize("change", ["later set-up", "destroyed set-up", "later epoch", "deleted share", "key", "all"])
async def test_what_voids_presignatures(store: SqliteShareStore, path: Path, change: str) -> None:
    """Each of these leaves none that could be burned, and no envelope."""
    await make_key(store, "key_2")
    await store.execute(pair_setup())
    await store.execute(presignatures(1, 2, node_ids=QUORUM))
    command: c.Command[object] = {
        "later set-up": pair_setup(generation=2, setup_id=OTHER),
        "destroyed set-up": p.DestroyPairSetup(PEER, KIND, "stale", NOW_MS),
        "later epoch": c.DeleteShares("op_1", "key_2", 1, NOW_MS),
        "deleted share": c.DeleteShares("op_1", "key_2", 7, NOW_MS),
        "key": s.VoidPresignatures("by hand", NOW_MS, key_id="key_2"),
        "all": s.VoidPresignatures("restart", NOW_MS),
    }[change]
    await store.execute(command)
    assert await store.presignatures() == ()
    await blobs(store, path)


async def test_voiding_spares_what_it_does_not_name(store: SqliteShareStore) -> None:
    """Another key's, another peer's."""
    await make_key(store, "key_2")
    await store.execute(presignatures(1, node_ids=QUORUM))
    assert await store.execute(s.VoidPresignatures("x", NOW_MS, key_id="key_1")) == s.Voided(0)
    assert await store.execute(s.VoidPresignatures("x", NOW_MS, node_id="party-20")) == s.Voided(0)
    assert await store.execute(s.VoidPresignatures("x", NOW_MS, node_id=PEER)) == s.Voided(1)


def test_malformed_commands_cannot_be_made() -> None:
    """Ids, sizes and counts are checked where a command is made."""
    with pytest.raises(ValueError, match="generation"):
        pair_setup(generation=0)
    with pytest.raises(ValueError, match="setup_id"):
        pair_setup(setup_id=bytes(31))
    with pytest.raises(ValueError, match="pairs"):
        p.BeginPairChecks(SESSION, (), NOW_MS)
    with pytest.raises(ValueError, match="twice"):
        presignatures(1, 1)
    with pytest.raises(ValueError, match="twice"):
        s.BurnPresignatures("op_1", SESSION, (SESSION, SESSION), "key_1", NOW_MS)
    with pytest.raises(ValueError, match="path"):
        s.StorePresignatures("key_1", 1, (2**31,), QUORUM, KIND, NOW_MS, ((SESSION, secrets.token_bytes(8)),))
