"""The adapter in front of a node that says what no honest node would."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from keyquorum_devnet.solana import GENESIS_HASH
from keyquorum_plugin_api.chain import TransactionState
from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    FeeTooHigh,
    InsufficientFunds,
    InvalidAddress,
    InvalidAmount,
    OutcomeUnknown,
    TransactionRejected,
)
from keyquorum_plugin_api.testing import LocalSigner, MemoryReservations, SystemClock, local_context
from keyquorum_plugin_api.testing.codec_conformance import signatures_of, transfer_intent
from keyquorum_sol.adapter import SolanaAdapter
from support.scripted_rpc import Reply, ScriptedNode, body, hang_up, result, silence
from support.solana import SOL
from support.solana_target import SolanaCodecTarget

TARGET = SolanaCodecTarget()
FRIEND = TARGET.account(1).account.address


def in_context(value: object) -> Reply:
    return result({"context": {"slot": 200}, "value": value})


def account(lamports: int, *, executable: bool = False, owner: str = "1" * 32) -> dict[str, object]:
    return {"lamports": lamports, "executable": executable, "space": 0, "data": ["", "base64"], "owner": owner}


def accounts(source: object, destination: object) -> Reply:
    """The source, which is the payer, and the destination."""
    return in_context([source, destination])


@pytest.fixture
def reservations() -> MemoryReservations:
    return MemoryReservations(SystemClock())


@pytest.fixture
async def adapter(
    http: aiohttp.ClientSession, script: ScriptedNode, reservations: MemoryReservations
) -> AsyncIterator[SolanaAdapter]:
    """Its node is honest until told otherwise."""
    script.says("getLatestBlockhash", in_context({"blockhash": GENESIS_HASH, "lastValidBlockHeight": 150}))
    script.says("getMultipleAccounts", accounts(account(10 * SOL), None))
    script.says("simulateTransaction", in_context({"err": None, "unitsConsumed": 450, "logs": []}))
    script.says("getRecentPrioritizationFees", result([{"slot": 1, "prioritizationFee": 1000}]))
    script.says("getMinimumBalanceForRentExemption", result(890_880))
    script.says("getEpochInfo", result({"absoluteSlot": 200, "blockHeight": 100}))
    script.says("getSignatureStatuses", in_context([None]))
    config = {"rpc_url": script.url, "request_timeout_s": 1.0, "rebroadcast_interval_s": 0.05, "poll_interval_s": 0.02}
    signer = LocalSigner(TARGET.codec, [TARGET.account(0)])
    adapter = SolanaAdapter(local_context(TARGET.chain, signer, http, config, reservations=reservations))
    yield adapter
    await adapter.close()


async def test_simulation_and_price_become_the_fee(adapter: SolanaAdapter) -> None:
    """450 units and a fifth more, at 1,000 micro-lamports: one lamport."""
    unsigned = await adapter.build_transfer(transfer_intent(TARGET), {})
    assert [effect.amount for effect in unsigned.effects] == [TARGET.amount, 5_001]
    assert unsigned.expires == {"last_valid_block_height": 150}


async def test_builds_ask_the_node_once_for_everything(adapter: SolanaAdapter, script: ScriptedNode) -> None:
    """Four reads at a time, and what does not change only once."""
    for _ in range(3):
        await adapter.build_transfer(transfer_intent(TARGET), {})
    counts = {method: len(script.called(method)) for method, _ in script.calls}
    assert counts == {
        "getGenesisHash": 1,
        "getLatestBlockhash": 1,
        "getMinimumBalanceForRentExemption": 1,
        "getMultipleAccounts": 3,
        "simulateTransaction": 3,
        "getRecentPrioritizationFees": 1,
    }


async def test_plain_transfers_are_simulated_once_a_while(adapter: SolanaAdapter, script: ScriptedNode) -> None:
    """Without a memo they take the same units every time; with one, or with another payer, they do not."""
    plain = transfer_intent(TARGET, memo="")
    for _ in range(3):
        await adapter.build_transfer(plain, {})
    assert len(script.called("simulateTransaction")) == 1
    await adapter.build_transfer(transfer_intent(TARGET), {})
    assert len(script.called("simulateTransaction")) == 2
    script.says("getMultipleAccounts", in_context([account(10 * SOL), account(10 * SOL), None]))
    await adapter.build_transfer(transfer_intent(TARGET, memo="", fee_payer=TARGET.account(2).account), {})
    assert len(script.called("simulateTransaction")) == 3


@pytest.mark.parametrize(
    ("method", "reply", "kind"),
    [
        ("simulateTransaction", in_context({"err": {"InstructionError": [2, "Custom"]}}), TransactionRejected),
        ("simulateTransaction", in_context({"err": "AccountNotFound"}), InsufficientFunds),
        ("simulateTransaction", in_context({"err": {"InsufficientFundsForRent": {"account_index": 1}}}), InvalidAmount),
        ("simulateTransaction", in_context({"err": "InvalidProgramForExecution"}), TransactionRejected),
        ("simulateTransaction", in_context({"err": None, "unitsConsumed": None}), ChainUnavailable),
        ("simulateTransaction", in_context({"err": None, "unitsConsumed": 0}), ChainUnavailable),
        ("simulateTransaction", in_context({"err": None, "unitsConsumed": 10**9}), ChainUnavailable),
        ("getMultipleAccounts", accounts(account(10 * SOL), account(SOL, executable=True)), InvalidAddress),
        ("getMultipleAccounts", accounts(account(10 * SOL, owner=FRIEND), None), TransactionRejected),
        ("getMultipleAccounts", accounts(account(10 * SOL) | {"space": 80}, None), TransactionRejected),
        ("getMultipleAccounts", accounts(None, None), InsufficientFunds),
        ("getMultipleAccounts", accounts(account(TARGET.amount), None), InsufficientFunds),
        ("getMultipleAccounts", accounts({"lamports": "all"}, None), ChainUnavailable),
        ("getMultipleAccounts", accounts(account(10 * SOL) | {"data": ["AAAA", "base64"]}, None), ChainUnavailable),
        ("getMultipleAccounts", accounts(account(10 * SOL) | {"data": "AAAA"}, None), ChainUnavailable),
        ("getMultipleAccounts", accounts(account(10 * SOL) | {"data": ["", "base58"]}, None), ChainUnavailable),
        ("getMultipleAccounts", accounts(account(10 * SOL) | {"owner": "me"}, None), ChainUnavailable),
        ("getRecentPrioritizationFees", result([{"slot": 1, "prioritizationFee": 2**64 - 1}]), FeeTooHigh),
        ("getRecentPrioritizationFees", result([{"slot": 1, "prioritizationFee": -1}]), ChainUnavailable),
        ("getMinimumBalanceForRentExemption", result(SOL), InvalidAmount),
        ("getLatestBlockhash", in_context({"blockhash": "1" * 32, "lastValidBlockHeight": 150}), ChainUnavailable),
        ("getLatestBlockhash", in_context({"blockhash": "z" * 88, "lastValidBlockHeight": 150}), ChainUnavailable),
        ("getLatestBlockhash", silence, ChainUnavailable),
        ("getGenesisHash", body("{}"), ChainUnavailable),
    ],
)
async def test_build_refuses_on_what_the_node_says(
    adapter: SolanaAdapter,
    script: ScriptedNode,
    reservations: MemoryReservations,
    method: str,
    reply: Reply,
    kind: type[ChainError],
) -> None:
    """With the error that says why, in time, and with nothing reserved."""
    script.says(method, reply)
    async with asyncio.timeout(5):
        with pytest.raises(kind):
            await adapter.build_transfer(transfer_intent(TARGET), {})
    assert not await reservations.held(TARGET.chain, TARGET.account(0).account.address)


async def test_what_may_have_left_is_followed(adapter: SolanaAdapter, script: ScriptedNode) -> None:
    """After a lost answer the bytes are sent again in the background, and no later refusal makes it "nothing happened"."""
    script.says("sendTransaction", hang_up)
    signed = await adapter.sign(await adapter.build_transfer(transfer_intent(TARGET), {}))
    with pytest.raises(OutcomeUnknown):
        await adapter.submit(signed)
    assert (await adapter.get_status(signed.txid)).state is TransactionState.PENDING
    script.says("sendTransaction", body("", 429))
    with pytest.raises(OutcomeUnknown):
        await adapter.submit(signed)
    script.says("sendTransaction", result(signed.txid))
    async with asyncio.timeout(5):
        while not any(config["skipPreflight"] for _, config in script.called("sendTransaction")):
            await asyncio.sleep(0.01)
    assert len({text for text, _ in script.called("sendTransaction")}) == 1


async def test_what_never_left_is_not_followed(adapter: SolanaAdapter, script: ScriptedNode) -> None:
    """A retriable refusal must not be repeated behind the client's back."""
    script.says("sendTransaction", body("", 503))
    signed = await adapter.sign(await adapter.build_transfer(transfer_intent(TARGET), {}))
    with pytest.raises(ChainUnavailable):
        await adapter.submit(signed)
    await asyncio.sleep(0.15)
    assert len(script.called("sendTransaction")) == 1
    assert (await adapter.get_status(signed.txid)).state is TransactionState.UNKNOWN


async def test_stream_outlives_a_short_outage(adapter: SolanaAdapter, script: ScriptedNode) -> None:
    """It goes on where it was."""
    confirmed = {"slot": 9, "confirmations": 1, "err": None, "confirmationStatus": "confirmed"}
    script.says("getSignatureStatuses", in_context([None]), body("", 502), body("{"), in_context([confirmed]))
    unsigned = await adapter.build_transfer(transfer_intent(TARGET), {})
    txid = TARGET.codec.combine(unsigned, signatures_of(TARGET, unsigned)).txid
    async with asyncio.timeout(5):
        states = [status.state async for status in adapter.stream_status(txid)]
    assert states == [TransactionState.UNKNOWN, TransactionState.CONFIRMED]
