"""The development chain answers as a validator does, to clients that know nothing of it."""

import asyncio
import base64
import hashlib
import os
import signal
import subprocess
import sys

import aiohttp
import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.core import RPCException
from solana.rpc.models import TxOpts
from solana.rpc.websocket_api import SolanaWsClient
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction_status import TransactionConfirmationStatus

from keyquorum_devnet.solana import CHAIN_ID, GENESIS_HASH
from keyquorum_devnet.solana.genesis import GENESIS_SEED
from keyquorum_devnet.solana.server import Endpoint, Settings, running
from support.solana import SOL, SolanaRpcCaller, signed, transfer_of

RENT_EXEMPT = 890_880  # lamports, an account without data


async def funded(client: AsyncClient, lamports: int = 10 * SOL) -> Keypair:
    """A new account with coins."""
    account = Keypair()
    await client.request_airdrop(account.pubkey(), lamports)
    return account


async def latest(client: AsyncClient) -> Hash:
    """A blockhash at the client's commitment."""
    return (await client.get_latest_blockhash()).value.blockhash


def encoded(transaction: object) -> str:
    """A transaction as RPC parameters carry it."""
    return base64.b64encode(bytes(transaction)).decode()


BASE64 = {"encoding": "base64", "preflightCommitment": "confirmed"}


async def test_identity(client: AsyncClient) -> None:
    """The genesis hash is the documented one and gives the CAIP-2 id."""
    genesis = (await client.get_genesis_hash()).value
    assert bytes(genesis) == hashlib.sha256(GENESIS_SEED).digest()
    assert str(genesis) == GENESIS_HASH
    assert f"solana:{str(genesis)[:32]}" == CHAIN_ID
    assert await client.is_connected()
    assert (await client.get_version()).value.solana_core


async def test_transfer_moves_coins_and_reports_every_detail(client: AsyncClient, rpc: SolanaRpcCaller) -> None:
    """A transfer is executed by the runtime, charged, and found by its id with its balances."""
    source, destination = await funded(client), Keypair().pubkey()
    transaction = signed([transfer_of(source, destination, SOL)], await latest(client), source)
    txid = (await client.send_transaction(transaction)).value
    assert txid == transaction.signatures[0]
    assert (await client.get_balance(destination)).value == SOL
    assert (await client.get_balance(source.pubkey())).value == 9 * SOL - 5000
    assert (await client.get_transaction(txid, max_supported_transaction_version=0)).value is None
    await rpc.advance()
    found = (await client.get_transaction(txid, max_supported_transaction_version=0)).value
    assert found.transaction.meta.fee == 5000
    assert found.transaction.meta.pre_balances[:2] == [10 * SOL, 0]
    assert found.transaction.meta.post_balances[:2] == [9 * SOL - 5000, SOL]
    refused = await rpc.answer("getTransaction", str(txid), {"commitment": "confirmed"})
    assert refused["error"]["code"] == -32015


async def test_status_walks_from_processed_to_finalized(client: AsyncClient, rpc: SolanaRpcCaller) -> None:
    """Commitment follows the age of the slot."""
    source = await funded(client)
    transaction = signed([transfer_of(source, Keypair().pubkey(), SOL)], await latest(client), source)
    txid = (await client.send_transaction(transaction)).value
    seen = []
    for slots in (0, 1, 29, 1, 150):
        if slots:
            await rpc.advance(slots)
        status = (await client.get_signature_statuses([txid])).value[0]
        seen.append(status and (status.confirmation_status, status.confirmations))
    levels = TransactionConfirmationStatus
    assert seen == [
        (levels.Processed, 0),
        (levels.Confirmed, 1),
        (levels.Confirmed, 30),
        (levels.Finalized, None),
        None,
    ]
    old = (await client.get_signature_statuses([txid, Signature.default()], search_transaction_history=True)).value
    assert old[0].confirmation_status == levels.Finalized
    assert old[1] is None


async def test_height_is_not_the_slot(client: AsyncClient, rpc: SolanaRpcCaller) -> None:
    """A client that takes one for the other is found out."""
    info = (await client.get_epoch_info()).value
    assert info.block_height < info.absolute_slot
    await rpc.advance(3)
    later = (await client.get_epoch_info()).value
    assert (later.block_height, later.absolute_slot) == (info.block_height + 3, info.absolute_slot + 3)
    assert (await client.get_slot()).value == later.absolute_slot
    assert (await client.get_block_height()).value == later.block_height


