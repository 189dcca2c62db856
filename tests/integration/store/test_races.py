"""Many at once: one intent per id, limits that do not leak, releases and emissions that exclude one another."""

import asyncio
import threading

from keyquorum_core_signer.store import commands as c
from keyquorum_core_signer.store.emissions import Claim, Emissions
from keyquorum_core_signer.store.limits import QUEUE_COMMANDS_MAX
from keyquorum_core_signer.store.ports import Claimed, StoreBusy
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from support.share_store import ASSET, NOW_MS, admission, make_key

RIVALS = 10_000


async def test_ten_thousand_intents_for_one_id_admit_exactly_one(store: SqliteShareStore) -> None:
    """Of all intents that a dishonest initiator signs under one nonce, one is admitted, and all others learn which."""
    await make_key(store)
    rivals = [admission(nonce=bytes(32), intent=number.to_bytes(4, "big")) for number in range(RIVALS)]
    gate = asyncio.Semaphore(QUEUE_COMMANDS_MAX - 1)

    async def attempt(command: c.AdmitOperation) -> c.AdmitOutcome:
        async with gate:
            return await store.execute(command)

    outcomes = await asyncio.gather(*map(attempt, rivals))
    winners = [rival for rival, outcome in zip(rivals, outcomes, strict=True) if isinstance(outcome, c.Admitted)]
    assert len(winners) == 1
    expected = {winners[0].intent_hash}
    assert {outcome.recorded for outcome in outcomes if isinstance(outcome, c.Conflict)} == expected
    assert sum(isinstance(outcome, c.Conflict) for outcome in outcomes) == RIVALS - 1


async def test_hundred_uses_of_one_operation_reserve_once(store: SqliteShareStore) -> None:
    """The same intent from all sides at once is one admission and 99 repeats."""
    await make_key(store)
    admit = admission(amount=10)
    outcomes = await asyncio.gather(*(store.execute(admit) for _ in range(100)))
    assert sorted(outcome.repeat for outcome in outcomes if isinstance(outcome, c.Admitted)) == [False] + [True] * 99
    assert (await store.spending("key_1", ASSET, 3600, NOW_MS)).reserved == 10


async def test_hundred_concurrent_spends_never_exceed_the_cap(store: SqliteShareStore) -> None:
    """Reservation and check are one step: exactly as many fit as the limit allows."""
    await make_key(store)
    outcomes = await asyncio.gather(*(store.execute(admission(amount=30)) for _ in range(100)))
    assert sum(isinstance(outcome, c.Admitted) for outcome in outcomes) == 1000 // 30
    assert sum(isinstance(outcome, c.LimitExceeded) for outcome in outcomes) == 100 - 1000 // 30
    assert (await store.spending("key_1", ASSET, 3600, NOW_MS)).reserved == 990


async def test_release_and_emission_exclude_one_another(store: SqliteShareStore) -> None:
    """Whichever comes first wins, for every operation: never both, and what was emitted stays reserved."""
    await make_key(store)
    both = emitted = 0
    for number in range(200):
        admit = admission(amount=1)
        await store.execute(admit)
        releasing = asyncio.create_task(store.execute(c.ReleaseReservation(admit.op_id, NOW_MS)))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        claimed = isinstance(store.claim_emission(admit.op_id, NOW_MS), Claimed)
        released = isinstance(await releasing, c.Released)
        assert claimed != released
        both += claimed and released
        emitted += claimed
    assert both == 0
    assert (await store.spending("key_1", ASSET, 3600, NOW_MS)).reserved == emitted


def test_claims_and_withdrawals_from_two_threads_exclude_one_another() -> None:
    """The lock, without the store around it: twenty thousand races, no double win."""
    emissions, ops = Emissions(), [f"op_{number}" for number in range(20_000)]
    for op_id in ops:
        emissions.admit(op_id, NOW_MS, reserved_now=True)
    start, withdrawn = threading.Barrier(2), []

    def withdraw() -> None:
        start.wait()
        withdrawn.extend(emissions.withdraw(op_id) for op_id in ops)

    thread = threading.Thread(target=withdraw)
    thread.start()
    start.wait()
    claimed = [emissions.claim(op_id, 0) is Claim.GRANTED for op_id in reversed(ops)]
    thread.join()
    wins = zip(withdrawn, reversed(claimed), strict=True)
    assert all(one != other for one, other in wins)


async def test_full_queue_is_an_answer_and_not_a_wait(store: SqliteShareStore) -> None:
    """A caller beyond the bound hears StoreBusy at once; those within it are all served."""
    await make_key(store)
    outcomes = await asyncio.gather(
        *(store.execute(admission()) for _ in range(QUEUE_COMMANDS_MAX + 2000)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, StoreBusy)]
    assert refused
    assert len(refused) + sum(isinstance(outcome, c.Admitted) for outcome in outcomes) == len(outcomes)
    assert isinstance(await store.execute(admission()), c.Admitted)


async def test_readers_see_only_what_is_committed_and_do_not_wait(store: SqliteShareStore) -> None:
    """While writes pour in, reads answer, and never show half of a command."""
    await make_key(store)
    commands = [admission(amount=1) for _ in range(500)]
    writing = asyncio.gather(*map(store.execute, commands))
    reads = 0
    while not writing.done():
        head, lag = await store.head(), await store.projection_lag()
        assert lag == 0
        assert head.seq >= 3
        reads += 1
        await asyncio.sleep(0)
    await writing
    assert reads > 10
    assert (await store.head()).seq == 503
