"""What the adapter believes of a node that is slow, wrong or hostile: nothing that has another form."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from keyquorum_eth.config import parse_config
from keyquorum_eth.fees import FeeOracle, Fees, Wishes, bumped
from keyquorum_eth.gas import GasEstimator
from keyquorum_eth.heads import Heads
from keyquorum_eth.node import EthereumNode
from keyquorum_eth.rpc import BATCH_MAX, JsonRpc, NoAnswer, NodeError, Question
from keyquorum_eth.shapes import BLOCK, QUANTITY, Block
from keyquorum_eth.tokens import Tokens
from keyquorum_eth.transactions import Call
from keyquorum_plugin_api.errors import (
    ChainUnavailable,
    FeeTooHigh,
    FeeTooLow,
    InsufficientFunds,
    TransactionRejected,
    UnsupportedAsset,
)
from keyquorum_plugin_api.testing import RecordingLogger, SystemClock, refused
from support.ethereum_script import HASH, block, receipt
from support.scripted_rpc import Reply, ScriptedNode, body, error, hang_up, raw, result, silence

ADDRESS = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"
TXID = "0x" + "cd" * 32
TOKEN = b"\x5b" * 20
GWEI = 10**9

ODD: dict[str, Any] = {
    "null": None,
    "number": 16,
    "decimal": "16",
    "negative": "-0x10",
    "padded": "0x010",
    "upper case": "0X10",
    "nothing": "0x",
    "huge": "0x1" + "0" * 64,
    "list": ["0x10"],
    "object": {"value": "0x10"},
    "boolean": True,
    "float": 1.5,
    "text": "many",
}

Ask = Callable[[EthereumNode], Awaitable[object]]


@pytest.mark.parametrize("odd", ODD)
async def test_quantities_have_one_form(node: EthereumNode, script: ScriptedNode, odd: str) -> None:
    """Hexadecimal, without leading zeros, of 256 bits at most."""
    script.says("eth_maxPriorityFeePerGas", result(ODD[odd]))
    with refused(ChainUnavailable):
        await node.priority_fee()


BLOCKS: dict[str, Any] = {
    "null": None,
    "no base fee": {key: value for key, value in block().items() if key != "baseFeePerGas"},
    "negative number": block(number=16) | {"number": "-0x1"},
    "short hash": block(hash="0xab"),
    "hash in capitals": block(hash="0x" + "AB" * 32),
    "list": [block()],
}


@pytest.mark.parametrize("name", BLOCKS)
async def test_blocks_have_one_form(node: EthereumNode, script: ScriptedNode, name: str) -> None:
    """What is no block is no head."""
    script.says("eth_getBlockByNumber", result(BLOCKS[name]))
    with refused(ChainUnavailable):
        await node.head()


RECEIPTS: dict[str, Any] = {
    "of another transaction": receipt("0x" + "ef" * 32),
    "of two statuses": receipt(TXID, status="0x2"),
    "without status": {key: value for key, value in receipt(TXID).items() if key != "status"},
    "of a negative block": receipt(TXID, blockNumber="-0x1"),
    "list": [receipt(TXID)],
}


@pytest.mark.parametrize("name", RECEIPTS)
async def test_receipts_are_those_asked_for(node: EthereumNode, script: ScriptedNode, name: str) -> None:
    """A receipt of another transaction confirms nothing."""
    script.says("eth_getBlockByNumber", result(block()))
    script.says("eth_getTransactionByHash", result(None))
    script.says("eth_getTransactionReceipt", result(RECEIPTS[name]))
    with refused(ChainUnavailable):
        await node.transaction(TXID)


COUNTS: dict[str, list[str]] = {  # count, balance, final count, pending count, pending balance
    "more final than there are": ["0x5", "0x0", "0x6", "0x7", "0x0"],
    "fewer pending than there are": ["0x5", "0x0", "0x4", "0x4", "0x0"],
    "implausibly many pending": ["0x5", "0x0", "0x4", "0x10000", "0x0"],
    "a count beyond any nonce": ["0x5", "0x0", "0x4", "0x" + "f" * 64, "0x0"],
}


@pytest.mark.parametrize("name", COUNTS)
async def test_counts_are_plausible(node: EthereumNode, script: ScriptedNode, name: str) -> None:
    """A node cannot lead to a nonce out of nowhere."""
    count, balance, final, pending, pending_balance = map(result, COUNTS[name])
    script.says("eth_getTransactionCount", count, final, pending)
    script.says("eth_getBalance", balance, pending_balance)
    with refused(ChainUnavailable):
        await node.account(ADDRESS, Block.model_validate(block()))


async def test_an_error_is_no_nonce(node: EthereumNode, script: ScriptedNode) -> None:
    """Neither 0 nor anything else follows from a refusal, also of one question in a batch."""
    script.says("eth_getTransactionCount", result("0x5"), result("0x5"), error(-32000, "header not found"))
    script.says("eth_getBalance", result("0x0"))
    with refused(ChainUnavailable):
        await node.account(ADDRESS, Block.model_validate(block()))


READS: dict[str, Ask] = {
    "health": lambda node: node.health(),
    "head": lambda node: node.head(),
    "account": lambda node: node.account(ADDRESS, Block.model_validate(block())),
    "transaction": lambda node: node.transaction(TXID),
    "balances": lambda node: node.balances(ADDRESS, []),
    "code": lambda node: node.code(TOKEN),
    "send": lambda node: node.send(b"\x02"),
}


@pytest.mark.parametrize("name", READS)
async def test_a_node_of_another_chain_is_not_asked(node: EthereumNode, script: ScriptedNode, name: str) -> None:
    """Nothing is read from it, and nothing sent to it."""
    script.says("eth_chainId", result("0x1"))
    with refused(ChainUnavailable):
        await READS[name](node)
    assert {method for method, _ in script.calls} == {"eth_chainId"}


NONSENSE: dict[str, Reply] = {
    "not JSON": body("<html>"),
    "not an object": body("[]"),
    "deep": body("[" * 5000),
    "infinite": body('{"jsonrpc":"2.0","id":1,"result":Infinity}'),
    "another id": raw(id=10**9, result="0x1"),
    "boolean id": raw(id=True, result="0x1"),
    "no result": raw(),
    "old protocol": raw(jsonrpc="1.0", result="0x1"),
    "odd error": raw(error="no"),
    "error without code": raw(error={"message": "no"}),
    "long": body(b"x" * 9000),
    "redirect": body("", status=302),
    "HTTP error": body("{}", status=500),
    "hung up": hang_up,
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_is_no_answer(rpc: JsonRpc, script: ScriptedNode, name: str) -> None:
    """The node may have acted on the request, and is not asked again."""
    script.says("eth_gasPrice", NONSENSE[name])
    with pytest.raises(NoAnswer) as caught:
        await rpc.ask(Question("eth_gasPrice", [], QUANTITY))
    assert caught.value.acted
    assert len(script.called("eth_gasPrice")) == 1


@pytest.mark.parametrize("timeout_s", [0.1])
async def test_silence_ends(rpc: JsonRpc, script: ScriptedNode, timeout_s: float) -> None:
    """Within the time-out of one request."""
    script.says("eth_gasPrice", silence)
    with pytest.raises(NoAnswer, match="in time"):
        await rpc.ask(Question("eth_gasPrice", [], QUANTITY))


@pytest.mark.parametrize("refusal", [body("", status=429), error(429, "slow down"), error(-32005, "limit exceeded")])
async def test_rate_limits_did_nothing(rpc: JsonRpc, script: ScriptedNode, refusal: Reply) -> None:
    """They are told apart from lost answers."""
    script.says("eth_gasPrice", refusal)
    with pytest.raises(NoAnswer) as caught:
        await rpc.ask(Question("eth_gasPrice", [], QUANTITY))
    assert not caught.value.acted


async def test_batches_are_answered_whole(rpc: JsonRpc, script: ScriptedNode) -> None:
    """Each question once, in any order; one answer too few, too many or twice is none at all."""
    script.says("eth_gasPrice", *(result(hex(number)) for number in range(BATCH_MAX + 5)))
    questions = [Question("eth_gasPrice", [], QUANTITY)] * (BATCH_MAX + 5)
    assert await rpc.ask_all(questions) == list(range(BATCH_MAX + 5))
    script.says("eth_gasPrice", raw(id=1, result="0x1"))
    with pytest.raises(NoAnswer):
        await rpc.ask_all(questions[:2])


async def test_batches_keep_refusals_in_their_place(rpc: JsonRpc, script: ScriptedNode) -> None:
    """One refused question does not hide the others' answers."""
    script.says("eth_gasPrice", result("0x1"), error(-32601, "no\x1b[2J such method" + "x" * 1000), result("0x3"))
    first, second, third = await rpc.ask_all([Question("eth_gasPrice", [], QUANTITY)] * 3)
    assert (first, third) == (1, 3)
    assert isinstance(second, NodeError)
    assert len(second.message) <= 200
    assert second.message.isprintable()


