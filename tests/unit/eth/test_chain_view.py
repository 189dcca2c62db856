"""Status and events as a hostile or changing node gives them."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest

from keyquorum_eth.config import parse_config
from keyquorum_eth.cursors import Cursor
from keyquorum_eth.events import EventReader
from keyquorum_eth.heads import Heads
from keyquorum_eth.node import TRANSFER_TOPIC, EthereumNode
from keyquorum_eth.status import StatusReader
from keyquorum_plugin_api.chain import ChainEvent, TransactionState
from keyquorum_plugin_api.errors import ChainUnavailable, InvalidAddress, InvalidPayload, Unsupported
from keyquorum_plugin_api.testing import RecordingLogger, SystemClock, refused
from support.anvil import CHAIN
from support.ethereum_script import HASH, block, receipt
from support.scripted_rpc import ScriptedNode, result

TXID = "0x" + "cd" * 32
TOKEN = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
US = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"
FRIEND = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
SIGNER = (US, 7)


@pytest.fixture
def statuses(node: EthereumNode) -> StatusReader:
    config = parse_config({"rpc_url": "http://x", "confirmations": 2, "final_confirmations": 4})
    return StatusReader(node, config)


def chain(script: ScriptedNode, head: int, found: Any, known: Any = None, final_count: int = 0) -> None:
    """What the node says of the transaction, at a height."""
    script.says("eth_getBlockByNumber", result(block(head)))
    script.says("eth_getTransactionReceipt", result(found))
    script.says("eth_getTransactionByHash", result(known))
    script.says("eth_getTransactionCount", result(hex(final_count)))


@pytest.mark.parametrize(
    ("head", "state", "reversible"),
    [
        (15, TransactionState.INCLUDED, False),  # of two nodes, one is behind
        (16, TransactionState.INCLUDED, False),
        (17, TransactionState.CONFIRMED, True),
        (18, TransactionState.CONFIRMED, True),
        (19, TransactionState.CONFIRMED, False),
    ],
)
async def test_depth_decides(
    statuses: StatusReader, script: ScriptedNode, head: int, state: TransactionState, *, reversible: bool
) -> None:
    """Included in block 16: confirmed by two blocks, irreversible by four."""
    chain(script, head, receipt(TXID))
    status = await statuses.read(TXID, None)
    assert (status.state, status.reversible, status.block) == (state, reversible, "16")


async def test_expired_is_said_only_when_it_is_certain(statuses: StatusReader, script: ScriptedNode) -> None:
    """Not where the transaction is known, nor where the nonce is free, nor by a node that fell behind meanwhile."""
    chain(script, 20, None, final_count=8)
    assert (await statuses.read(TXID, SIGNER)).state is TransactionState.EXPIRED
    chain(script, 20, None, final_count=7)
    assert (await statuses.read(TXID, SIGNER)).state is TransactionState.UNKNOWN
    chain(script, 20, None, known={"hash": TXID, "blockHash": None}, final_count=8)
    assert (await statuses.read(TXID, SIGNER)).state is TransactionState.PENDING
    chain(script, 20, None, final_count=8)
    script.says("eth_getBlockByNumber", result(block(20)), result(block(19)))
    assert (await statuses.read(TXID, SIGNER)).state is TransactionState.UNKNOWN
    chain(script, 20, None, final_count=8)
    script.says("eth_getTransactionReceipt", result(None), result(receipt(TXID)))
    assert (await statuses.read(TXID, SIGNER)).state is TransactionState.CONFIRMED


def word(address: str) -> str:
    return "0x" + "00" * 12 + address[2:].lower()


def log(**changes: Any) -> dict[str, Any]:
    """An honest Transfer event of the block."""
    honest = {
        "address": TOKEN.lower(),
        "topics": [TRANSFER_TOPIC, word(US), word(FRIEND)],
        "data": f"0x{5:064x}",
        "blockHash": HASH,
        "transactionHash": TXID,
        "logIndex": "0x0",
    }
    return {**honest, **changes}


@pytest.fixture
def reader(node: EthereumNode, http: aiohttp.ClientSession) -> EventReader:
    heads = Heads(node, http, None, SystemClock(), RecordingLogger(), age_s_max=0.01)
    return EventReader(node, heads, SystemClock(), CHAIN, [TOKEN])


async def first(reader: EventReader, cursor: str) -> ChainEvent | None:
    """What a stream tells first; None if it stays silent."""
    try:
        async with asyncio.timeout(0.5), aclosing(reader.stream([US], cursor)) as stream:
            async for event in stream:
                return event
    except TimeoutError:
        return None
    raise AssertionError("the stream ended")


CURSOR = str(Cursor(16, HASH, -1))


def serve(script: ScriptedNode, logs: list[Mapping[str, Any]], transactions: list[Any] | None = None) -> None:
    """A chain that ends with block 16."""
    script.says("eth_getBlockByNumber", result(block(16, transactions=transactions or [])), result(None))
    script.says("eth_getLogs", result(logs))


async def test_transfer_events_are_told(reader: EventReader, script: ScriptedNode) -> None:
    """Once, though both questions find it."""
    serve(script, [log()])
    event = await first(reader, CURSOR)
    assert (event.txid, event.address, event.amount) == (TXID, US, -5)
    assert event.asset == f"{CHAIN}/erc20:{TOKEN.lower()}"


LOGS: dict[str, dict[str, Any]] = {
    "of another contract": {"address": FRIEND.lower()},
    "of another block": {"blockHash": "0x" + "ee" * 32},
    "of another kind": {"topics": ["0x" + "11" * 32, word(US), word(FRIEND)]},
    "of an NFT": {"topics": [TRANSFER_TOPIC, word(US), word(FRIEND), "0x" + "00" * 32]},
    "without parties": {"topics": [TRANSFER_TOPIC]},
    "with longer data": {"data": "0x" + "00" * 64},
    "without data": {"data": "0x"},
    "with odd data": {"data": 5},
}


@pytest.mark.parametrize("name", LOGS)
async def test_events_that_were_not_asked_for_are_not_told(
    reader: EventReader, script: ScriptedNode, name: str
) -> None:
    """A node that gives others is not believed at all."""
    serve(script, [log(**LOGS[name])])
    with refused(ChainUnavailable):
        await first(reader, CURSOR)


async def test_payments_to_strangers_are_not_told(reader: EventReader, script: ScriptedNode) -> None:
    """Nor those of others, whatever the node finds."""
    serve(script, [log(topics=[TRANSFER_TOPIC, word(FRIEND), word(FRIEND)])])
    assert await first(reader, CURSOR) is None


async def test_a_reverted_payment_costs_its_fee_alone(reader: EventReader, script: ScriptedNode) -> None:
    """Its value never left."""
    moved = {"hash": TXID, "from": US.lower(), "to": FRIEND.lower(), "value": "0x64"}
    serve(script, [], [moved])
    script.says("eth_getTransactionReceipt", result(receipt(TXID, status="0x0")))
    assert (await first(reader, CURSOR)).amount == -21_000 * 10**9
    serve(script, [], [moved])
    script.says("eth_getTransactionReceipt", result(receipt(TXID)))
    assert (await first(reader, CURSOR)).amount == -21_000 * 10**9 - 100


async def test_a_receipt_of_another_block_is_not_mixed_in(reader: EventReader, script: ScriptedNode) -> None:
    """The chain changed between two answers: nothing is told of either."""
    serve(script, [], [{"hash": TXID, "from": US.lower(), "to": None, "value": "0x0"}])
    script.says("eth_getTransactionReceipt", result(receipt(TXID, blockHash="0x" + "ee" * 32)))
    with refused(ChainUnavailable):
        await first(reader, CURSOR)


@pytest.mark.parametrize(
    "cursor", ["0", "16", f"16:{HASH}", f"-1:{HASH}:0", f"16:{HASH}:x", f"16:{HASH}:0 ", "x" * 9000]
)
async def test_cursors_have_one_form(reader: EventReader, cursor: str) -> None:
    """Others are refused before the node is asked."""
    with refused(InvalidPayload):
        await first(reader, cursor)


async def test_watched_addresses_are_few_and_addresses(reader: EventReader) -> None:
    """None, too many, or what is none."""
    for addresses, kind in (([], Unsupported), ([US] * 1001, Unsupported), (["me"], InvalidAddress)):
        with refused(kind):
            async for _ in reader.stream(addresses, ""):
                break
