"""Rolling windows against operations that are admitted more than once: what may leave now has to fit into today's window."""

from dataclasses import replace
from pathlib import Path

import pytest

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store.ports import Claimed
from keyquorum_core_signer.store.projections import differing_tables
from keyquorum_core_signer.store.schema import open_reader
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from support.share_store import ASSET, NOW_MS, admission, make_key

WINDOW_S = 60
CAP = 1000
LATER_MS = NOW_MS + 1000 * WINDOW_S + 1


async def reserved(store: SqliteShareStore, now_ms: int) -> int:
    return (await store.spending("key_1", ASSET, WINDOW_S, now_ms)).reserved


def spend(amount: int = CAP, now_ms: int = NOW_MS) -> c.AdmitOperation:
    return admission(amount=amount, window_cap=CAP, window_s=WINDOW_S, now_ms=now_ms)


@pytest.mark.parametrize("claimed", [True, False])
async def test_reservations_of_the_past_are_not_saved_up(store: SqliteShareStore, *, claimed: bool) -> None:
    """An operation whose window is over leaves only if the window of today has room for it."""
    await make_key(store)
    saved = spend()
    assert isinstance(await store.execute(saved), c.Admitted)
    if claimed:  # its last message was sent, and withheld by whoever carried it
        assert isinstance(store.claim_emission(saved.op_id, NOW_MS), Claimed)
    assert isinstance(await store.execute(spend(now_ms=LATER_MS)), c.Admitted)
    again = replace(saved, now_ms=LATER_MS + 1)
    assert await store.execute(again) == c.LimitExceeded(saved.op_id, ASSET, CAP, CAP, CAP)


async def test_an_operation_admitted_again_counts_from_now(store: SqliteShareStore, path: Path) -> None:
    """The reservation moves: it is counted once, for a whole window from its latest admission on."""
    await make_key(store)
    admit = spend()
    await store.execute(admit)
    half_ms = NOW_MS + 500 * WINDOW_S
    assert await store.execute(replace(admit, now_ms=half_ms)) == c.Admitted(
        admit.op_id, c.OperationState.RESERVED, repeat=True
    )
    assert await reserved(store, half_ms) == CAP
    assert isinstance(await store.execute(spend(amount=1, now_ms=LATER_MS)), c.LimitExceeded)
    assert isinstance(await store.execute(spend(amount=1, now_ms=half_ms + 1000 * WINDOW_S + 1)), c.Admitted)
    reader = open_reader(path)
    assert differing_tables(reader) == ()
    reader.close()


async def test_a_moved_reservation_is_given_back_whole(store: SqliteShareStore) -> None:
    """Nothing of an earlier place stays behind."""
    await make_key(store)
    admit = spend()
    await store.execute(admit)
    await store.execute(replace(admit, now_ms=NOW_MS + 1000))
    assert isinstance(await store.execute(c.ReleaseReservation(admit.op_id, NOW_MS + 1000)), c.Released)
    assert await reserved(store, NOW_MS + 1000) == 0


async def test_an_emission_recorded_stays_recorded(store: SqliteShareStore) -> None:
    """Moving a reservation does not make it one that may be given back."""
    await make_key(store)
    admit = spend()
    await store.execute(admit)
    await store.execute(c.MarkEmitted(admit.op_id, NOW_MS))
    again = await store.execute(replace(admit, now_ms=NOW_MS + 1000))
    assert again == c.Admitted(admit.op_id, c.OperationState.EMITTED, repeat=True)
    assert isinstance(await store.execute(c.ReleaseReservation(admit.op_id, NOW_MS + 1000)), c.NotReleasable)
    assert await reserved(store, NOW_MS + 1000) == CAP


async def test_nothing_leaves_on_an_admission_that_is_not_durable(store: SqliteShareStore) -> None:
    """A session left over from a released reservation hears no until the new reservation is committed."""
    await make_key(store)
    admit = spend()
    await store.execute(admit)
    await store.execute(c.ReleaseReservation(admit.op_id, NOW_MS))
    heard: list[object] = []

    def before_commit() -> bool:
        heard.append(store.claim_emission(admit.op_id, NOW_MS))
        return False

    store._ledger.connection.set_commit_hook(before_commit)
    await store.execute(admit)
    assert heard == [c.NotAdmitted(admit.op_id)]
    assert isinstance(store.claim_emission(admit.op_id, NOW_MS), Claimed)
