"""The adapter on Solana's runtime, where Solana differs from other chains."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from keyquorum_devnet.solana.server import Endpoint
from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.codec import EffectKind, TransferIntent, UnsignedTransaction
from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    Expired,
    FeeTooHigh,
    InsufficientFunds,
    InvalidAddress,
    InvalidAmount,
    NonceConflict,
    OutcomeUnknown,
    Unsupported,
)
from keyquorum_plugin_api.testing import LocalSigner
from keyquorum_plugin_api.testing.adapter_conformance import collected, confirmed, funded_intent
from keyquorum_plugin_api.testing.codec_conformance import transfer_intent
from keyquorum_sol.adapter import SolanaAdapter
from support.solana import SOL, SolanaRpcCaller, signed, transfer_of
from support.solana_target import RENT_EXEMPT, SolanaChainTarget

BASE_FEE = 5_000


class Chain(SolanaChainTarget):
    """A target whose adapters can be configured differently."""

    async def opened(self, **config: object) -> SolanaAdapter:
        self.config = {**self.config, **config}
        return await self.adapter(LocalSigner(self.codec, [self.account(0)]))


@pytest.fixture
async def chain(endpoint: Endpoint, rpc: SolanaRpcCaller) -> AsyncIterator[Chain]:
    async with aiohttp.ClientSession() as http:
        yield Chain(b"differences", endpoint, http, rpc)


@pytest.fixture
async def adapter(chain: Chain) -> AsyncIterator[SolanaAdapter]:
    adapter = await chain.opened()
    yield adapter
    await adapter.close()


async def congest(chain: Chain, rpc: SolanaRpcCaller, account: str, price: int) -> None:
    """Somebody pays ``price`` to write to ``account`` in every slot of the window."""
    payer = Keypair()
    await chain.fund(str(payer.pubkey()), 100 * SOL)
    for _ in range(150):
        blockhash = (await rpc("getLatestBlockhash", {"commitment": "processed"}))["value"]["blockhash"]
        instructions = [
            set_compute_unit_limit(1_000),
            set_compute_unit_price(price),
            transfer_of(payer, Pubkey.from_string(account), RENT_EXEMPT),
        ]
        transaction = signed(instructions, Hash.from_string(blockhash), payer)
        text = base64.b64encode(bytes(transaction)).decode()
        await rpc("sendTransaction", text, {"encoding": "base64", "skipPreflight": True})
        await rpc.advance()


def fee_of(unsigned: UnsignedTransaction) -> int:
    (fee,) = [effect.amount for effect in unsigned.effects if effect.kind is EffectKind.FEE]
    return fee


async def test_stated_fee_is_what_the_runtime_takes(chain: Chain, adapter: SolanaAdapter) -> None:
    """To the lamport, with a price."""
    intent = await funded_intent(chain, adapter)
    unsigned = await adapter.build_transfer(intent, {"compute_unit_price": "12345"})
    assert fee_of(unsigned) > BASE_FEE
    (before,) = await adapter.get_balances(intent.source.address)
    signed_ = await adapter.sign(unsigned)
    await adapter.submit(signed_)
    await confirmed(chain, adapter, signed_, unsigned)
    (after,) = await adapter.get_balances(intent.source.address)
    assert before.amount - after.amount == intent.amount + fee_of(unsigned)


@pytest.mark.parametrize("memo", ["", "x", "y" * 512])
async def test_compute_units_suffice(chain: Chain, adapter: SolanaAdapter, memo: str) -> None:
    """The simulated limit is enough for what is then executed, whatever the memo."""
    intent = replace(await funded_intent(chain, adapter), memo=memo)
    unsigned = await adapter.build_transfer(intent, {})
    signed_ = await adapter.sign(unsigned)
    await adapter.submit(signed_)
    assert (await confirmed(chain, adapter, signed_, unsigned)).state is TransactionState.CONFIRMED


async def test_priority_fee_follows_recent_prices(chain: Chain, adapter: SolanaAdapter, rpc: SolanaRpcCaller) -> None:
    """Those paid to write to the same accounts; elsewhere nothing is offered."""
    intent = await funded_intent(chain, adapter)
    assert fee_of(await adapter.build_transfer(intent, {})) == BASE_FEE
    await congest(chain, rpc, intent.destination, 7_000_000)
    paid = fee_of(await adapter.build_transfer(intent, {})) - BASE_FEE
    assert paid > 7 * 450
    elsewhere = replace(intent, destination=chain.account(9).account.address)
    assert fee_of(await adapter.build_transfer(elsewhere, {})) == BASE_FEE


async def test_priority_fee_has_a_ceiling(chain: Chain, rpc: SolanaRpcCaller) -> None:
    """Whoever asks for more: the market or the caller."""
    adapter = await chain.opened(priority_fee_ceiling_lamports=1_000)
    intent = await funded_intent(chain, adapter)
    with pytest.raises(FeeTooHigh):
        await adapter.build_transfer(intent, {"compute_unit_price": "10000000"})
    await congest(chain, rpc, intent.destination, 10_000_000)
    with pytest.raises(FeeTooHigh):
        await adapter.build_transfer(intent, {})
    assert fee_of(await adapter.build_transfer(intent, {"compute_unit_price": "0"})) == BASE_FEE
    await adapter.close()


@pytest.mark.parametrize("price", ["", "-1", "1e6", "0x1", "00", str(2**64), "nan"])
async def test_price_option_is_a_number(chain: Chain, adapter: SolanaAdapter, price: str) -> None:
    """Of micro-lamports."""
    with pytest.raises(Unsupported):
        await adapter.build_transfer(transfer_intent(chain), {"compute_unit_price": price})


async def test_rent_rules_are_the_runtimes(chain: Chain, adapter: SolanaAdapter) -> None:
    """What is refused here, the runtime would refuse; what is built at the edge is executed."""
    source = chain.account(0).account
    await chain.fund(source.address, 10 * RENT_EXEMPT)
    intent = transfer_intent(chain, memo="")

    async def attempt(amount: int, destination: int) -> TransactionState:
        wanted = replace(intent, amount=amount, destination=chain.account(destination).account.address)
        unsigned = await adapter.build_transfer(wanted, {})
        signed_ = await adapter.sign(unsigned)
        await adapter.submit(signed_)
        return (await confirmed(chain, adapter, signed_, unsigned)).state

    with pytest.raises(InvalidAmount, match="destination"):
        await attempt(RENT_EXEMPT - 1, 1)
    assert await attempt(RENT_EXEMPT, 1) is TransactionState.CONFIRMED
    assert await attempt(1, 1) is TransactionState.CONFIRMED
    (balance,) = await adapter.get_balances(source.address)
    everything = balance.amount - BASE_FEE
    with pytest.raises(InvalidAmount, match="left"):
        await attempt(everything - 1, 1)
    with pytest.raises(InvalidAmount, match="left"):
        await attempt(everything - RENT_EXEMPT + 1, 1)
    with pytest.raises(InsufficientFunds):
        await attempt(everything + 1, 1)
    assert await attempt(everything, 1) is TransactionState.CONFIRMED
    assert (await adapter.get_balances(source.address))[0].amount == 0


async def test_programs_found_on_the_chain_are_no_destination(chain: Chain, adapter: SolanaAdapter) -> None:
    """Also those that no list knows."""
    intent = await funded_intent(chain, adapter)
    token_lending = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"
    with pytest.raises(InvalidAddress):
        await adapter.build_transfer(replace(intent, destination=token_lending), {})


async def test_dropped_transaction_arrives_all_the_same(chain: Chain, rpc: SolanaRpcCaller) -> None:
    """The node accepts it, a leader drops it twice, the same bytes are sent again, and it is paid once."""
    adapter = await chain.opened(rebroadcast_interval_s=0.05)
    intent = await funded_intent(chain, adapter)
    unsigned = await adapter.build_transfer(intent, {})
    signed_ = await adapter.sign(unsigned)
    await rpc("devnet_dropTransactions", 2)
    await adapter.submit(signed_)
    assert (await adapter.get_status(signed_.txid, unsigned)).state is TransactionState.PENDING
    async with asyncio.timeout(5):
        while (await adapter.get_status(signed_.txid, unsigned)).state is TransactionState.PENDING:
            await asyncio.sleep(0.02)
    await chain.advance()
    assert (await adapter.get_balances(intent.destination))[0].amount == intent.amount
    await adapter.close()


async def test_dropped_transaction_that_expires_is_said_to_have(chain: Chain, rpc: SolanaRpcCaller) -> None:
    """And is never sent again."""
    adapter = await chain.opened(rebroadcast_interval_s=0.05)
    intent = await funded_intent(chain, adapter)
    unsigned = await adapter.build_transfer(intent, {})
    signed_ = await adapter.sign(unsigned)
    await rpc("devnet_dropTransactions", 10**6)
    await adapter.submit(signed_)
    follower = asyncio.create_task(collected(adapter.stream_status(signed_.txid)))
    await asyncio.sleep(0.1)
    await chain.expire()
    async with asyncio.timeout(5):
        states = [status.state for status in await follower]
    assert states == [TransactionState.PENDING, TransactionState.EXPIRED]
    await rpc("devnet_dropTransactions", 0)
    await asyncio.sleep(0.2)
    await chain.advance()
    assert (await adapter.get_balances(intent.destination))[0].amount == 0
    await adapter.close()


async def test_ceremony_that_cannot_finish_is_not_begun(chain: Chain, rpc: SolanaRpcCaller) -> None:
    """Signing asks for the configured number of blocks; with one fewer nothing is signed."""
    signer = LocalSigner(chain.codec, [chain.account(0)])
    adapter = await chain.adapter(signer)
    intent = await funded_intent(chain, adapter)
    unsigned = await adapter.build_transfer(intent, {})
    height = await rpc("getBlockHeight", {"commitment": "confirmed"})
    await rpc.advance(unsigned.expires["last_valid_block_height"] - height - 20)
    await adapter.sign(unsigned)
    await rpc.advance()
    with pytest.raises(Expired, match="19 blocks"):
        await adapter.sign(unsigned)
    assert len(signer.signed) == 1
    await adapter.close()


async def test_stale_transfer_is_refused_unsigned_and_built_again(chain: Chain, rpc: SolanaRpcCaller) -> None:
    """Nothing was signed and nothing stays reserved; the same intent gives another payload, which is confirmed."""
    signer = LocalSigner(chain.codec, [chain.account(0)])
    adapter = await chain.adapter(signer)
    intent = await funded_intent(chain, adapter)
    stale = await adapter.build_transfer(intent, {})
    await rpc.advance(140)
    with pytest.raises(Expired, match="build the transaction again"):
        await adapter.sign(stale)
    assert signer.signed == []
    assert not await chain.reservations.held(chain.chain, intent.source.address)
    fresh = await adapter.build_transfer(intent, {})
    assert fresh.payload != stale.payload
    assert fresh.effects == stale.effects
    signed_ = await adapter.sign(fresh)
    await adapter.submit(signed_)
    assert (await confirmed(chain, adapter, signed_, fresh)).state is TransactionState.CONFIRMED
    assert [unsigned.payload for unsigned in signer.signed] == [fresh.payload]
    await adapter.close()


async def test_two_hundred_transfers_at_a_time(chain: Chain) -> None:
    """From one account that can pay for some of them: each is confirmed, or refused with a reason, and none equals another."""
    adapter = await chain.opened(blockhash_max_age_s=60.0, rpc_batch_max=40)
    source, held = chain.account(0).account, 100 * SOL
    await chain.fund(source.address, held)
    amount = held // 150
    refused: list[ChainError] = []
    sent: dict[str, UnsignedTransaction] = {}

    async def pay(number: int) -> None:
        intent = transfer_intent(chain, amount=amount, memo="" if number % 2 else f"invoice {number // 8}")
        try:
            unsigned = await adapter.build_transfer(intent, {})
            signed_ = await adapter.sign(unsigned)
            await adapter.submit(signed_)
        except ChainError as error:
            refused.append(error)
            return
        assert signed_.txid not in sent
        sent[signed_.txid] = unsigned

    await asyncio.gather(*(pay(number) for number in range(200)))
    assert len({unsigned.payload for unsigned in sent.values()}) == len(sent)
    for _ in range(3):
        await chain.advance()
    states = [(await adapter.get_status(txid, unsigned)).state for txid, unsigned in sent.items()]
    assert len(states) + len(refused) == 200
    assert set(states) == {TransactionState.CONFIRMED}
    assert all(error.detail for error in refused)
    assert {type(error) for error in refused} <= {InsufficientFunds, InvalidAmount, NonceConflict}
    (received,) = await adapter.get_balances(chain.account(1).account.address)
    assert received.amount == len(states) * amount
    assert len(states) >= 130
    await adapter.close()


async def test_messages_do_not_expire(chain: Chain, adapter: SolanaAdapter) -> None:
    """They are signed whatever the height, and are never submitted."""
    unsigned = adapter.codec().build_message(chain.account(0).account, chain.chain, "I own this.")
    await chain.expire()
    assert (await adapter.sign(unsigned)).txid


async def test_submission_after_a_restart(chain: Chain, adapter: SolanaAdapter) -> None:
    """An adapter that did not build the transaction follows its fate until no blockhash of then can be alive."""
    intent = await funded_intent(chain, adapter)
    unsigned = await adapter.build_transfer(intent, {})
    signed_ = await adapter.sign(unsigned)
    await chain.expire()
    restarted = await chain.opened()
    with pytest.raises(OutcomeUnknown, match=signed_.txid):
        await restarted.submit(signed_)
    assert (await restarted.get_status(signed_.txid)).state is TransactionState.PENDING
    assert (await restarted.get_status(signed_.txid, unsigned)).state is TransactionState.EXPIRED
    await chain.expire()
    await chain.expire()
    with pytest.raises(Expired):
        await restarted.submit(signed_)
    assert (await restarted.get_status(signed_.txid)).state is TransactionState.EXPIRED
    await restarted.close()


async def test_many_equal_transfers_at_a_time(chain: Chain) -> None:
    """Sixty-four in one blockhash; the next is told to wait, and one of them can be given back."""
    adapter = await chain.opened(blockhash_max_age_s=60.0)
    intent = await funded_intent(chain, adapter)
    built = await asyncio.gather(*(adapter.build_transfer(intent, {}) for _ in range(64)))
    assert len({unsigned.payload for unsigned in built}) == 64
    with pytest.raises(NonceConflict):
        await adapter.build_transfer(intent, {})
    await adapter.discard(built[7])
    assert (await adapter.build_transfer(intent, {})).payload == built[7].payload
    await adapter.close()


async def test_node_of_another_chain_is_refused(chain: Chain, rpc: SolanaRpcCaller) -> None:
    """A blockhash of the wrong cluster is what would bind a payment to the wrong cluster."""
    chain.chain = chain.other_chain
    adapter = await chain.opened()
    intent = replace(transfer_intent(chain), asset=f"{chain.other_chain}/slip44:501")
    with pytest.raises(ChainUnavailable, match="serves"):
        await adapter.build_transfer(intent, {})
    with pytest.raises(ChainUnavailable, match="serves"):
        await adapter.health()
    await adapter.close()


async def test_stream_without_websocket_polls(chain: Chain) -> None:
    """The websocket saves time and nothing else."""
    adapter = await chain.opened(ws_url=None, poll_interval_s=0.02)
    await _follow_to_the_end(chain, adapter)
    await adapter.close()


async def test_stream_with_a_dead_websocket_polls(chain: Chain) -> None:
    """As if there were none."""
    adapter = await chain.opened(ws_url="ws://127.0.0.1:9/", poll_interval_s=0.02)
    await _follow_to_the_end(chain, adapter)
    await adapter.close()


async def test_stream_is_woken_by_the_websocket(chain: Chain) -> None:
    """Long before the next poll."""
    adapter = await chain.opened(poll_interval_s=60.0)
    await _follow_to_the_end(chain, adapter)
    await adapter.close()


async def _follow_to_the_end(chain: Chain, adapter: SolanaAdapter) -> None:
    intent: TransferIntent = await funded_intent(chain, adapter)
    unsigned = await adapter.build_transfer(intent, {})
    signed_ = await adapter.sign(unsigned)
    await adapter.submit(signed_)
    follower = asyncio.create_task(collected(adapter.stream_status(signed_.txid, unsigned)))
    async with asyncio.timeout(5):
        while not follower.done():
            await asyncio.sleep(0.05)
            await chain.advance()
    states = [status.state for status in follower.result()]
    assert states[-1] is TransactionState.CONFIRMED