def oracle(node: EthereumNode, **config: Any) -> FeeOracle:
    return FeeOracle(node, parse_config({"rpc_url": "http://x", **config}))


def history(base_fees: list[int], rewards: list[int], used: list[float]) -> Reply:
    return result(
        {
            "oldestBlock": "0x1",
            "baseFeePerGas": list(map(hex, base_fees)),
            "gasUsedRatio": used,
            "reward": [[hex(reward)] for reward in rewards],
        }
    )


HEAD = Block.model_validate(block())


async def test_fees_follow_blocks_that_were_used(node: EthereumNode, script: ScriptedNode) -> None:
    """The median of the blocks with transactions; asked once per block."""
    script.says("eth_feeHistory", history([GWEI] * 3 + [2 * GWEI], [5, 0, 7], [0.5, 0.0, 0.1]))
    fees = oracle(node)
    for _ in range(3):
        assert await fees.fees(HEAD, Wishes()) == Fees(4 * GWEI + 5, 5)
    assert len(script.called("eth_feeHistory")) == 1


async def test_fees_of_an_empty_chain(node: EthereumNode, script: ScriptedNode) -> None:
    """The node's own suggestion, cut to the ceiling."""
    script.says("eth_feeHistory", result({"baseFeePerGas": [hex(GWEI)], "gasUsedRatio": [], "reward": None}))
    script.says("eth_maxPriorityFeePerGas", result(hex(10**30)))
    assert await oracle(node, priority_fee_max=3).fees(HEAD, Wishes()) == Fees(2 * GWEI + 3, 3)


