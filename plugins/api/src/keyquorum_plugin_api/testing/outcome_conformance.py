"""What becomes of a payment when something goes wrong: funds that are gone, fees, lost answers, dropped blocks, settings."""

import asyncio
from dataclasses import replace

from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.errors import (
    FeeTooHigh,
    FeeTooLow,
    InsufficientFunds,
    InvalidConfiguration,
    NonceConflict,
    OutcomeUnknown,
    TransactionRejected,
)
from keyquorum_plugin_api.testing.codec_conformance import built, transfer_intent
from keyquorum_plugin_api.testing.evidence import Suite
from keyquorum_plugin_api.testing.optional import (
    ConfigurableTarget,
    DocumentTarget,
    FeeTarget,
    ForgetfulTarget,
    RejectingTarget,
    ReorganisingTarget,
)
from keyquorum_plugin_api.testing.scenes import (
    FUNDS,
    PATIENCE_S,
    RANK,
    STEPS_MAX,
    amounts,
    collected,
    confirmed,
    funded_intent,
    nothing_reserved,
    opened,
)
from keyquorum_plugin_api.testing.signer import LocalSigner
from keyquorum_plugin_api.testing.target import ChainTarget

STEP_S = 0.05  # between two looks at what an adapter has noticed
NOT_INCLUDED = frozenset({TransactionState.UNKNOWN, TransactionState.PENDING})
SECRET = "a-token-that-nobody-may-see"  # noqa: S105 no secret of anybody


