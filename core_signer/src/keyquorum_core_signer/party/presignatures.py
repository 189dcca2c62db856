"""This party's stock of presignatures.

Each is sealed under a key that this process drew when it started and never writes down, and the store keeps the
envelope until it is burned. So a presignature is used once, because the store gives it out once; and none outlives the
process, whatever becomes of the disk: an old image of the store brings back envelopes that nothing opens.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.party.metrics import PRESIGNATURES, PRESIGNATURES_BURNED, PRESIGNATURES_MADE
from keyquorum_core_signer.party.refusal import INTERNAL, QUORUM_UNAVAILABLE, Refusal
from keyquorum_core_signer.store import presignature_commands
from keyquorum_core_signer.store.ports import ShareStore

PROTOCOL: Final = "dkls23"
VOIDED_AT_ONCE: Final = 256
REPORT_S: Final = (
    0.2  # after a burn; a coordinator that is not told hands a name out once more, and hears that it is gone
)
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Pool:
    """What presignatures are for: one path of one epoch of a key, and exactly these signers, in the roster's order."""

    key_id: str
    epoch: int
    path: tuple[int, ...]
    node_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Burned:
    """Presignatures that nobody can get again; in the order in which they were asked for."""

    uses: tuple[tuple[bytes, bytes], ...] = field(repr=False)  # id, envelope
    key: jobs.ShareKey


class Presignatures:
    """Pools of one party, over all of its links."""

    def __init__(self, store: ShareStore, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._process_key = secrets.token_bytes(_KEY_BYTES)
        self._pools: dict[Pool, dict[bytes, None]] = {}
        self._burned_from: set[Pool] = set()
        self._listeners: set[Callable[[Pool], object]] = set()

    async def open(self) -> None:
        """Void what an earlier process left: the key that opens it is gone."""
        await self._store.execute(
            presignature_commands.VoidPresignatures(reason="the process started anew", now_ms=self._now_ms())
        )
        await self.reload()

    async def reload(self) -> None:
        """Look again at what the store holds: a ban or a new epoch voids pools there."""
        pools: dict[Pool, dict[bytes, None]] = {}
        for record in await self._store.presignatures():
            pool = Pool(record.key_id, record.epoch, record.path, record.node_ids)
            pools.setdefault(pool, {})[record.presignature_id] = None
        emptied = self._pools.keys() - pools.keys()
        self._pools = pools
        for pool in (*pools, *emptied):
            self._tell(pool)

    def pools(self) -> tuple[Pool, ...]:
        """All that hold something."""
        return tuple(self._pools)

    def stock(self, pool: Pool) -> tuple[bytes, ...]:
        """Ids, oldest first."""
        return tuple(self._pools.get(pool, ()))

    def listen(self, changed: Callable[[Pool], object]) -> None:
        """Have ``changed`` called whenever a pool is another."""
        self._listeners.add(changed)

    def unlisten(self, changed: Callable[[Pool], object]) -> None:
        """No longer."""
        self._listeners.discard(changed)

    def key(self, key_id: str, epoch: int) -> jobs.ShareKey:
        """What seals the presignatures of a key in this process."""
        return jobs.ShareKey(
            user_id="",
            key_id=key_id,
            scheme=f"presignature:{PROTOCOL}",
            epoch=epoch,
            version=1,
            kek_id="process",
            wrapped_key=b"",
            data_key=self._process_key,
        )

    async def store(self, pool: Pool, made: jobs.MadePresignatures) -> None:
        """Keep what a presigning made; :class:`Refusal` where the store does not take it, and then all are lost."""
        outcome = await self._store.execute(
            presignature_commands.StorePresignatures(
                key_id=pool.key_id,
                epoch=pool.epoch,
                path=pool.path,
                node_ids=pool.node_ids,
                protocol=PROTOCOL,
                entries=made.presignatures,
                now_ms=self._now_ms(),
            )
        )
        if not isinstance(outcome, presignature_commands.PresignaturesStored):
            raise Refusal(QUORUM_UNAVAILABLE, f"the presignatures are not taken: {type(outcome).__name__}")
        self._pools.setdefault(pool, {}).update(dict.fromkeys(name for name, _ in made.presignatures))
        PRESIGNATURES_MADE.inc(len(made.presignatures))
        self._tell(pool)

    def held_with(self, node_id: str) -> tuple[bytes, ...]:
        """Ids of what a peer has a part in."""
        return tuple(name for pool, stock in self._pools.items() if node_id in pool.node_ids for name in stock)

    async def drop(self, node_id: str, held: frozenset[bytes], length: int) -> None:
        """Void what a peer has a part in and does not hold; ``held`` are the first ``length`` bytes of ids."""
        useless = [name for name in self.held_with(node_id) if name[:length] not in held]
        for at in range(0, len(useless), VOIDED_AT_ONCE):
            names = tuple(useless[at : at + VOIDED_AT_ONCE])
            reason = f"{node_id} does not hold its part"
            await self._store.execute(
                presignature_commands.VoidPresignatures(reason=reason, now_ms=self._now_ms(), presignature_ids=names)
            )
        if useless:
            await self.reload()

    async def burn(
        self, op_id: str, session_id: bytes, pools: Iterable[Pool], presignature_ids: tuple[bytes, ...]
    ) -> Burned:
        """Take presignatures for an admitted operation, all or none, each from the pool at its place.

        They are gone before this returns, whatever becomes of the signatures. :class:`Refusal` where one is not here or
        is for something else.
        """
        named = tuple(pools)
        if any(name not in self._pools.get(pool, ()) for pool, name in zip(named, presignature_ids, strict=True)):
            raise _unavailable()
        key = self.key(named[0].key_id, named[0].epoch)
        outcome = await self._store.execute(
            presignature_commands.BurnPresignatures(
                op_id=op_id,
                session_id=session_id,
                presignature_ids=presignature_ids,
                key_id=key.key_id,
                now_ms=self._now_ms(),
            )
        )
        for pool, name in zip(named, presignature_ids, strict=True):
            self._pools.get(pool, {}).pop(name, None)
        self._tell_later(named)
        if not isinstance(outcome, presignature_commands.Burned):
            raise _unavailable()
        if len(outcome.sealed) != len(presignature_ids):
            raise Refusal(INTERNAL, "the store gave another number of presignatures")
        PRESIGNATURES_BURNED.inc(len(presignature_ids))
        return Burned(tuple(zip(presignature_ids, outcome.sealed, strict=True)), key)

    def _tell_later(self, pools: Iterable[Pool]) -> None:
        """What is burned is told of together: whoever named it knows, and a report holds the whole pool."""
        if not self._burned_from:
            asyncio.get_running_loop().call_later(REPORT_S, self._tell_burned)
        self._burned_from.update(pools)

    def _tell_burned(self) -> None:
        pools, self._burned_from = self._burned_from, set()
        for pool in pools:
            self._tell(pool)

    def _tell(self, pool: Pool) -> None:
        if not self._pools.get(pool, True):
            del self._pools[pool]
        PRESIGNATURES.set(sum(len(stock) for stock in self._pools.values()))
        for changed in list(self._listeners):
            changed(pool)


def _unavailable() -> Refusal:
    return Refusal(
        QUORUM_UNAVAILABLE, "a presignature that was named is not in stock", rule="presignature", retriable=True
    )