async def test_a_node_cannot_raise_fees_beyond_the_ceiling(node: EthereumNode, script: ScriptedNode) -> None:
    """Whatever it says the next block costs, and whatever it says others pay."""
    script.says("eth_feeHistory", history([GWEI, 2**255], [2**255], [1.0]))
    with refused(FeeTooHigh):
        await oracle(node).fees(HEAD, Wishes())
    script.says("eth_feeHistory", history([GWEI, 280 * GWEI], [2**255], [1.0]))
    assert await oracle(node).fees(HEAD, Wishes()) == Fees(300 * GWEI, 20 * GWEI)


@pytest.mark.parametrize(
    "answer",
    [
        {"baseFeePerGas": [], "gasUsedRatio": []},
        {"baseFeePerGas": ["0x1"], "gasUsedRatio": ["nan"], "reward": [["0x1"]]},
        {"baseFeePerGas": ["0x1"], "gasUsedRatio": [-1], "reward": [["0x1"]]},
        {"baseFeePerGas": ["0x1"], "gasUsedRatio": [1], "reward": [["0x1", "0x2"]]},
        {"baseFeePerGas": ["0x1"], "gasUsedRatio": [1], "reward": [[]]},
        {"baseFeePerGas": [1], "gasUsedRatio": [1]},
        None,
    ],
)
async def test_odd_fee_histories_are_no_answer(node: EthereumNode, script: ScriptedNode, answer: Any) -> None:
    """Nothing is offered that nothing supports."""
    script.says("eth_feeHistory", result(answer))
    with refused(ChainUnavailable):
        await oracle(node).fees(HEAD, Wishes())


async def test_replacements_offer_enough(node: EthereumNode, script: ScriptedNode) -> None:
    """An eighth more of both at least, also where a caller wants less; the ceilings stay."""
    assert (bumped(0), bumped(1), bumped(8), bumped(1000)) == (1, 2, 9, 1125)
    script.says("eth_feeHistory", history([GWEI, GWEI], [5], [1.0]))
    fees = oracle(node)
    least = Fees(bumped(10 * GWEI), bumped(2 * GWEI))
    assert await fees.fees(HEAD, Wishes(), least) == least
    for wish in (Wishes(max_fee=least.max_fee - 1), Wishes(priority_fee=least.priority_fee - 1)):
        with refused(FeeTooLow):
            await fees.fees(HEAD, wish, least)
    with refused(FeeTooHigh):
        await fees.fees(HEAD, Wishes(), Fees(301 * GWEI, 1))


