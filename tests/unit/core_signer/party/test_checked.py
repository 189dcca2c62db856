"""What becomes of pairs when sessions end, on a real store: clean, with a failed check, or without a verdict."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.party.checked import Checks
from keyquorum_core_signer.party.conversation import SessionFailed
from keyquorum_core_signer.party.pairs import Pairs
from keyquorum_core_signer.party.refusal import Refusal
from keyquorum_core_signer.protocols.dkls23.errors import PAIR_COMPROMISED, PAIR_DESYNC, Desync
from keyquorum_core_signer.protocols.dkls23.presign import BanEvidence
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.runtime import events
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from keyquorum_core_signer.wire.codec import plain
from support.intents import cell
from support.share_store import NOW_MS, SETUP, make_key, open_store, pair_setup, presignatures

PEERS = ("party-2", "party-3")
SESSION = bytes([5]) * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is, for its owner alone."""
    tmp_path.chmod(0o700)
    return tmp_path / "shares.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteShareStore]:
    """Party 1, paired with both others, with presignatures for each quorum."""
    made = await open_store(path)
    await make_key(made, "key_2")
    for number, peer in enumerate(PEERS, start=1):
        await made.execute(pair_setup(peer))
        await made.execute(presignatures(number, node_ids=("party-1", peer)))
    yield made
    await made.close()


@pytest.fixture
async def pairs(store: SqliteShareStore) -> Pairs:
    """What a party makes of it when it starts."""
    made = Pairs("party-1", cell().roster, store, cast("Any", None), lambda: NOW_MS)
    await made.open()
    return made


def checks(pairs: Pairs, *peers: str) -> Checks:
    """A session with these peers."""
    roster = cell().roster
    halves = tuple(jobs.PairHalf(roster.node(peer).index, SETUP, cast("Any", None)) for peer in peers)
    return Checks(pairs, roster, SESSION, "op_1", halves)


def pending(*peers: str) -> bytes:
    """The session's checkpoint."""
    return jobs.encode(jobs.PendingPairs(tuple((cell().roster.node(peer).index, SETUP) for peer in peers)))


async def notes(store: SqliteShareStore) -> dict[str, tuple[bool, bytes]]:
    """Per peer whether its set-up lives, and whose checks are noted."""
    return {record.node_id: (record.living, record.pending) for record in await store.pair_setups()}


async def run(watched: Checks, checkpoint: bytes, error: BaseException | None) -> None:
    """A session that comes to its checkpoint, and ends."""
    async with watched.watched():
        await watched.begin(checkpoint)
        if error is not None:
            raise error


async def test_a_clean_session_leaves_no_note(store: SqliteShareStore, pairs: Pairs) -> None:
    """While it runs it is noted; after it nothing is."""
    watched = checks(pairs, *PEERS)
    async with watched.watched():
        await watched.begin(pending(*PEERS))
        assert await notes(store) == dict.fromkeys(PEERS, (True, SESSION))
    assert await notes(store) == dict.fromkeys(PEERS, (True, b""))


async def test_a_failed_check_bans_destroys_and_voids(store: SqliteShareStore, pairs: Pairs) -> None:
    """The cheat alone; and whatever else runs with it is told to end."""
    ended: list[str] = []
    evidence = plain.encode(BanEvidence("mu", bytes(32), ((PartyId(3), 1, SETUP),)))
    failed = SessionFailed(events.Failed(PAIR_COMPROMISED, "mu", (3,), "", evidence))
    with (
        pairs.attending(["party-1", "party-3"], lambda: ended.append("with the cheat")),
        pairs.attending(["party-1", "party-2"], lambda: ended.append("with another")),
        pytest.raises(SessionFailed),
    ):
        await run(checks(pairs, *PEERS), pending(*PEERS), failed)
    assert ended == ["with the cheat"]
    assert await notes(store) == {"party-2": (True, b""), "party-3": (False, b"")}
    assert [record.node_ids for record in await store.presignatures()] == [("party-1", "party-2")]
    with pytest.raises(Refusal, match="banned"):
        pairs.require_unbanned(["party-1", "party-3"])
    pairs.require_unbanned(["party-1", "party-2"])
    assert not pairs.lacking("party-3"), "a banned peer is not paired with"
    again = Pairs("party-1", cell().roster, store, cast("Any", None), lambda: NOW_MS)
    await again.open()
    assert again.banned == {"party-3"}


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        TimeoutError(),
        SessionFailed(events.Failed(events.WORKER_LOST)),
        SessionFailed(events.Failed(events.INTERNAL)),
        Refusal("quorum-unavailable", "no channel"),
    ],
    ids=["called off", "deadline", "worker lost", "bug", "refused"],
)
async def test_without_a_verdict_the_set_up_is_destroyed(
    store: SqliteShareStore, pairs: Pairs, error: BaseException
) -> None:
    """Nobody is banned, and the pair is lacking: it is made anew."""
    with pytest.raises(type(error)):
        await run(checks(pairs, "party-2"), pending("party-2"), error)
    assert await notes(store) == {"party-2": (False, b""), "party-3": (True, b"")}
    assert pairs.banned == frozenset()
    assert pairs.lacking("party-2")
    assert not pairs.lacking("party-3")


@pytest.mark.parametrize("code", [events.PROTOCOL_ABORT, PAIR_DESYNC])
async def test_a_verdict_that_is_about_something_else_costs_nothing(
    store: SqliteShareStore, pairs: Pairs, code: str
) -> None:
    """A wrong signature share, an echo that differs: the checks themselves had passed, or had not run."""
    with pytest.raises(SessionFailed):
        await run(checks(pairs, "party-2"), pending("party-2"), SessionFailed(events.Failed(code)))
    assert await notes(store) == dict.fromkeys(PEERS, (True, b""))


@pytest.mark.parametrize(("differing", "lacks"), [(("setup",), True), (("generation",), True), (("epoch",), False)])
async def test_a_peer_with_another_set_up_is_paired_with_again(
    pairs: Pairs, differing: tuple[str, ...], *, lacks: bool
) -> None:
    """Only where it is the set-up that differs; nothing is destroyed for what a peer merely says."""
    evidence = Desync([(PartyId(2), differing)]).evidence
    watched = checks(pairs, "party-2")
    with pytest.raises(SessionFailed):
        async with watched.watched():
            raise SessionFailed(events.Failed(PAIR_DESYNC, evidence=evidence))
    assert pairs.lacking("party-2") is lacks
    assert await pairs.halves([]) == ()


async def test_a_session_checks_the_pairs_that_it_was_given(store: SqliteShareStore, pairs: Pairs) -> None:
    """Not fewer, not others."""
    for wrong in (pending("party-2"), pending("party-3"), pending()):
        watched = checks(pairs, *PEERS)
        with pytest.raises(Refusal, match="other pairs"):
            await run(watched, wrong, None)
    assert await notes(store) == dict.fromkeys(PEERS, (True, b""))
