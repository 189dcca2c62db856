"""Replacing and cancelling what was broadcast: one of both is included, never both."""

import asyncio
from dataclasses import replace

from keyquorum_plugin_api.chain import ChainAdapter, TransactionState
from keyquorum_plugin_api.codec import SignedTransaction, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.effects import require_cancellation, require_transfer
from keyquorum_plugin_api.errors import ChainError, Expired, FeeTooLow, NonceConflict, TransactionRejected
from keyquorum_plugin_api.testing.codec_conformance import built, transfer_intent
from keyquorum_plugin_api.testing.evidence import Suite
from keyquorum_plugin_api.testing.scenes import PATIENCE_S, amounts, confirmed, funded_intent, opened
from keyquorum_plugin_api.testing.target import ChainTarget

SUPERSEDED = (NonceConflict, TransactionRejected, Expired, FeeTooLow)
INCLUDED = frozenset({TransactionState.INCLUDED, TransactionState.CONFIRMED})


class ReplacementConformance(Suite):
    """``replace`` and ``cancel``."""

    async def test_replacement_pays_once_for_a_higher_fee(self, target: ChainTarget) -> None:
        """The same transfer in the place of a pending one: the recipient is paid once, by the newer."""
        async with opened(target, 0) as adapter, asyncio.timeout(4 * PATIENCE_S):
            if not self.claims(adapter, "replace"):
                with self.unclaimed("replace"):
                    await adapter.build_replacement(transfer_intent(target), built(target), {})
                return
            intent, unsigned, signed = await _pending(target, adapter)
            before = await amounts(adapter, intent)
            for other in (
                replace(intent, amount=intent.amount + 1),
                replace(intent, destination=target.account(2).account.address),
            ):
                with self.refused(ChainError, what="another transfer"):
                    await adapter.build_replacement(other, unsigned, {})
            replacement = await adapter.build_replacement(intent, unsigned, {})
            fee = require_transfer(intent, replacement.effects)
            assert fee > require_transfer(intent, unsigned.effects)
            _require_exclusive(target, replacement, unsigned)
            newer = await adapter.sign(replacement)
            assert newer.txid != signed.txid
            assert await adapter.submit(newer) == newer.txid
            assert (await confirmed(target, adapter, newer, replacement)).state is TransactionState.CONFIRMED
            after = await amounts(adapter, intent)
            assert after[1] - before[1] == intent.amount
            assert intent.amount < before[0] - after[0] <= intent.amount + fee
            await self._superseded(adapter, signed, unsigned)
            with self.refused(ChainError, what="a transfer that is settled"):
                await adapter.build_replacement(intent, unsigned, {})
            assert await amounts(adapter, intent) == after
            self.exercised("replace")

    async def test_cancellation_moves_nothing(self, target: ChainTarget) -> None:
        """In the place of a pending transfer: the recipient gets nothing, and the source pays a fee alone."""
        async with opened(target, 0) as adapter, asyncio.timeout(4 * PATIENCE_S):
            if not self.claims(adapter, "cancel"):
                with self.unclaimed("cancel"):
                    await adapter.build_cancellation(target.account(0).account, built(target), {})
                return
            intent, unsigned, signed = await _pending(target, adapter)
            before = await amounts(adapter, intent)
            with self.refused(ChainError, what="another account"):
                await adapter.build_cancellation(target.account(2).account, unsigned, {})
            cancellation = await adapter.build_cancellation(intent.source, unsigned, {})
            fee = require_cancellation(intent.source, cancellation.effects)
            assert fee > require_transfer(intent, unsigned.effects)
            _require_exclusive(target, cancellation, unsigned)
            newer = await adapter.sign(cancellation)
            assert await adapter.submit(newer) == newer.txid
            assert (await confirmed(target, adapter, newer, cancellation)).state is TransactionState.CONFIRMED
            after = await amounts(adapter, intent)
            assert after[1] == before[1]
            assert 0 < before[0] - after[0] <= fee
            await self._superseded(adapter, signed, unsigned)
            assert await amounts(adapter, intent) == after
            self.exercised("cancel")

    async def test_other_payments_are_not_excluded(self, target: ChainTarget) -> None:
        """The codec tells two payments, which may both be included, from two versions of one."""
        async with opened(target, 0) as adapter:
            intent = await funded_intent(target, adapter)
            first, second = [await adapter.build_transfer(intent, {}) for _ in range(2)]
            assert not target.codec.excludes(first.payload, second.payload, target.chain)
            for unsigned in (first, second):
                await adapter.discard(unsigned)

    async def _superseded(
        self, adapter: ChainAdapter, signed: SignedTransaction, unsigned: UnsignedTransaction
    ) -> None:
        """What was replaced is not included, and cannot be any more."""
        assert (await adapter.get_status(signed.txid, unsigned)).state not in INCLUDED
        with self.refused(*SUPERSEDED):
            await adapter.submit(signed)


async def _pending(
    target: ChainTarget, adapter: ChainAdapter
) -> tuple[TransferIntent, UnsignedTransaction, SignedTransaction]:
    """A transfer that was submitted, and that no block holds yet."""
    intent = await funded_intent(target, adapter)
    unsigned = await adapter.build_transfer(intent, {})
    signed = await adapter.sign(unsigned)
    await adapter.submit(signed)
    assert (await adapter.get_status(signed.txid, unsigned)).state not in INCLUDED
    return intent, unsigned, signed


def _require_exclusive(target: ChainTarget, newer: UnsignedTransaction, older: UnsignedTransaction) -> None:
    """The codec explains the newer payload, and shows that only one of both can be included."""
    found = target.codec.decode(newer.payload, target.chain, [target.account(0).account])
    assert (found.requests, found.effects) == (newer.requests, newer.effects)
    for one, other in ((newer, older), (older, newer)):
        assert target.codec.excludes(one.payload, other.payload, target.chain) is True