async def test_gas_is_exact_for_accounts_without_code(node: EthereumNode, script: ScriptedNode) -> None:
    """And asked once per block and account."""
    script.says("eth_getCode", result("0x"))
    gas = GasEstimator(node, 20)
    for amount in (1, 2):
        assert await gas.limit(ADDRESS, Call(TOKEN, amount), HEAD) == 21_000
    assert len(script.called("eth_getCode")) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (result("0x0"), ChainUnavailable),
        (result(hex(2**24 + 1)), ChainUnavailable),
        (result("0x" + "f" * 64), ChainUnavailable),
        (error(3, "execution reverted: paused"), TransactionRejected),
        (error(-32000, "insufficient funds for transfer"), InsufficientFunds),
        (error(-32601, "method not found"), ChainUnavailable),
    ],
)
async def test_odd_estimates_are_refused(
    node: EthereumNode, script: ScriptedNode, answer: Reply, kind: type[ChainUnavailable]
) -> None:
    """No transaction is built on them."""
    script.says("eth_estimateGas", answer)
    with refused(kind):
        await GasEstimator(node, 20).limit(ADDRESS, Call(TOKEN, 0, b"\x01" * 68), HEAD)


def word(number: int) -> str:
    return f"0x{number:064x}"


LOOKUP = "0x556f1830" + "00" * 12 + "5b" * 20 + "00" * 128  # OffchainLookup(address,string[],bytes,bytes4,bytes)


@pytest.mark.parametrize(
    "answer",
    [
        result("0x"),
        result(word(78)),
        result(word(2**256 - 1)),
        result("0x12"),
        error(3, "execution reverted", LOOKUP),
        error(3, "execution reverted"),
    ],
)
async def test_contracts_that_are_no_tokens(
    rpc: JsonRpc, node: EthereumNode, script: ScriptedNode, answer: Reply
) -> None:
    """Whatever they answer; nothing is fetched on their behalf."""
    script.says("eth_call", answer)
    script.says("eth_getCode", result("0x60"))
    with refused(UnsupportedAsset):
        await Tokens(rpc, node).token(TOKEN)
    assert {method for method, _ in script.calls} <= {"eth_call", "eth_getCode", "eth_chainId"}


def text(value: bytes) -> str:
    return f"0x{32:064x}{len(value):064x}" + value.hex().ljust(-(-len(value) // 32) * 64, "0")


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        (result(text(b"GOLD")), "GOLD"),
        (result(text(b"<b>GO\x1b[2JLD</b>")), "bGO2JLDb"),
        (result(text(b"X" * 500)), "X" * 16),
        (result(text("\u202eDLOG".encode())), "DLOG"),
        (result(text(b"\xff\xfe")), "ERC20"),
        (result("0x" + b"MKR".hex().ljust(64, "0")), "ERC20"),
        (result(f"0x{2**255:064x}"), "ERC20"),
        (error(3, "execution reverted"), "ERC20"),
    ],
)
async def test_symbols_are_cleaned(
    rpc: JsonRpc, node: EthereumNode, script: ScriptedNode, symbol: Reply, shown: str
) -> None:
    """They are a stranger's text; a token without one is a token all the same."""
    script.says("eth_call", result(word(6)), symbol)
    token = await Tokens(rpc, node).token(TOKEN)
    assert (token.decimals, token.symbol) == (6, shown)


async def test_heads_are_shared_and_forgotten(node: EthereumNode, script: ScriptedNode, http: Any) -> None:
    """One request serves everybody for a while."""
    script.says("eth_getBlockByNumber", result(block()))
    heads = Heads(node, http, None, SystemClock(), RecordingLogger(), age_s_max=60)
    for _ in range(3):
        assert (await heads.current()).hash == HASH
    heads.forget()
    await heads.current()
    assert len(script.called("eth_getBlockByNumber")) == 2


async def test_shapes_do_not_show_what_they_refuse(rpc: JsonRpc, script: ScriptedNode) -> None:
    """A node's text does not reach errors unseen."""
    script.says("eth_getBlockByNumber", result({"number": "s3cret"}))
    with pytest.raises(NoAnswer) as caught:
        await rpc.ask(Question("eth_getBlockByNumber", [], BLOCK))
    assert "s3cret" not in str(caught.value)