class OutcomeConformance(Suite):
    """Outcomes, and the claims of the adapter about its codec."""

    async def test_claims_are_those_of_the_codec(self, target: ChainTarget) -> None:
        """Memos, messages and structured documents: claimed by the adapter if and only if the codec writes them."""
        account = target.account(0).account
        async with opened(target, 0) as adapter:
            if self.claims(adapter, "memo"):
                assert target.memo
                assert [e.detail for e in built(target).effects if e.detail] == [target.memo]
                self.exercised("memo")
            else:
                with self.unclaimed("memo"):
                    target.codec.build(transfer_intent(target, memo="memo"), target.metadata)
            if self.claims(adapter, "message"):
                unsigned = target.codec.build_message(account, target.chain, "I own this account.")
                assert (await adapter.sign(unsigned)).txid
                self.exercised("message")
            else:
                with self.unclaimed("message"):
                    target.codec.build_message(account, target.chain, "I own this account.")
            if not self.claims(adapter, "typed_data"):
                with self.unclaimed("typed_data"):
                    target.codec.build_typed_data(account, target.chain, "{}")
            elif isinstance(target, DocumentTarget):
                unsigned = target.codec.build_typed_data(account, target.chain, target.document)
                assert (await adapter.sign(unsigned)).txid
                self.exercised("typed_data")
            else:
                raise AssertionError("typed_data is claimed, and the target has no document (DocumentTarget)")

    async def test_funds_are_spent_once(self, target: ChainTarget) -> None:
        """Of two payments that an account can make only one of, one is made, and the other refused or failed."""
        payer = target.account(70)
        intent = replace(transfer_intent(target), source=payer.account, amount=FUNDS * target.amount * 6 // 10)
        async with opened(target, 70) as adapter, asyncio.timeout(4 * PATIENCE_S):
            (held,) = await adapter.get_balances(payer.account.address)
            if held.amount < FUNDS * target.amount:
                await target.fund(payer.account.address, FUNDS * target.amount - held.amount)
            before = await amounts(adapter, intent)
            first = await adapter.build_transfer(intent, {})
            try:
                second = await adapter.build_transfer(intent, {})
            except InsufficientFunds as error:  # where funds are reserved, no second one is built
                self.evidence.codes.add(error.code)
                second = None
            signed = await adapter.sign(first)
            await adapter.submit(signed)
            other = None if second is None else await adapter.sign(second)
            refusal = None
            if other is not None and second is not None:
                try:
                    await adapter.submit(other)
                except (InsufficientFunds, TransactionRejected, NonceConflict) as error:
                    self.evidence.codes.add(error.code)
                    refusal = error
                    await adapter.discard(second)
            assert (await confirmed(target, adapter, signed, first)).state is TransactionState.CONFIRMED
            if other is not None and second is not None and refusal is None:
                for _ in range(3):
                    await target.advance()
                status = await adapter.get_status(other.txid, second)
                assert status.state not in (TransactionState.INCLUDED, TransactionState.CONFIRMED)
            assert (await amounts(adapter, intent))[1] - before[1] == intent.amount

    async def test_fees_have_bounds(self, target: ChainTarget) -> None:
        """More than the configured ceiling is refused before anything is signed; too little, at the latest by the node."""
        if not isinstance(target, FeeTarget):
            for code in (FeeTooHigh.code, FeeTooLow.code):
                self.not_run(f"error:{code}", "the target names no options for fees (FeeTarget)")
            return
        async with opened(target, 0) as adapter:
            intent = await funded_intent(target, adapter)
            if target.fee_too_high:
                with self.refused(FeeTooHigh):
                    await adapter.build_transfer(intent, target.fee_too_high)
                await nothing_reserved(target, intent)
            else:
                self.not_run(f"error:{FeeTooHigh.code}", "no option of this adapter asks for a higher fee")
            if not target.fee_too_low:
                self.not_run(f"error:{FeeTooLow.code}", "no option of this adapter asks for a lower fee")
                return
            before = await amounts(adapter, intent)
            unsigned = None
            with self.refused(FeeTooLow):
                unsigned = await adapter.build_transfer(intent, target.fee_too_low)
                await adapter.submit(await adapter.sign(unsigned))
            if unsigned is not None:
                await adapter.discard(unsigned)
            await nothing_reserved(target, intent)
            await target.advance()
            assert await amounts(adapter, intent) == before

    async def test_unknown_settings_are_refused(self, target: ChainTarget) -> None:
        """A table with a key that nobody reads is a mistake of an operator; its values are not repeated."""
        if not isinstance(target, ConfigurableTarget):
            self.not_run(f"error:{InvalidConfiguration.code}", "the target changes no settings (ConfigurableTarget)")
            return
        with self.refused(InvalidConfiguration) as refusal:
            adapter = await target.configured(LocalSigner(target.codec, []), {"unheard_of": SECRET})
            await adapter.close()
        assert SECRET not in str(refusal.error)

    async def test_what_a_node_refuses_is_refused_for_good(self, target: ChainTarget) -> None:
        """The node says no to bytes that nothing is wrong with here: nothing moves, and nobody waits for it."""
        if not isinstance(target, RejectingTarget):
            self.not_run(f"error:{TransactionRejected.code}", "the target has no such bytes (RejectingTarget)")
            return
        async with opened(target, 0) as adapter:
            intent = await funded_intent(target, adapter)
            before = await amounts(adapter, intent)
            signed = await target.rejected()
            with self.refused(TransactionRejected):
                await adapter.submit(signed)
            await target.advance()
            assert await amounts(adapter, intent) == before
            assert (await adapter.get_status(signed.txid)).state is TransactionState.UNKNOWN

    async def test_lost_answers_are_no_licence_to_pay_again(self, target: ChainTarget) -> None:
        """The node took it and its answer was lost: the outcome is unknown, and the same bytes are still good."""
        if not isinstance(target, ForgetfulTarget):
            self.not_run(f"error:{OutcomeUnknown.code}", "the target's node loses no answers (ForgetfulTarget)")
            return
        async with opened(target, 0) as adapter, asyncio.timeout(2 * PATIENCE_S):
            intent = await funded_intent(target, adapter)
            before = await amounts(adapter, intent)
            unsigned = await adapter.build_transfer(intent, {})
            signed = await adapter.sign(unsigned)
            forgetful = await target.forgetful(LocalSigner(target.codec, [target.account(0)]))
            try:
                with self.refused(OutcomeUnknown):
                    await forgetful.submit(signed)
            finally:
                await forgetful.close()
            assert await adapter.submit(signed) == signed.txid
            assert (await confirmed(target, adapter, signed, unsigned)).state is TransactionState.CONFIRMED
            assert (await amounts(adapter, intent))[1] - before[1] == intent.amount

    async def test_dropped_blocks_lead_back_and_forward_again(self, target: ChainTarget) -> None:
        """A payment whose block is dropped is not confirmed any more; submitted again, it is paid once."""
        if not isinstance(target, ReorganisingTarget):
            self.not_run("property:dropped-blocks", "the target cannot drop blocks (reorganise)")
            return
        async with opened(target, 0) as adapter, asyncio.timeout(4 * PATIENCE_S):
            intent = await funded_intent(target, adapter)
            before = await amounts(adapter, intent)
            unsigned = await adapter.build_transfer(intent, {})
            signed = await adapter.sign(unsigned)
            follower = asyncio.create_task(collected(adapter.stream_status(signed.txid, unsigned)))
            await adapter.submit(signed)
            status = await adapter.get_status(signed.txid, unsigned)
            for _ in range(STEPS_MAX):
                if RANK[status.state] >= RANK[TransactionState.INCLUDED]:
                    break
                await target.advance()
                status = await adapter.get_status(signed.txid, unsigned)
            assert status.state is TransactionState.INCLUDED or status.reversible
            await target.reorganise()
            while status.state not in NOT_INCLUDED:
                await asyncio.sleep(STEP_S)
                status = await adapter.get_status(signed.txid, unsigned)
            assert await adapter.submit(signed) == signed.txid
            while not follower.done():
                await target.advance()
                await asyncio.wait([follower], timeout=0.02)
            last = follower.result()[-1]
            assert (last.state, last.reversible) == (TransactionState.CONFIRMED, False)
            assert (await amounts(adapter, intent))[1] - before[1] == intent.amount
