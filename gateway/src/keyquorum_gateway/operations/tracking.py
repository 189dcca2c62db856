"""Follows transactions on their chains: broadcasts stored bytes until a node has them, then watches until the end.

Only bytes that are already stored are broadcast, so that a crash at any point leads to the same bytes again. What a
transaction's end is, its chain says: a node that is down or answers oddly changes nothing. A confirmation that a
reorganisation may undo is followed on, and taken back where one does.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import structlog

from keyquorum_gateway.adapter_calls import READ_S, SUBMIT_S, AdapterFailed, adapter_call
from keyquorum_gateway.bounds import BROADCAST_RETRY_S, FOLLOW_RETRY_S
from keyquorum_gateway.chains import Chains, ReadyChain
from keyquorum_gateway.flags.chain_flags import ChainFlags
from keyquorum_gateway.problems import Failure, OperationFailed, Problem, failure_of
from keyquorum_gateway.state.database import Database, StateUnavailable
from keyquorum_gateway.state.transactions import Transaction, Transactions, TransactionState, save_transaction
from keyquorum_gateway.telemetry import Metrics
from keyquorum_plugin_api.chain import TransactionState as ChainState
from keyquorum_plugin_api.chain import TransactionStatus
from keyquorum_plugin_api.codec import SignedTransaction
from keyquorum_plugin_api.errors import ChainError, ChainUnavailable, Expired, OutcomeUnknown

BROADCAST_S: Final = 120.0
"""How long an operation waits for a node to take its bytes; the tracker goes on after that."""

_TEXT_CHARS_MAX: Final = 500

_KNOWN: Final = frozenset({ChainState.PENDING, ChainState.INCLUDED, ChainState.CONFIRMED, ChainState.FAILED})
_UNDONE: Final = frozenset({ChainState.UNKNOWN, ChainState.PENDING, ChainState.INCLUDED})
_ENDS: Final = {
    ChainState.CONFIRMED: TransactionState.CONFIRMED,
    ChainState.FAILED: TransactionState.FAILED,
    ChainState.EXPIRED: TransactionState.EXPIRED,
}


@dataclass(slots=True)
class _Tracked:
    transaction: Transaction
    submitted: "asyncio.Future[Transaction]"
    seen: bool = False  # a node has told of it
    dropped: bool = False  # no node has it any more: a reorganisation, a full memory pool, a restart
    pause_s: float = FOLLOW_RETRY_S[0]
    task: "asyncio.Task[None] | None" = field(default=None)


class TransactionTracker:
    """One task per transaction whose end is not known."""

    def __init__(
        self, database: Database, transactions: Transactions, chains: Chains, flags: ChainFlags, metrics: Metrics
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._chains = chains
        self._flags = flags
        self._metrics = metrics
        self._tracked: dict[str, _Tracked] = {}
        self._log: Any = structlog.get_logger("keyquorum_gateway.tracking")

    async def broadcast(self, transaction: Transaction) -> Transaction:
        """Have a node take the signed bytes; the submitted transaction.

        Raises ``ChainError`` where the node refuses them for good, :class:`OperationFailed` ``outcome-unknown`` where no
        node could be asked for :data:`BROADCAST_S`. The bytes are followed to their end either way.
        """
        stored = self._transactions.get(transaction.id) or transaction
        if transaction.id not in self._tracked and not stored.followed:  # it ended before a restart, or meanwhile
            if stored.error is not None:
                raise OperationFailed(stored.error.code, stored.error.detail)
            return stored
        submitted = self.track(stored)
        try:
            async with asyncio.timeout(BROADCAST_S):
                return await asyncio.shield(submitted)
        except TimeoutError:
            raise OperationFailed("outcome-unknown", "no node took the bytes yet; they are tried on") from None

    def track(self, transaction: Transaction) -> "asyncio.Future[Transaction]":
        """Follow a signed or submitted transaction; the future tells when a node has it."""
        known = self._tracked.get(transaction.id)
        if known is None:
            known = _Tracked(transaction, asyncio.get_running_loop().create_future())
            known.submitted.add_done_callback(_seen)
            self._tracked[transaction.id] = known
            known.task = asyncio.create_task(self._follow(known), name=transaction.id)
        return known.submitted

    def recover(self) -> int:
        """Take up every stored transaction whose end is not known; how many."""
        found = self._transactions.in_flight()
        for transaction in found:
            self.track(transaction)
            self._tracked[transaction.id].seen = transaction.state is not TransactionState.SIGNED
        return len(found)

    async def close(self) -> None:
        """Stop; what is stored is taken up at the next start."""
        tasks = [tracked.task for tracked in self._tracked.values() if tracked.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, tracked: _Tracked) -> None:
        """Whoever waits for the transaction learns of every way in which this ends."""
        try:
            await self._to_its_end(tracked)
        except Exception:  # noqa: BLE001 - logged, and told to whoever waits
            self._log.exception("tracking.failed", transaction_id=tracked.transaction.id)
            if not tracked.submitted.done():
                unknown = OperationFailed("outcome-unknown", "the transaction is not followed until the next start")
                tracked.submitted.set_exception(unknown)
        finally:
            self._tracked.pop(tracked.transaction.id, None)
            if not tracked.submitted.done():
                tracked.submitted.cancel()

    async def _to_its_end(self, tracked: _Tracked) -> None:
        try:
            if tracked.transaction.state is TransactionState.SIGNED:
                await self._broadcast_until_known(tracked)
            if not tracked.submitted.done():
                tracked.submitted.set_result(tracked.transaction)
            await self._watch_until_ended(tracked)
        except ChainError as refusal:
            await self._end_refused(tracked, refusal)

    async def _broadcast_until_known(self, tracked: _Tracked) -> None:
        """Send the same bytes until a node has them; raises the ``ChainError`` with which one refuses them for good."""
        transaction, pause = tracked.transaction, BROADCAST_RETRY_S[0]
        signed = SignedTransaction(transaction.transfer.chain, transaction.raw, transaction.txid)
        while True:
            await self._flags.until_allowed(transaction.transfer.chain, tenant_id=transaction.tenant_id, at="broadcast")
            try:
                chain = self._ready(transaction)
                async with adapter_call(chain.chain, "submit", SUBMIT_S):
                    await chain.adapter.submit(signed)
                break
            except (ChainUnavailable, OutcomeUnknown, AdapterFailed):
                pass
            except ChainError:
                status = await self._ask(transaction)
                if status is not None and status.state in _KNOWN:
                    break
                if status is not None:  # else nobody can tell whether an earlier try of these bytes is in a block
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, BROADCAST_RETRY_S[1])
        await self._save(tracked, state=TransactionState.SUBMITTED)

    async def _watch_until_ended(self, tracked: _Tracked) -> None:
        while True:
            try:
                chain = self._ready(tracked.transaction)
                if tracked.dropped and self._may_broadcast(tracked.transaction):
                    await self._send_again(tracked, chain)
                async with adapter_call(chain.chain, "stream_status", None):
                    if await self._stream(tracked, chain):
                        return
            except ChainError as error:
                self._log.info("tracking.retry", transaction_id=tracked.transaction.id, reason=error.code)
            await asyncio.sleep(tracked.pause_s)
            tracked.pause_s = min(tracked.pause_s * 2, FOLLOW_RETRY_S[1])

    async def _stream(self, tracked: _Tracked, chain: ReadyChain) -> bool:
        """Note what the adapter streams; whether it came to the end. An adapter's generator is closed, however it is left."""
        stream = chain.adapter.stream_status(tracked.transaction.txid, tracked.transaction.unsigned)
        try:
            async for status in stream:
                if status.state is not ChainState.UNKNOWN:
                    tracked.pause_s = FOLLOW_RETRY_S[0]
                if await self._note(tracked, status):
                    return True
                if tracked.dropped:
                    return False
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
        return False

    async def _send_again(self, tracked: _Tracked, chain: ReadyChain) -> None:
        """Give a node the same bytes again. Whatever it says, the transaction is followed on: what refuses it now may be
        dropped by the next reorganisation."""
        transaction = tracked.transaction
        signed = SignedTransaction(transaction.transfer.chain, transaction.raw, transaction.txid)
        try:
            async with adapter_call(chain.chain, "submit", SUBMIT_S):
                await chain.adapter.submit(signed)
        except (ChainUnavailable, OutcomeUnknown):
            raise
        except ChainError as refusal:
            self._log.info("tracking.refused_again", transaction_id=transaction.id, reason=refusal.code)
        tracked.dropped = False

    async def _note(self, tracked: _Tracked, status: TransactionStatus) -> bool:
        """Store what the chain says; whether it is the end."""
        transaction, status = tracked.transaction, _storable(status)
        chain, end = transaction.transfer.chain, _ENDS.get(status.state)
        changes: dict[str, Any] = {
            "confirmations": status.confirmations,
            "block": status.block,
            "detail": status.detail,
            "state": end or transaction.state,
            "reversible": end is not None and status.reversible,
            "error": None,
        }
        if transaction.reversible and status.state in _UNDONE:
            changes["state"] = TransactionState.SUBMITTED
            self._metrics.reorganised.labels(chain).inc()
            self._log.warning("tracking.reorganised", transaction_id=transaction.id, chain=chain)
        elif end is TransactionState.FAILED:
            changes["error"] = Failure("transaction-rejected", status.detail or "its effect was refused", "included")
        elif end is TransactionState.EXPIRED:
            changes["error"] = Failure("transaction-expired", status.detail or "it was never included", "submitted")
        known = status.state is not ChainState.UNKNOWN
        tracked.dropped = not known and (tracked.seen or transaction.reversible)
        tracked.seen = tracked.seen or known
        if any(getattr(transaction, name) != value for name, value in changes.items()):
            await self._save(tracked, **changes)
        if end is not None and end is not transaction.state:
            self._metrics.transactions.labels(chain, end).inc()
        return end is not None and not status.reversible

    async def _end_refused(self, tracked: _Tracked, refusal: ChainError) -> None:
        state = TransactionState.EXPIRED if isinstance(refusal, Expired) else TransactionState.FAILED
        await self._save(tracked, state=state, error=failure_of(refusal, "broadcasting"))
        self._metrics.transactions.labels(tracked.transaction.transfer.chain, state).inc()
        if not tracked.submitted.done():
            tracked.submitted.set_exception(refusal)

    async def _ask(self, transaction: Transaction) -> TransactionStatus | None:
        """What the chain knows of the transaction; None where it cannot be asked."""
        with suppress(ChainError):
            chain = self._ready(transaction)
            async with adapter_call(chain.chain, "get_status", READ_S):
                return _storable(await chain.adapter.get_status(transaction.txid, transaction.unsigned))
        return None

    def _may_broadcast(self, transaction: Transaction) -> bool:
        """Whether to send bytes that were dropped again: not against a kill, nor against what its client put in its place."""
        other = self._transactions.replacement(transaction.id)
        if other is not None and other.raw and (other.followed or other.state is TransactionState.CONFIRMED):
            return False
        return self._flags.allows(transaction.transfer.chain, tenant_id=transaction.tenant_id, at="broadcast")

    def _ready(self, transaction: Transaction) -> ReadyChain:
        try:
            return self._chains.configured(transaction.transfer.chain).ready()
        except Problem as problem:
            raise ChainUnavailable(problem.detail) from None

    async def _save(self, tracked: _Tracked, **changes: Any) -> None:
        tracked.transaction = replace(tracked.transaction, updated_ms=time.time_ns() // 1_000_000, **changes)
        save: Callable[[Any], None] = partial(save_transaction, transaction=tracked.transaction)
        pause = BROADCAST_RETRY_S[0]
        while True:  # a disk that is full now must not make this state older than what its client was told
            try:
                return await self._database.write(save)
            except StateUnavailable as error:
                self._log.error("tracking.not_saved", transaction_id=tracked.transaction.id, reason=error.detail)
            await asyncio.sleep(pause)
            pause = min(pause * 2, BROADCAST_RETRY_S[1])


def _storable(status: TransactionStatus) -> TransactionStatus:
    """A status that can be stored and read again; ``ChainError`` for one whose adapter broke its contract."""
    if not isinstance(status, TransactionStatus):
        raise ChainError("the adapter's status is not one")
    texts = (status.block, status.detail)
    if (
        not isinstance(status.state, ChainState)
        or type(status.confirmations) is not int
        or not 0 <= status.confirmations < 2**63
        or not all(isinstance(text, str) for text in texts)
    ):
        raise ChainError("the adapter's status is not one")
    block, detail = (text.encode("utf-8", "replace").decode()[:_TEXT_CHARS_MAX] for text in texts)
    return replace(status, block=block, detail=detail)


def _seen(future: "asyncio.Future[Transaction]") -> None:
    """Whoever waits gets the exception; where nobody does, it is not an error of the loop."""
    if not future.cancelled():
        future.exception()
