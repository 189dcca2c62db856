"""Balances, transfers and their status: what every adapter must do on a running chain.

Each test funds accounts of its own, so that tests of one chain do not depend on each other.
"""

import asyncio
from dataclasses import replace

from keyquorum_plugin_api.chain import CAPABILITIES, TransactionState
from keyquorum_plugin_api.effects import require_transfer
from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    Expired,
    InsufficientFunds,
    InvalidAddress,
    InvalidAmount,
    SignatureInvalid,
    Unsupported,
    UnsupportedAsset,
)
from keyquorum_plugin_api.signer import SigningError
from keyquorum_plugin_api.testing.codec_conformance import message_of, transfer_intent
from keyquorum_plugin_api.testing.evidence import Suite
from keyquorum_plugin_api.testing.scenes import (
    FINAL,
    FUNDS,
    PATIENCE_S,
    RANK,
    STEPS_MAX,
    RefusingSigner,
    amounts,
    collected,
    confirmed,
    funded_intent,
    nothing_reserved,
    opened,
    unreachable,
)
from keyquorum_plugin_api.testing.signer import LocalAccount, LocalSigner
from keyquorum_plugin_api.testing.target import ChainTarget


class TransferConformance(Suite):
    """Each method is a test; ``target`` is a :class:`ChainTarget`. Account 0 pays account 1."""

    async def test_information_needs_no_node(self, target: ChainTarget) -> None:
        """What is served is known before anything is asked."""
        async with unreachable(target) as adapter:
            info = adapter.info()
            assert (info.chain, info.native_asset) == (target.chain, target.asset)
            assert info.name
            assert info.symbol
            assert info.decimals >= 0
            assert adapter.codec is type(target.codec)
            assert info.capabilities <= CAPABILITIES
            assert self.claims(adapter, "transfer")
            assert self.claims(adapter, "stream_status")

    async def test_health_states_facts(self, target: ChainTarget) -> None:
        """A healthy node says something about itself."""
        async with opened(target) as adapter:
            facts = await adapter.health()
            assert facts
            assert all(isinstance(value, str) for value in facts.values())

    async def test_unreachable_node_is_a_typed_error_in_time(self, target: ChainTarget) -> None:
        """Every call that needs the node says that it is away, and none hangs."""
        account = target.account(0).account
        unsigned = target.codec.build(transfer_intent(target), target.metadata)
        signed = target.codec.combine(unsigned, [target.account(0).sign(request) for request in unsigned.requests])
        async with unreachable(target) as adapter, asyncio.timeout(PATIENCE_S):
            with self.refused(ChainUnavailable):
                await adapter.health()
            with self.refused(ChainUnavailable):
                await adapter.get_balances(account.address)
            with self.refused(ChainUnavailable):
                await adapter.build_transfer(transfer_intent(target), {})
            with self.refused(ChainUnavailable):
                await adapter.submit(signed)
            with self.refused(ChainUnavailable):
                await adapter.get_status(signed.txid)
        assert not await target.reservations.held(target.chain, account.address)

    async def test_balances(self, target: ChainTarget) -> None:
        """Nothing at first, then what was sent; only known assets and valid addresses."""
        address = target.account(50).account.address
        async with opened(target) as adapter:
            (empty,) = await adapter.get_balances(address)
            assert (empty.asset, empty.amount) == (target.asset, 0)
            await target.fund(address, FUNDS * target.amount)
            (full,) = await adapter.get_balances(address, [target.asset])
            assert (full.asset, full.amount) == (target.asset, FUNDS * target.amount)
            assert (full.decimals, full.symbol) == (adapter.info().decimals, adapter.info().symbol)
            with self.refused(UnsupportedAsset):
                await adapter.get_balances(address, [f"{target.chain}/slip44:99999"])
            with self.refused(InvalidAddress):
                await adapter.get_balances(address[:8])

    async def test_transfer_moves_exactly_what_was_asked(self, target: ChainTarget) -> None:
        """Built, signed, submitted, confirmed: the amount arrives, and no more than the stated fee is gone."""
        async with opened(target, 0) as adapter:
            intent = await funded_intent(target, adapter)
            unsigned = await adapter.build_transfer(intent, {})
            fee = require_transfer(intent, unsigned.effects)
            found = target.codec.decode(unsigned.payload, target.chain, [intent.source])
            assert (found.requests, found.effects) == (unsigned.requests, unsigned.effects)
            before = await amounts(adapter, intent)
            signed = await adapter.sign(unsigned)
            assert await adapter.submit(signed) == signed.txid
            assert (await confirmed(target, adapter, signed, unsigned)).state is TransactionState.CONFIRMED
            after = await amounts(adapter, intent)
            assert after[1] - before[1] == intent.amount
            assert intent.amount < before[0] - after[0] <= intent.amount + fee
            self.exercised("transfer")

    async def test_submitting_again_changes_nothing(self, target: ChainTarget) -> None:
        """Before and after confirmation, by the same adapter and by one that has never seen the bytes."""
        async with opened(target, 0) as adapter, opened(target, 0) as another:
            intent = await funded_intent(target, adapter)
            before = await amounts(adapter, intent)
            unsigned = await adapter.build_transfer(intent, {})
            signed = await adapter.sign(unsigned)
            for again in (adapter, adapter, another):
                assert await again.submit(signed) == signed.txid
            await confirmed(target, adapter, signed, unsigned)
            for again in (adapter, another):
                assert await again.submit(signed) == signed.txid
            await target.advance()
            assert (await amounts(adapter, intent))[1] - before[1] == intent.amount

    async def test_status_only_moves_forward(self, target: ChainTarget) -> None:
        """Unknown before, then on its way, then confirmed, and so it stays."""
        async with opened(target, 0) as adapter:
            intent = await funded_intent(target, adapter)
            unsigned = await adapter.build_transfer(intent, {})
            signed = await adapter.sign(unsigned)
            assert (await adapter.get_status(signed.txid, unsigned)).state is TransactionState.UNKNOWN
            await adapter.submit(signed)
            seen = []
            for _ in range(STEPS_MAX):
                seen.append(await adapter.get_status(signed.txid, unsigned))
                if seen[-1].state is TransactionState.CONFIRMED:
                    break
                await target.advance()
            ranks = [RANK[status.state] for status in seen]
            assert ranks == sorted(ranks)
            assert ranks[-1] == RANK[TransactionState.CONFIRMED]
            assert {status.txid for status in seen} == {signed.txid}
            await target.advance()
            assert (await adapter.get_status(signed.txid)).state is TransactionState.CONFIRMED

    async def test_stream_tells_every_change_and_ends(self, target: ChainTarget) -> None:
        """A stream opened before the submission follows it to the end, and one opened after it ends at once."""
        async with opened(target, 0) as adapter, asyncio.timeout(PATIENCE_S):
            intent = await funded_intent(target, adapter)
            unsigned = await adapter.build_transfer(intent, {})
            signed = await adapter.sign(unsigned)
            follower = asyncio.create_task(collected(adapter.stream_status(signed.txid, unsigned)))
            await adapter.submit(signed)
            while not follower.done():
                await target.advance()
                await asyncio.wait([follower], timeout=0.02)
            told = follower.result()
            states = [status.state for status in told]
            assert states[-1] is TransactionState.CONFIRMED
            assert not told[-1].reversible
            assert all(status.state in FINAL for status in told if status.reversible)
            assert [RANK[state] for state in states] == sorted(RANK[state] for state in states)
            late = await collected(adapter.stream_status(signed.txid))
            assert [status.state for status in late] == [TransactionState.CONFIRMED]
            self.exercised("stream_status")

    async def test_stream_can_be_left(self, target: ChainTarget) -> None:
        """A client that goes away leaves nothing running."""
        async with opened(target, 0) as adapter, asyncio.timeout(PATIENCE_S):
            intent = await funded_intent(target, adapter)
            unsigned = await adapter.build_transfer(intent, {})
            signed = await adapter.sign(unsigned)
            follower = asyncio.create_task(collected(adapter.stream_status(signed.txid, unsigned)))
            await asyncio.sleep(0.05)
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)
            assert follower.cancelled()

    async def test_equal_transfers_are_two_payments(self, target: ChainTarget) -> None:
        """A client that asks twice is asked to pay twice: two builds of one intent never share what only one can use."""
        async with opened(target, 0) as adapter:
            intent = await funded_intent(target, adapter)
            before = await amounts(adapter, intent)
            built = await asyncio.gather(*(adapter.build_transfer(intent, {}) for _ in range(3)))
            assert len({unsigned.payload for unsigned in built}) == 3
            for unsigned in built:
                await adapter.submit(signed := await adapter.sign(unsigned))
                await confirmed(target, adapter, signed, unsigned)
            assert (await amounts(adapter, intent))[1] - before[1] == 3 * intent.amount

    async def test_funds_are_checked_before_anything_is_signed(self, target: ChainTarget) -> None:
        """An empty account, and more than an account has."""
        async with opened(target, 0) as adapter:
            empty = transfer_intent(target, source=target.account(60).account)
            with self.refused(InsufficientFunds):
                await adapter.build_transfer(empty, {})
            intent = await funded_intent(target, adapter)
            (balance,) = await adapter.get_balances(intent.source.address)
            for amount in (balance.amount, balance.amount + 1, 10**9 * balance.amount):
                with self.refused(InsufficientFunds, InvalidAmount, what=str(amount)):
                    await adapter.build_transfer(replace(intent, amount=amount), {})
            with self.refused(InsufficientFunds):
                await adapter.build_transfer(replace(intent, amount=balance.amount + 1), {})
            await nothing_reserved(target, intent)

    async def test_impossible_transfers_are_refused_for_the_right_reason(self, target: ChainTarget) -> None:
        """And reserve nothing."""
        async with opened(target, 0) as adapter:
            intent = await funded_intent(target, adapter)
            for amount in (0, -1, 2**256):
                with self.refused(InvalidAmount, what=str(amount)):
                    await adapter.build_transfer(replace(intent, amount=amount), {})
            for address in target.invalid_addresses:
                with self.refused(InvalidAddress, what=address):
                    await adapter.build_transfer(replace(intent, destination=address), {})
            with self.refused(UnsupportedAsset):
                await adapter.build_transfer(replace(intent, asset=f"{target.chain}/slip44:99999"), {})
            with self.refused(ChainError):
                await adapter.build_transfer(replace(intent, chain=target.other_chain), {})
            with self.refused(Unsupported):
                await adapter.build_transfer(intent, {"unheard_of": "1"})
            await nothing_reserved(target, intent)

    async def test_discarding_gives_back_what_was_reserved(self, target: ChainTarget) -> None:
        """A transaction that will never be signed holds nothing up."""
        async with opened(target, 0) as adapter:
            intent = await funded_intent(target, adapter)
            unsigned = await adapter.build_transfer(intent, {})
            await adapter.discard(unsigned)
            await nothing_reserved(target, intent)
            await adapter.discard(unsigned)

    async def test_refusal_of_the_signer_comes_through(self, target: ChainTarget) -> None:
        """With its code and operation, and without anything being sent."""
        async with opened(target, 0, signer=RefusingSigner()) as adapter:
            intent = await funded_intent(target, adapter)
            unsigned = await adapter.build_transfer(intent, {})
            with self.refused(SigningError):
                await adapter.sign(unsigned)
            before = await amounts(adapter, intent)
            await target.advance()
            assert await amounts(adapter, intent) == before

    async def test_wrong_signature_is_refused_before_it_is_sent(self, target: ChainTarget) -> None:
        """A signing side that answers with somebody else's signature gets nowhere."""
        other = target.account(1)
        wrong = LocalAccount(target.account(0).account, other.sign)
        async with opened(target, 0, signer=LocalSigner(target.codec, [wrong])) as adapter:
            intent = await funded_intent(target, adapter)
            unsigned = await adapter.build_transfer(intent, {})
            with self.refused(SignatureInvalid):
                await adapter.sign(unsigned)

    async def test_altered_bytes_are_not_submitted(self, target: ChainTarget) -> None:
        """Bytes that do not parse, do not verify or have another id are refused, and move nothing."""
        async with opened(target, 0) as adapter:
            intent = await funded_intent(target, adapter)
            unsigned = await adapter.build_transfer(intent, {})
            signed = await adapter.sign(unsigned)
            before = await amounts(adapter, intent)
            at = signed.raw.index(unsigned.payload) if unsigned.payload in signed.raw else len(signed.raw) // 2
            flipped = bytearray(signed.raw)
            flipped[at + 1] ^= 1
            wrongs = []
            if (message := message_of(target)) is not None:
                signatures = [target.account(0).sign(request) for request in message.requests]
                wrongs.append(target.codec.combine(message, signatures))
            for wrong in (
                replace(signed, raw=b""),
                replace(signed, raw=bytes(flipped)),
                replace(signed, raw=signed.raw[:-1]),
                replace(signed, raw=signed.raw + b"\x00"),
                replace(signed, txid=signed.txid[::-1]),
                replace(signed, chain=target.other_chain),
                *wrongs,
            ):
                with self.refused(ChainError):
                    await adapter.submit(wrong)
            await target.advance()
            assert await amounts(adapter, intent) == before

    async def test_unknown_ids(self, target: ChainTarget) -> None:
        """An id that no chain has seen is unknown; text that is no id is refused."""
        unsigned = target.codec.build(transfer_intent(target), target.metadata)
        never_sent = target.codec.combine(unsigned, [target.account(0).sign(request) for request in unsigned.requests])
        async with opened(target) as adapter:
            assert (await adapter.get_status(never_sent.txid)).state is TransactionState.UNKNOWN
            for text in ("", "nonsense", never_sent.txid + "\n"):
                with self.refused(ChainError, what=repr(text)):
                    await adapter.get_status(text)

    async def test_what_expired_is_said_to_have_expired(self, target: ChainTarget) -> None:
        """Neither signed nor submitted any more, reported as final, and followed to that end by a stream."""
        async with opened(target, 0) as adapter, asyncio.timeout(PATIENCE_S):
            intent = await funded_intent(target, adapter)
            before = await amounts(adapter, intent)
            unsigned = await adapter.build_transfer(intent, {})
            if not unsigned.expires:
                self.not_run(f"error:{Expired.code}", "nothing that this adapter builds expires")
                await adapter.discard(unsigned)
                return
            signed = await adapter.sign(unsigned)
            assert (await adapter.get_status(signed.txid, unsigned)).state is TransactionState.UNKNOWN
            await target.expire()
            with self.refused(Expired):
                await adapter.sign(unsigned)
            with self.refused(Expired):
                await adapter.submit(signed)
            assert (await adapter.get_status(signed.txid, unsigned)).state is TransactionState.EXPIRED
            states = [status.state for status in await collected(adapter.stream_status(signed.txid, unsigned))]
            assert states == [TransactionState.EXPIRED]
            assert await amounts(adapter, intent) == before

    async def test_close_leaves_nothing_running(self, target: ChainTarget) -> None:
        """No task outlives the adapter."""
        before = asyncio.all_tasks()
        async with opened(target, 0) as adapter:
            intent = await funded_intent(target, adapter)
            unsigned = await adapter.build_transfer(intent, {})
            signed = await adapter.sign(unsigned)
            await adapter.submit(signed)
            stream = adapter.stream_status(signed.txid, unsigned)
            async for _ in stream:
                break
            await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        left = {task for task in asyncio.all_tasks() - before if not task.done()}
        assert not {task for task in left if "keyquorum" in task.get_name() or "stream_status" in repr(task)}