async def test_blockhash_expires_after_150_blocks(client: AsyncClient, rpc: SolanaRpcCaller) -> None:
    """The last valid height is honest: included at it, refused one block later."""
    source = await funded(client)
    answer = (await client.get_latest_blockhash()).value
    last = answer.last_valid_block_height
    height = (await client.get_block_height("processed")).value
    await rpc.advance(last - height)
    at_last = signed([transfer_of(source, Keypair().pubkey(), SOL)], answer.blockhash, source)
    too_late = signed([transfer_of(source, Keypair().pubkey(), SOL)], answer.blockhash, source)
    assert (await rpc("isBlockhashValid", str(answer.blockhash), {"commitment": "processed"}))["value"]
    await client.send_transaction(at_last)
    await rpc.advance()
    refused = await rpc.answer("sendTransaction", encoded(too_late), {**BASE64, "preflightCommitment": "processed"})
    assert refused["error"]["code"] == -32002
    assert refused["error"]["data"]["err"] == "BlockhashNotFound"
    assert not (await rpc("isBlockhashValid", str(answer.blockhash), {"commitment": "processed"}))["value"]


async def test_preflight_at_lower_commitment_does_not_know_a_young_blockhash(
    client: AsyncClient, rpc: SolanaRpcCaller
) -> None:
    """A confirmed blockhash is not found by a finalized preflight, as on a real node."""
    source = await funded(client)
    transaction = signed([transfer_of(source, Keypair().pubkey(), SOL)], await latest(client), source)
    refused = await rpc.answer("sendTransaction", encoded(transaction), {"encoding": "base64"})
    assert refused["error"]["data"]["err"] == "BlockhashNotFound"
    assert await rpc("sendTransaction", encoded(transaction), BASE64) == str(transaction.signatures[0])


async def test_same_message_is_included_once(client: AsyncClient, rpc: SolanaRpcCaller) -> None:
    """Duplicates are found by the message, and lost silently without preflight."""
    source, destination = await funded(client), Keypair().pubkey()
    transaction = signed([transfer_of(source, destination, SOL)], await latest(client), source)
    await client.send_transaction(transaction)
    with pytest.raises(RPCException, match="AlreadyProcessed"):
        await client.send_transaction(transaction)
    await client.send_transaction(transaction, TxOpts(skip_preflight=True))
    assert (await client.get_balance(destination)).value == SOL


async def test_errors_have_the_exact_json_of_the_runtime(client: AsyncClient, rpc: SolanaRpcCaller) -> None:
    """Each way to fail is reported in the validator's own serialisation."""
    source, stranger = await funded(client), Keypair()
    blockhash = await latest(client)
    cases = [
        (
            signed([transfer_of(source, stranger.pubkey(), 99 * SOL)], blockhash, source),
            {"InstructionError": [0, {"Custom": 1}]},
        ),
        (
            signed([transfer_of(source, stranger.pubkey(), 1)], blockhash, source),
            {"InsufficientFundsForRent": {"account_index": 1}},
        ),
        (signed([transfer_of(stranger, source.pubkey(), 1)], blockhash, stranger), "AccountNotFound"),
        (signed([transfer_of(source, stranger.pubkey(), SOL)], Hash.new_unique(), source), "BlockhashNotFound"),
    ]
    for transaction, expected in cases:
        answer = await rpc.answer("sendTransaction", encoded(transaction), BASE64)
        assert answer["error"]["code"] == -32002
        assert answer["error"]["data"]["err"] == expected
        simulated = await rpc(
            "simulateTransaction", encoded(transaction), {"encoding": "base64", "commitment": "confirmed"}
        )
        assert simulated["value"]["err"] == expected


async def test_failure_without_preflight_is_charged_and_recorded(client: AsyncClient) -> None:
    """A transaction whose effect is refused is included, pays its fee and has an error status."""
    source = await funded(client)
    transaction = signed([transfer_of(source, Keypair().pubkey(), 99 * SOL)], await latest(client), source)
    txid = (await client.send_transaction(transaction, TxOpts(skip_preflight=True))).value
    status = (await client.get_signature_statuses([txid])).value[0]
    assert status.err is not None
    assert (await client.get_balance(source.pubkey())).value == 10 * SOL - 5000


