"""Payloads that were built elsewhere, and fees that another account pays."""

import asyncio
from dataclasses import replace

from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.codec import EffectKind
from keyquorum_plugin_api.effects import require_transfer
from keyquorum_plugin_api.errors import ChainError, InvalidPayload, NonceConflict
from keyquorum_plugin_api.testing.codec_conformance import built, transfer_intent
from keyquorum_plugin_api.testing.evidence import Suite
from keyquorum_plugin_api.testing.scenes import (
    FUNDS,
    PATIENCE_S,
    amounts,
    confirmed,
    funded_intent,
    nothing_reserved,
    opened,
)
from keyquorum_plugin_api.testing.target import ChainTarget


class ImportConformance(Suite):
    """``import``."""

    async def test_imported_payloads_are_what_was_asked_for(self, target: ChainTarget) -> None:
        """A payload that makes exactly the wanted transfer is signed and confirmed as if it had been built here."""
        async with opened(target, 0) as adapter, asyncio.timeout(4 * PATIENCE_S):
            if not self.claims(adapter, "import"):
                with self.unclaimed("import"):
                    await adapter.import_transfer(transfer_intent(target), built(target).payload)
                return
            intent = await funded_intent(target, adapter)
            unsigned = await adapter.build_transfer(intent, {})
            await adapter.discard(unsigned)
            for payload in (b"", b"\x00", unsigned.payload[:-1], unsigned.payload + b"\x00"):
                with self.refused(InvalidPayload, what=payload.hex()):
                    await adapter.import_transfer(intent, payload)
            for other in (
                replace(intent, amount=intent.amount + 1),
                replace(intent, destination=target.account(2).account.address),
                replace(intent, source=target.account(1).account, destination=intent.source.address),
            ):
                with self.refused(ChainError, what="another transfer"):
                    await adapter.import_transfer(other, unsigned.payload)
            await nothing_reserved(target, intent)
            before = await amounts(adapter, intent)
            imported = await adapter.import_transfer(intent, unsigned.payload)
            assert (imported.payload, imported.requests, imported.effects) == (
                unsigned.payload,
                unsigned.requests,
                unsigned.effects,
            )
            with self.refused(NonceConflict, what="what is reserved already"):
                await adapter.import_transfer(intent, unsigned.payload)
            signed = await adapter.sign(imported)
            await adapter.submit(signed)
            assert (await confirmed(target, adapter, signed, imported)).state is TransactionState.CONFIRMED
            assert (await amounts(adapter, intent))[1] - before[1] == intent.amount
            self.exercised("import")

    async def test_discarded_imports_hold_nothing(self, target: ChainTarget) -> None:
        """An import reserves as a build does, and gives back as one."""
        async with opened(target, 0) as adapter:
            if not self.claims(adapter, "import"):
                with self.unclaimed("import"):
                    await adapter.import_transfer(transfer_intent(target), b"")
                return
            intent = await funded_intent(target, adapter)
            unsigned = await adapter.build_transfer(intent, {})
            await adapter.discard(unsigned)
            for _ in range(2):
                await adapter.discard(await adapter.import_transfer(intent, unsigned.payload))
                await nothing_reserved(target, intent)


class FeePayerConformance(Suite):
    """``fee_payer``."""

    async def test_another_account_pays_the_fee(self, target: ChainTarget) -> None:
        """The source pays exactly the amount, the named account exactly the fee, and both have signed."""
        payer = target.account(2).account
        intent = replace(transfer_intent(target), fee_payer=payer)
        async with opened(target, 0, 2) as adapter, asyncio.timeout(4 * PATIENCE_S):
            if not self.claims(adapter, "fee_payer"):
                with self.unclaimed("fee_payer"):
                    target.codec.build(intent, target.metadata)
                await funded_intent(target, adapter)
                with self.unclaimed("fee_payer"):
                    await adapter.build_transfer(intent, {})
                await nothing_reserved(target, intent)
                return
            await funded_intent(target, adapter)
            await target.fund(payer.address, FUNDS * target.amount)
            before = await amounts(adapter, intent)
            (held,) = await adapter.get_balances(payer.address)
            unsigned = await adapter.build_transfer(intent, {})
            fee = require_transfer(intent, unsigned.effects)
            assert {e.source for e in unsigned.effects if e.kind is EffectKind.FEE} == {payer.address}
            assert {request.signer for request in unsigned.requests} == {intent.source.address, payer.address}
            for accounts in ([intent.source], [payer]):
                with self.refused(InvalidPayload, what="a payload that a stranger signs, too"):
                    target.codec.decode(unsigned.payload, target.chain, accounts)
            signed = await adapter.sign(unsigned)
            await adapter.submit(signed)
            assert (await confirmed(target, adapter, signed, unsigned)).state is TransactionState.CONFIRMED
            after = await amounts(adapter, intent)
            (left,) = await adapter.get_balances(payer.address)
            assert (before[0] - after[0], after[1] - before[1]) == (intent.amount, intent.amount)
            assert 0 < held.amount - left.amount <= fee
            self.exercised("fee_payer")
