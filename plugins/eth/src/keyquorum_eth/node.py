"""What the adapter asks a node. Every read raises :class:`ChainUnavailable` and nothing else, unless it says so."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter

from keyquorum_eth import shapes
from keyquorum_eth.addresses import checksummed
from keyquorum_eth.network import chain_id_of
from keyquorum_eth.rpc import JsonRpc, NoAnswer, NodeError, Question
from keyquorum_eth.shapes import Block, FeeHistory, FullBlock, KnownTransaction, Log, Receipt
from keyquorum_plugin_api.chain import Clock
from keyquorum_plugin_api.errors import ChainUnavailable

T = TypeVar("T")

CHAIN_CHECK_S = 60.0  # how long a node is believed to serve the chain it served before
PENDING_MAX = 10_000  # of one account: a node that counts more is not believed
TRANSFER_TOPIC = (
    "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"  # Transfer(address,address,uint256)
)


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account at one block: transactions included there, wei held; and both with what waits in the node's pool."""

    count: int
    balance: int
    final_count: int  # transactions that no reorganisation takes back
    pending_count: int
    pending_balance: int


@dataclass(frozen=True, slots=True)
class TransactionView:
    """What a node knows of a transaction, and of the chain at the same time."""

    receipt: Receipt | None
    known: KnownTransaction | None
    head: int
    final: int  # the last block that no reorganisation takes back; -1 before there is one
    final_count: int | None  # of the transactions of an account that was asked for, at that block