async def test_forged_signature_is_refused(client: AsyncClient, rpc: SolanaRpcCaller) -> None:
    """Signatures are verified, also without preflight."""
    source = await funded(client)
    good = signed([transfer_of(source, Keypair().pubkey(), SOL)], await latest(client), source)
    forged = type(good).populate(good.message, [Keypair().sign_message(bytes(good.message))])
    answer = await rpc.answer("sendTransaction", encoded(forged), BASE64)
    assert answer["error"]["code"] == -32003
    await client.send_transaction(forged, TxOpts(skip_preflight=True))
    assert (await client.get_balance(source.pubkey())).value == 10 * SOL


async def test_simulation_replaces_the_blockhash_and_needs_no_signature(
    client: AsyncClient, rpc: SolanaRpcCaller
) -> None:
    """What an adapter does to learn the compute units before there is a signature."""
    source = await funded(client)
    unsigned = signed([transfer_of(source, Keypair().pubkey(), SOL)], Hash.default(), source)
    unsigned = type(unsigned).populate(unsigned.message, [Signature.default()])
    config = {"encoding": "base64", "replaceRecentBlockhash": True, "sigVerify": False, "commitment": "confirmed"}
    value = (await rpc("simulateTransaction", encoded(unsigned), config))["value"]
    assert (value["err"], value["unitsConsumed"]) == (None, 150)
    assert value["replacementBlockhash"]["blockhash"] == str(await latest(client))
    answer = await rpc.answer("simulateTransaction", encoded(unsigned), {**config, "sigVerify": True})
    assert answer["error"]["code"] == -32602
    assert (await client.get_balance(source.pubkey())).value == 10 * SOL


async def test_accounts_rent_and_fees(client: AsyncClient) -> None:
    """Reads of accounts, the rent exemption and the fee of a message."""
    source = await funded(client)
    first, second = (await client.get_multiple_accounts([source.pubkey(), Keypair().pubkey()])).value
    assert (first.lamports, second) == (10 * SOL, None)
    assert (await client.get_account_info(source.pubkey())).value.owner == Pubkey.default()
    assert (await client.get_minimum_balance_for_rent_exemption(0)).value == RENT_EXEMPT
    transaction = signed([transfer_of(source, Keypair().pubkey(), SOL)], await latest(client), source)
    assert (await client.get_fee_for_message(transaction.message)).value == 5000
    stale = signed([transfer_of(source, Keypair().pubkey(), SOL)], Hash.new_unique(), source)
    assert (await client.get_fee_for_message(stale.message)).value is None


async def test_accepted_transactions_can_get_lost(client: AsyncClient, rpc: SolanaRpcCaller) -> None:
    """Leaders under load drop what a node accepted; sending the same bytes again gets it in."""
    source, destination = await funded(client), Keypair().pubkey()
    await rpc("devnet_dropTransactions", 1)
    transaction = signed([transfer_of(source, destination, SOL)], await latest(client), source)
    await client.send_transaction(transaction)
    assert (await client.get_signature_statuses([transaction.signatures[0]])).value == [None]
    await client.send_transaction(transaction)
    assert (await client.get_balance(destination)).value == SOL


async def test_malformed_requests(rpc: SolanaRpcCaller, endpoint: Endpoint) -> None:
    """Every kind of nonsense is answered with the code that JSON-RPC and Solana have for it."""
    assert (await rpc.answer("getNothing"))["error"]["code"] == -32601
    assert (await rpc.post({"jsonrpc": "2.0", "id": 1}))["error"]["code"] == -32600
    assert (await rpc.post([]))["error"]["code"] == -32600
    for method, *params in (
        ("getBalance",),
        ("getBalance", 1),
        ("getBalance", "0OIl"),
        ("getBalance", "1" * 31),
        ("sendTransaction", "!!", {"encoding": "base64"}),
        ("sendTransaction", "A" * 2000, {"encoding": "base64"}),
        ("sendTransaction", base64.b64encode(bytes(200)).decode(), {"encoding": "base64"}),
        ("sendTransaction", "AA", {"encoding": "base16"}),
        ("getSlot", {"commitment": "sure"}),
        ("getTransaction", str(Signature.default()), {"encoding": "jsonParsed"}),
        ("devnet_advanceSlots", 0),
    ):
        assert (await rpc.answer(method, *params))["error"]["code"] == -32602, (method, params)
    ahead = await rpc.answer("getBalance", GENESIS_HASH, {"minContextSlot": 10**9})
    assert ahead["error"]["code"] == -32016
    batch = await rpc.post([{"jsonrpc": "2.0", "id": i, "method": "getHealth"} for i in (1, 2)])
    assert [answer["result"] for answer in batch] == ["ok", "ok"]
    async with aiohttp.ClientSession() as session:
        async with session.post(endpoint.rpc_url, data=b"{") as response:
            assert (await response.json())["error"]["code"] == -32700
        async with session.post(endpoint.rpc_url, data=bytes(60 * 1024)) as response:
            assert response.status == 413


