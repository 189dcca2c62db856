"""The plugin API's reservations, durable: a coin or a nonce that is held by one transaction at a time."""

import time
from collections.abc import Callable, Mapping

import apsw

from keyquorum_gateway.state.database import Database


class StoredReservations:
    """Implements ``keyquorum_plugin_api.chain.Reservations`` over the database. ``now`` is in seconds since the epoch."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    async def reserve(self, chain: str, account: str, item: str, owner: str, ttl_s: float) -> bool:
        """Whether ``owner`` now holds ``item``. Reserving again extends; an expired reservation is free."""
        now_ms = int(self._now() * 1000)
        expires_ms = now_ms + int(ttl_s * 1000)

        def command(connection: apsw.Connection) -> bool:
            connection.execute(
                "INSERT INTO reservations VALUES (?, ?, ?, ?, ?) ON CONFLICT (chain, account, item) DO UPDATE"
                " SET owner = excluded.owner, expires_ms = excluded.expires_ms"
                " WHERE reservations.owner = excluded.owner OR reservations.expires_ms <= ?",
                (chain, account, item, owner, expires_ms, now_ms),
            )
            return bool(connection.changes())

        return await self._database.write(command)

    async def release(self, chain: str, account: str, item: str, owner: str) -> None:
        """Give ``item`` back; nothing happens where somebody else holds it."""

        def command(connection: apsw.Connection) -> None:
            connection.execute(
                "DELETE FROM reservations WHERE chain = ? AND account = ? AND item = ? AND owner = ?",
                (chain, account, item, owner),
            )

        await self._database.write(command)

    async def held(self, chain: str, account: str) -> Mapping[str, str]:
        """Item to owner, for what is held now."""
        rows = self._database.read(
            "SELECT item, owner FROM reservations WHERE chain = ? AND account = ? AND expires_ms > ?",
            (chain, account, int(self._now() * 1000)),
        )
        return {str(item): str(owner) for item, owner in rows}
