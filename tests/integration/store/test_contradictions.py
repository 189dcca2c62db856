"""Commands that contradict what stands are answered, and cost nobody else the store."""

from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store import pair_commands as p
from keyquorum_core_signer.store.ports import StoreCorrupt, StoreUnavailable
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from keyquorum_core_signer.store.verify import verify_store
from support.share_store import KIND, NOW_MS, SETUP, admission, make_key, pair_setup

SESSION = bytes([1]) * 32
PEERS = ("party-2", "party-3")


def checks(*peers: str) -> p.BeginPairChecks:
    """Checks of a session that never has another id."""
    return p.BeginPairChecks(SESSION, tuple((peer, KIND, SETUP) for peer in peers), NOW_MS)


async def pending(store: SqliteShareStore) -> list[bytes]:
    return [record.pending for record in await store.pair_setups()]


@pytest.fixture
async def paired(store: SqliteShareStore) -> SqliteShareStore:
    await make_key(store)
    for peer in PEERS:
        await store.execute(pair_setup(peer))
    return store


async def test_a_session_begins_its_checks_once(paired: SqliteShareStore, path: Path) -> None:
    """Not with other pairs, not with fewer, not again when they are over; and the store goes on after each of these."""
    assert await paired.execute(checks("party-2")) == p.ChecksBegun()
    assert await paired.execute(checks("party-3")) == p.PairUnavailable("party-3")
    assert await paired.execute(checks(*PEERS)) == p.PairUnavailable("party-2")
    assert await pending(paired) == [SESSION, b""]
    await paired.execute(p.EndPairChecks(SESSION, NOW_MS))
    assert await paired.execute(checks("party-2")) == p.PairUnavailable("party-2")
    assert await paired.execute(checks("party-3")) == p.PairUnavailable("party-3")
    assert await pending(paired) == [b"", b""]
    assert paired.healthy
    await paired.close()
    assert verify_store(path).problems == ()


async def test_a_repeat_is_no_proof_once_a_pair_is_gone(paired: SqliteShareStore) -> None:
    """Of two pairs one is destroyed meanwhile: the session hears that, and not that its checks may run."""
    assert await paired.execute(checks(*PEERS)) == p.ChecksBegun()
    assert await paired.execute(checks(*PEERS)) == p.ChecksBegun(repeat=True)
    await paired.execute(p.DestroyPairSetup("party-3", KIND, "stale", NOW_MS))
    assert isinstance(await paired.execute(checks(*PEERS)), p.PairUnavailable)


def test_a_pair_is_named_once() -> None:
    """Two of one pair are no command."""
    with pytest.raises(ValueError, match="twice"):
        checks("party-2", "party-2")


async def test_a_contradicting_row_costs_its_own_command_only(paired: SqliteShareStore, path: Path) -> None:
    """An envelope that is there already cannot be kept again: that command fails alone, and nothing of it is left."""
    first = pair_setup("party-4")
    await paired.execute(first)
    before = await paired.pair_setups()
    with pytest.raises(StoreUnavailable, match="nothing was written"):
        await paired.execute(replace(first, node_id="party-5"))
    assert paired.healthy
    assert await paired.pair_setups() == before
    assert isinstance(await paired.execute(admission()), c.Admitted)
    await paired.close()
    assert verify_store(path).problems == ()


async def test_a_pardon_of_nobody_leaves_a_trace(paired: SqliteShareStore) -> None:
    """Whoever tries to lift a ban that does not stand is in the audit."""
    assert await paired.execute(p.LiftBan("party-2", "why not", NOW_MS)) == p.NotBanned("party-2")
    rows = await paired.audit(limit=500)
    assert (rows[-1].action, rows[-1].detail, rows[-1].event_hash) == ("refused-not-banned", "party-2", b"")


@pytest.mark.parametrize("change", ["UPDATE blobs SET data = zeroblob(64)", "DELETE FROM blobs"])
async def test_a_changed_half_is_not_given_out(paired: SqliteShareStore, path: Path, change: str) -> None:
    """Another envelope in its place, or none, is an error: neither a set-up nor the sign that there is none."""
    connection = apsw.Connection(str(path))
    connection.execute(change)
    connection.close()
    with pytest.raises(StoreCorrupt, match="set-up"):
        await paired.get_pair_setup("party-2", KIND)


@pytest.mark.parametrize("command", ["ban", "setup", "abandon"])
async def test_notes_of_a_pair_go_with_it(paired: SqliteShareStore, path: Path, command: str) -> None:
    """A ban, a later set-up and a new process each end what was pending; the session's end is a repeat then."""
    await paired.execute(checks("party-2"))
    await paired.execute(
        {
            "ban": c.BanPeer("op_1", "party-2", "", "bad row", bytes(32), NOW_MS),
            "setup": pair_setup("party-2", generation=2),
            "abandon": p.AbandonInterruptedChecks(NOW_MS),
        }[command]
    )
    assert await pending(paired) == [b"", b""]
    assert await paired.execute(p.EndPairChecks(SESSION, NOW_MS)) == p.ChecksEnded(repeat=True)
    await paired.close()
    assert verify_store(path).problems == ()