async def test_trailing_bytes_are_not_part_of_a_transaction(client: AsyncClient, rpc: SolanaRpcCaller) -> None:
    """Solders parses them away; the server does not."""
    source = await funded(client)
    transaction = signed([transfer_of(source, Keypair().pubkey(), SOL)], await latest(client), source)
    text = base64.b64encode(bytes(transaction) + b"\x00").decode()
    assert (await rpc.answer("sendTransaction", text, BASE64))["error"]["code"] == -32602


async def test_websocket_subscriptions(endpoint: Endpoint, client: AsyncClient, rpc: SolanaRpcCaller) -> None:
    """Signature, slot and account notifications arrive at an unchanged client."""
    source, destination = await funded(client), Keypair().pubkey()
    transaction = signed([transfer_of(source, destination, SOL)], await latest(client), source)
    async with SolanaWsClient(endpoint.ws_url) as ws:
        confirmed = await ws.signature_subscribe(signature=transaction.signatures[0], commitment="confirmed")
        account = await ws.account_subscribe(pubkey=destination, commitment="confirmed", encoding="base64")
        await client.send_transaction(transaction)
        changed = await asyncio.wait_for(ws.recv(), 5)
        assert (changed.subscription, changed.result.value.lamports) == (account.subscription_id, SOL)
        await rpc.advance()
        landed = await asyncio.wait_for(ws.recv(), 5)
        assert (landed.subscription, landed.result.value.err) == (confirmed.subscription_id, None)
        await ws.unsubscribe(account)
        slots = await ws.slot_subscribe()
        await rpc.advance()
        slot = await asyncio.wait_for(ws.recv(), 5)
        assert slot.subscription == slots.subscription_id
        assert slot.result.slot == (await client.get_slot("processed")).value


async def test_signature_subscription_made_late_is_answered_at_once(
    endpoint: Endpoint, client: AsyncClient, rpc: SolanaRpcCaller
) -> None:
    """A subscription to a transaction that is already confirmed does not wait for another block."""
    source = await funded(client)
    transaction = signed([transfer_of(source, Keypair().pubkey(), SOL)], await latest(client), source)
    await client.send_transaction(transaction)
    await rpc.advance()
    async with SolanaWsClient(endpoint.ws_url) as ws:
        await ws.signature_subscribe(signature=transaction.signatures[0], commitment="confirmed")
        assert (await asyncio.wait_for(ws.recv(), 5)).result.value.err is None


async def test_slots_advance_by_themselves() -> None:
    """With a timer, time passes without being told to."""
    async with running(settings=Settings(slot_ms=5)) as endpoint, SolanaRpcCaller(endpoint.rpc_url) as rpc:
        first = await rpc("getSlot", {"commitment": "processed"})
        await asyncio.sleep(0.1)
        assert await rpc("getSlot", {"commitment": "processed"}) > first


async def test_refuses_to_listen_off_loopback() -> None:
    """A faucet is nothing for a network."""
    with pytest.raises(ValueError, match="loopback"):
        async with running("0.0.0.0"):
            pass


def test_runs_as_a_program_and_ends_cleanly_on_sigterm() -> None:
    """``python -m`` says where it listens, and SIGTERM ends it with exit code 0."""
    command = [sys.executable, "-m", "keyquorum_devnet.solana", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as program:
        line = program.stdout.readline()
        assert line.startswith(f"{CHAIN_ID} rpc http://127.0.0.1:")
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0
        assert program.stderr.read() == ""
    shown = subprocess.run([*command[:3], "--help"], capture_output=True, text=True, check=True)
    assert "--slot-ms" in shown.stdout