class EthereumNode:
    """One chain behind one endpoint. Before the first answer is used, and once a minute, it has to be the right one."""

    def __init__(self, rpc: JsonRpc, chain: str, clock: Clock, final_confirmations: int | None) -> None:
        self._rpc = rpc
        self._chain_id = chain_id_of(chain)
        self._clock = clock
        self._final_confirmations = final_confirmations
        self._checked_at: float | None = None
        self._check_lock = asyncio.Lock()

    async def require_chain(self) -> None:
        """Ask which chain the node serves."""
        found = await self._plain("eth_chainId", [], shapes.QUANTITY)
        if found != self._chain_id:
            raise ChainUnavailable(f"the node serves the chain {found} and not {self._chain_id}")
        self._checked_at = self._clock.monotonic()

    async def health(self) -> Mapping[str, str]:
        """Facts about the node; refuses one that is still catching up."""
        await self.require_chain()
        if await self._plain("eth_syncing", [], shapes.SYNCING) is not False:
            raise ChainUnavailable("the node is catching up with the chain")
        version = await self._plain("web3_clientVersion", [], shapes.TEXT)
        head = await self.head()
        printable = "".join(character for character in version if character.isprintable())
        return {"chain_id": str(self._chain_id), "version": printable, "block": str(head.number), "hash": head.hash}

    async def head(self) -> Block:
        """The latest block."""
        return await self._read("eth_getBlockByNumber", ["latest", False], shapes.BLOCK)

    async def fee_history(self, blocks: int, percentile: int) -> FeeHistory:
        """Fees of the last blocks."""
        return await self._read("eth_feeHistory", [hex(blocks), "latest", [percentile]], shapes.FEE_HISTORY)

    async def priority_fee(self) -> int:
        """What the node itself would offer, in wei per gas."""
        return await self._read("eth_maxPriorityFeePerGas", [], shapes.QUANTITY)

    async def account(self, address: str, head: Block) -> AccountView:
        """An account as of ``head``."""
        at = hex(head.number)
        asked: list[tuple[str, str]] = [
            ("eth_getTransactionCount", at),
            ("eth_getBalance", at),
            ("eth_getTransactionCount", self._final_tag(head.number)),
            ("eth_getTransactionCount", "pending"),
            ("eth_getBalance", "pending"),
        ]
        questions = [Question(method, [address, tag], shapes.QUANTITY) for method, tag in asked]
        view = AccountView(*await self._read_all(questions))
        if not view.final_count <= view.count <= view.pending_count <= view.count + PENDING_MAX:
            raise ChainUnavailable("the node counts an account's transactions in a way that cannot be")
        return view

    async def balances(self, address: str, calls: Sequence[tuple[bytes, bytes]]) -> tuple[int, list[bytes | None]]:
        """Wei, and what contracts answer to calls (contract, data); None where one refuses."""
        questions: list[Question[Any]] = [Question("eth_getBalance", [address, "latest"], shapes.QUANTITY)]
        questions += [
            Question("eth_call", [{"to": checksummed(to), "data": f"0x{data.hex()}"}, "latest"], shapes.DATA)
            for to, data in calls
        ]
        await self._require_checked()
        try:
            balance, *answers = await self._rpc.ask_all(questions)
        except NoAnswer as error:
            raise ChainUnavailable(error.detail) from None
        if isinstance(balance, NodeError):
            raise ChainUnavailable(f"the node refused eth_getBalance: {balance}")
        return balance, [None if isinstance(answer, NodeError) else answer for answer in answers]

    async def code(self, address: bytes) -> bytes:
        """The code of an account, empty for those that are nobody's contract."""
        return await self._read("eth_getCode", [checksummed(address), "latest"], shapes.DATA)

    async def estimate_gas(self, call: Mapping[str, str]) -> int:
        """What a call would use. Raises :class:`NodeError` where the call would fail."""
        await self._require_checked()
        try:
            return await self._rpc.ask(Question("eth_estimateGas", [dict(call)], shapes.QUANTITY))
        except NoAnswer as error:
            raise ChainUnavailable(error.detail) from None

    async def transaction(self, txid: str, account: str | None = None) -> TransactionView:
        """Where a transaction stands; with an account, how many of its transactions are final, too."""
        head = (await self.head()).number
        questions: list[Question[Any]] = [
            Question("eth_getTransactionReceipt", [txid], shapes.RECEIPT_OR_NONE),
            Question("eth_getTransactionByHash", [txid], shapes.KNOWN_OR_NONE),
        ]
        if self._final_confirmations is None:
            questions.append(Question("eth_getBlockByNumber", ["finalized", False], shapes.BLOCK_OR_NONE))
        if account is not None:
            questions.append(Question("eth_getTransactionCount", [account, self._final_tag(head)], shapes.QUANTITY))
        receipt, known, *rest = await self._read_all(questions)
        if (receipt is not None and receipt.txid != txid) or (known is not None and known.txid != txid):
            raise ChainUnavailable("the node answered for another transaction")
        if self._final_confirmations is None:
            block = rest.pop(0)
            final = -1 if block is None else min(block.number, head)
        else:
            final = head - self._final_confirmations + 1
        return TransactionView(receipt, known, head, final, rest[0] if rest else None)

    async def full_block(self, number: int) -> FullBlock | None:
        """A block with its transactions; None where the chain does not reach so far."""
        found = await self._read("eth_getBlockByNumber", [hex(number), True], shapes.FULL_BLOCK_OR_NONE)
        if found is not None and found.number != number:
            raise ChainUnavailable("the node answered with another block")
        return found

    async def block(self, number: int) -> Block | None:
        """A block; None where the chain does not reach so far."""
        found = await self._read("eth_getBlockByNumber", [hex(number), False], shapes.BLOCK_OR_NONE)
        if found is not None and found.number != number:
            raise ChainUnavailable("the node answered with another block")
        return found

    async def receipts(self, txids: Sequence[str]) -> list[Receipt | None]:
        """Receipts, in order."""
        questions = [Question("eth_getTransactionReceipt", [txid], shapes.RECEIPT_OR_NONE) for txid in txids]
        found: list[Receipt | None] = await self._read_all(questions)
        if any(receipt is not None and receipt.txid != txid for txid, receipt in zip(txids, found, strict=True)):
            raise ChainUnavailable("the node answered for another transaction")
        return found

    async def token_transfers(self, block: str, tokens: Sequence[bytes], parties: Sequence[bytes]) -> list[Log]:
        """Transfer events of these tokens in a block that name one of ``parties`` on either side."""
        words = [f"0x{party.hex():0>64}" for party in parties]
        where = {"blockHash": block, "address": [checksummed(token) for token in tokens]}
        topics: tuple[list[Any], ...] = ([TRANSFER_TOPIC, words], [TRANSFER_TOPIC, None, words])
        questions = [Question("eth_getLogs", [{**where, "topics": each}], shapes.LOGS) for each in topics]
        found: dict[int, Log] = {log.index: log for logs in await self._read_all(questions) for log in logs}
        return [found[index] for index in sorted(found)]

    async def send(self, raw: bytes) -> str:
        """Hand signed bytes to the node; the hash it gives. Raises :class:`NodeError` or :class:`NoAnswer`, except that
        a node of another chain is :class:`ChainUnavailable` before anything is sent."""
        await self._require_checked()
        return await self._rpc.ask(Question("eth_sendRawTransaction", [f"0x{raw.hex()}"], shapes.HASH))

    def _final_tag(self, head: int) -> str:
        if self._final_confirmations is None:
            return "finalized"
        depth = head - self._final_confirmations + 1
        return hex(depth) if depth >= 0 else "earliest"

    async def _require_checked(self) -> None:
        if self._is_checked():
            return
        async with self._check_lock:
            if not self._is_checked():
                await self.require_chain()

    def _is_checked(self) -> bool:
        return self._checked_at is not None and self._clock.monotonic() - self._checked_at <= CHAIN_CHECK_S

    async def _read(self, method: str, params: list[Any], shape: TypeAdapter[T]) -> T:
        await self._require_checked()
        return await self._plain(method, params, shape)

    async def _plain(self, method: str, params: list[Any], shape: TypeAdapter[T]) -> T:
        try:
            return await self._rpc.ask(Question(method, params, shape))
        except NoAnswer as error:
            raise ChainUnavailable(error.detail) from None
        except NodeError as error:
            raise ChainUnavailable(f"the node refused {method}: {error}") from None

    async def _read_all(self, questions: Sequence[Question[Any]]) -> list[Any]:
        await self._require_checked()
        try:
            found = await self._rpc.ask_all(questions)
        except NoAnswer as error:
            raise ChainUnavailable(error.detail) from None
        for question, answer in zip(questions, found, strict=True):
            if isinstance(answer, NodeError):
                raise ChainUnavailable(f"the node refused {question.method}: {answer}")
        return found
