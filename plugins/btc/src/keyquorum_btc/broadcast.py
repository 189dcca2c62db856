"""Sending the same bytes again until they are buried or can never be included.

A mempool forgets under load and after two weeks, and a dropped block's transactions do not always return to it. Only the
bytes that were submitted are ever repeated: a coin is spent at most once, so repeating cannot pay twice.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from keyquorum_btc.node import BlockRef, Outpoint
from keyquorum_btc.nodes import Nodes
from keyquorum_btc.submission import Submission, Submitter
from keyquorum_btc.transport import NoAnswer, Refused
from keyquorum_plugin_api.chain import Clock, Logger
from keyquorum_plugin_api.errors import ChainUnavailable

PENDING_MAX = 10_000  # transactions repeated at a time; about 1 KiB each
AT_ONCE = 8  # of them looked at together
REPEAT_S_MAX = 15 * 24 * 3600.0  # a day longer than nodes keep what waits


@dataclass(frozen=True, slots=True)
class _Pending:
    submission: Submission
    until: float  # monotonic seconds


class Broadcaster:
    """Repeats what it is given, in one task that lives while there is something to repeat."""

    def __init__(
        self,
        nodes: Nodes,
        submitter: Submitter,
        clock: Clock,
        log: Logger,
        *,
        interval_s: float,
        final_confirmations: int,
    ) -> None:
        self._nodes = nodes
        self._submitter = submitter
        self._clock = clock
        self._log = log
        self._interval_s = interval_s
        self._final_confirmations = final_confirmations
        self._pending: dict[str, _Pending] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def add(self, submission: Submission) -> None:
        """Repeat it until it is final or can never be."""
        if self._closed or submission.txid in self._pending:
            return
        if len(self._pending) >= PENDING_MAX:
            self._log.warning("bitcoin.rebroadcast_full", pending=len(self._pending))
            return
        self._pending[submission.txid] = _Pending(submission, self._clock.monotonic() + REPEAT_S_MAX)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="keyquorum-btc-rebroadcast")

    def follows(self, txid: str) -> bool:
        """Whether the transaction was submitted here and may still be included."""
        return txid in self._pending

    def spends(self, txid: str) -> Sequence[Outpoint]:
        """What a transaction spends that was submitted here."""
        pending = self._pending.get(txid)
        return () if pending is None else pending.submission.outpoints

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
                tip = await self._nodes.tip()
                pending = list(self._pending.values())
                for first in range(0, len(pending), AT_ONCE):
                    await asyncio.gather(*(self._look(each, tip) for each in pending[first : first + AT_ONCE]))
            except ChainUnavailable as error:
                self._log.warning("bitcoin.rebroadcast_failed", reason=error.detail)

    async def _look(self, pending: _Pending, tip: BlockRef) -> None:
        submission = pending.submission
        found = await self._nodes.ask(lambda node: node.transaction(submission.txid))
        if found is None:
            conflict = await self._submitter.conflict(submission.outpoints, submission.txid)
            if self._clock.monotonic() <= pending.until and (conflict is None or not conflict[1]):
                if conflict is None:
                    await self._send(submission)
                return
        elif found.block is None or tip.height - found.block.height + 1 < self._final_confirmations:
            return
        self._pending.pop(submission.txid, None)

    async def _send(self, submission: Submission) -> None:
        for node in await self._nodes.each():
            try:
                await node.broadcast(submission.raw)
            except (Refused, NoAnswer) as error:
                self._log.warning("bitcoin.rebroadcast_refused", reason=str(error))
