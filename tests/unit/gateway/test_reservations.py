"""Reservations: one owner per item, durable, and over by themselves in the end."""

import asyncio

from keyquorum_gateway.state.database import Database
from keyquorum_gateway.state.reservations import StoredReservations


async def test_an_item_has_one_owner(tmp_path):
    """Of many that ask at once, one gets it; its owner extends, others wait for its release or its end."""
    database = Database(tmp_path / "x.db")
    now = 1000.0
    reservations = StoredReservations(database, lambda: now)
    answers = await asyncio.gather(
        *(reservations.reserve("toy:main", "acc", "nonce-1", f"owner-{i}", 10) for i in range(20))
    )
    assert sum(answers) == 1
    winner = f"owner-{answers.index(True)}"
    assert await reservations.held("toy:main", "acc") == {"nonce-1": winner}
    assert await reservations.held("toy:main", "other") == {}
    await reservations.release("toy:main", "acc", "nonce-1", "somebody else")
    assert not await reservations.reserve("toy:main", "acc", "nonce-1", "late", 10)
    now = 1005.0
    assert await reservations.reserve("toy:main", "acc", "nonce-1", winner, 10)
    now = 1014.9
    assert not await reservations.reserve("toy:main", "acc", "nonce-1", "late", 10)
    now = 1015.1
    assert await reservations.held("toy:main", "acc") == {}
    assert await reservations.reserve("toy:main", "acc", "nonce-1", "late", 10)
    await reservations.release("toy:main", "acc", "nonce-1", "late")
    assert await reservations.reserve("toy:main", "acc", "nonce-1", "later", 10)
    await database.close()


async def test_reservations_survive_a_restart(tmp_path):
    """Two builds on both sides of one never use the same thing."""
    first = Database(tmp_path / "x.db")
    assert await StoredReservations(first).reserve("c", "a", "i", "before", 60)
    await first.close()
    second = Database(tmp_path / "x.db")
    assert not await StoredReservations(second).reserve("c", "a", "i", "after", 60)
    await second.close()
