"""Sending the same bytes again until they are settled or can never be.

Leaders drop transactions under load, so a node's "accepted" means little. Only the bytes that were submitted are ever
repeated: the network takes a message at most once, so repeating cannot spend twice, and nothing here builds another.
"""

import asyncio
from dataclasses import dataclass

from keyquorum_plugin_api.chain import Clock, Logger
from keyquorum_plugin_api.errors import ChainUnavailable
from keyquorum_sol.node import STATUSES_MAX, SolanaNode
from keyquorum_sol.rpc import NoAnswer, NodeError

PENDING_MAX = 10_000  # transactions repeated at a time; about 1.5 KiB each
REPEAT_S_MAX = 180.0  # where no last valid height or no commitment is known; 150 blocks take about 60 s


@dataclass(frozen=True, slots=True)
class _Pending:
    raw: bytes
    last_valid_block_height: int | None
    until: float  # monotonic seconds


class Broadcaster:
    """Repeats what it is given, in one task that lives while there is something to repeat."""

    def __init__(
        self, node: SolanaNode, clock: Clock, log: Logger, *, interval_s: float, settled: frozenset[str]
    ) -> None:
        self._node = node
        self._clock = clock
        self._log = log
        self._interval_s = interval_s
        self._settled = settled
        self._pending: dict[str, _Pending] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def add(self, txid: str, raw: bytes, last_valid_block_height: int | None) -> None:
        """Repeat ``raw`` until it is settled or expired."""
        if self._closed or txid in self._pending:
            return
        if len(self._pending) >= PENDING_MAX:
            self._log.warning("solana.rebroadcast_full", pending=len(self._pending))
            return
        self._pending[txid] = _Pending(raw, last_valid_block_height, self._clock.monotonic() + REPEAT_S_MAX)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="keyquorum-sol-rebroadcast")

    def follows(self, txid: str) -> bool:
        """Whether the transaction was submitted here and may still be included."""
        return txid in self._pending

    async def close(self) -> None:
        """Stop repeating."""
        self._closed = True
        self._pending.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._pending:
            await self._clock.sleep(self._interval_s)
            try:
                await self._repeat()
            except ChainUnavailable as error:
                self._log.warning("solana.rebroadcast_failed", reason=error.detail)

    async def _repeat(self) -> None:
        # The view of height is taken first: a status read after it knows every block up to that height.
        view = await self._node.epoch_info()
        txids = list(self._pending)
        for start in range(0, len(txids), STATUSES_MAX):
            batch = txids[start : start + STATUSES_MAX]
            found = await self._node.statuses(batch)
            for txid, status in zip(batch, found.statuses, strict=True):
                pending = self._pending.get(txid)
                if pending is None:
                    continue
                if status is None and not self._expired(pending, view.block_height):
                    await self._send(pending.raw)
                elif status is None or status.commitment in self._settled or self._overdue(pending):
                    del self._pending[txid]

    def _expired(self, pending: _Pending, height: int) -> bool:
        if pending.last_valid_block_height is not None:
            return height > pending.last_valid_block_height
        return self._overdue(pending)

    def _overdue(self, pending: _Pending) -> bool:
        return self._clock.monotonic() > pending.until

    async def _send(self, raw: bytes) -> None:
        try:
            await self._node.send(raw, preflight=False)
        except (NodeError, NoAnswer) as error:
            self._log.warning("solana.rebroadcast_refused", reason=str(error))
