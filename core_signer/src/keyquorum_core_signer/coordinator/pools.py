"""Which presignatures the parties say they have, and which of them are still to be had.

Names only: what they stand for never leaves the parties, who also see to it that each is used once. What is kept here
decides how fast a signature comes, and nothing else: a name that is stale costs a second attempt.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from keyquorum_protos.party.v1 import party_pb2

POOLS_MAX: Final = 4096  # per party; a party that names more loses its oldest here
NAMES_MAX: Final = 4096  # of one pool
HANDED_MAX: Final = 65_536  # names handed out that a late report must not bring back
NAME_BYTES: Final = 32

Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What presignatures are for."""

    key_id: str
    epoch: int
    path: Path
    node_ids: tuple[str, ...]


@dataclass(slots=True)
class Pools:
    """All parties' reports."""

    _reports: dict[str, OrderedDict[PoolKey, dict[bytes, None]]] = field(default_factory=dict)
    _handed: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    def report(self, node_id: str, pool: party_pb2.PresignaturePool) -> None:
        """A party says what it has in one pool."""
        reports = self._reports.setdefault(node_id, OrderedDict())
        key = PoolKey(pool.key_id, pool.epoch, tuple(pool.path), tuple(pool.node_ids))
        reports.pop(key, None)
        names = dict.fromkeys(name for name in pool.presignature_ids[:NAMES_MAX] if len(name) == NAME_BYTES)
        if names:
            reports[key] = names
        if len(reports) > POOLS_MAX:
            reports.popitem(last=False)

    def forget(self, node_id: str) -> None:
        """A party's link is down: it says it all again when it is back."""
        self._reports.pop(node_id, None)

    def stocked(self, key_id: str, epoch: int, paths: Sequence[Path], node_ids: Sequence[str]) -> bool:
        """Whether a quorum has a presignature for each of ``paths``."""
        return bool(self._choose(key_id, epoch, paths, node_ids))

    def take(self, key_id: str, epoch: int, paths: Sequence[Path], node_ids: Sequence[str]) -> tuple[bytes, ...]:
        """One name per path, which nobody is given again; none at all where one lacks."""
        names = self._choose(key_id, epoch, paths, node_ids)
        for name in names:
            self._handed[name] = None
            if len(self._handed) > HANDED_MAX:
                self._handed.popitem(last=False)
        return names

    def _choose(self, key_id: str, epoch: int, paths: Sequence[Path], node_ids: Sequence[str]) -> tuple[bytes, ...]:
        chosen: dict[bytes, None] = {}
        for path in paths:
            name = self._first(PoolKey(key_id, epoch, path, tuple(node_ids)), chosen)
            if name is None:
                return ()
            chosen[name] = None
        return tuple(chosen)

    def _first(self, pool: PoolKey, chosen: dict[bytes, None]) -> bytes | None:
        """The oldest name that every party of the quorum has, and that is not spoken for."""
        reports = [self._reports[node_id].get(pool, {}) for node_id in pool.node_ids if node_id in self._reports]
        if not reports or len(reports) < len(pool.node_ids):
            return None
        first, *others = reports
        for name in first:
            if name not in chosen and name not in self._handed and all(name in other for other in others):
                return name
        return None
