"""Esplora's REST interface (https://github.com/Blockstream/esplora/blob/master/API.md), as far as the adapter needs it."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, TypeAdapter, model_validator

from keyquorum_btc.node import (
    DEFAULT_FLOOR,
    Account,
    BitcoinNode,
    BlockHeader,
    BlockRef,
    ChainTransaction,
    Input,
    Outpoint,
    Output,
    RelayFloor,
    Spender,
    Unspent,
)
from keyquorum_btc.shapes import (
    COINS_MAX,
    HASH,
    TRANSACTIONS_MAX,
    Hash,
    Height,
    Satoshi,
    Script,
    Shape,
    Turnover,
    Vout,
    Weight,
    rate_per_kvb,
    shaped,
)
from keyquorum_btc.sizes import vsize
from keyquorum_btc.transport import NoAnswer, Refused, Reply, Transport, unusual

T = TypeVar("T")

PAGE_TRANSACTIONS = 25  # of a block, per request
PAGES_AT_ONCE = 4
HEADERS_MAX = 64  # remembered; a block's own fields never change
COINBASE_BLOCKS = 100  # until a miner's reward can be spent
LOOKUPS_AT_ONCE = 8
ORIGINS_AT_A_TIME_MAX = 1_000  # looked up for one listing; the next one goes on
ORIGINS_MAX = 20_000  # remembered; what a transaction spends never changes
_REFUSAL = re.compile(r'"code":\s*(-?\d{1,6}),\s*"message":\s*"([^"]*)')


class _Status(Shape):
    confirmed: bool
    block_height: Height | None = None
    block_hash: Hash | None = None

    @property
    def block(self) -> BlockRef | None:
        if not self.confirmed or self.block_height is None or self.block_hash is None:
            return None
        return BlockRef(self.block_height, self.block_hash)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.confirmed and (self.block_height is None or self.block_hash is None):
            raise ValueError("confirmed in no block")
        return self


class _Utxo(Shape):
    txid: Hash
    vout: Vout
    value: Annotated[Satoshi, Field(gt=0)]
    status: _Status


class _Output(Shape):
    scriptpubkey: Script
    value: Satoshi


class _Input(Shape):
    txid: Hash
    vout: Annotated[int, Field(ge=0, le=2**32 - 1)]
    prevout: _Output | None = None
    is_coinbase: bool


class _Transaction(Shape):
    txid: Hash
    vin: list[_Input] = Field(min_length=1)
    vout: list[_Output] = Field(min_length=1)
    weight: Weight
    fee: Satoshi
    status: _Status


class _ChainStats(Shape):
    funded_txo_sum: Turnover
    spent_txo_sum: Turnover


class _Address(Shape):
    chain_stats: _ChainStats


class _Block(Shape):
    id: Hash
    height: Height
    previousblockhash: Hash | None = None


class _BlockStatus(Shape):
    in_best_chain: bool


class _Outspend(Shape):
    spent: bool
    txid: Hash | None = None
    status: _Status | None = None

    @property
    def spender(self) -> Spender | None:
        if not self.spent or self.txid is None or self.status is None:
            return None
        return Spender(self.txid, self.status.block)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.spent and (self.txid is None or self.status is None):
            raise ValueError("spent by nothing")
        return self


@dataclass(frozen=True, slots=True)
class _Origin:
    """What is fixed about the transaction that made a coin."""

    coinbase: bool
    scripts: frozenset[bytes]  # of what it spends


_UNKNOWN_ORIGIN = _Origin(coinbase=False, scripts=frozenset())

_UTXOS = TypeAdapter(Annotated[list[_Utxo], Field(max_length=COINS_MAX)])
_TRANSACTION = TypeAdapter(_Transaction)
_PAGE = TypeAdapter(Annotated[list[_Transaction], Field(max_length=PAGE_TRANSACTIONS)])
_ADDRESS = TypeAdapter(_Address)
_SATOSHI = TypeAdapter(Satoshi)
_BLOCK = TypeAdapter(_Block)
_BLOCK_STATUS = TypeAdapter(_BlockStatus)
_OUTSPEND = TypeAdapter(_Outspend)
_OUTSPENDS = TypeAdapter(list[_Outspend])
_COUNT = TypeAdapter(Annotated[int, Field(ge=1, le=TRANSACTIONS_MAX, strict=True)])


class EsploraNode(BitcoinNode):
    """A node behind Esplora. It has an index of addresses, and tells no relay fees: Bitcoin Core's defaults are assumed."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._blocks: OrderedDict[str, tuple[BlockRef, str, int]] = OrderedDict()  # previous hash, transactions
        self._origins: OrderedDict[str, _Origin] = OrderedDict()  # by txid

    async def genesis_hash(self) -> str:
        """Block 0."""
        found = await self.block_hash(0)
        if found is None:
            raise NoAnswer("the node knows no block", acted=True)
        return found

    async def tip(self) -> BlockRef:
        """By hash, so that height and hash are of one block."""
        text = (await self._get("/blocks/tip/hash")).text
        block, _, _ = await self._block(shaped(HASH, text, "the tip"))
        return block

    async def block_hash(self, height: int) -> str | None:
        """From the index of heights."""
        reply = await self._get(f"/block-height/{height}", absent=True)
        return None if reply.status == 404 else shaped(HASH, reply.text, "a block's height")

    async def header(self, block_hash: str) -> BlockHeader | None:
        """The block's fields are fixed; whether it belongs to the chain is asked each time."""
        reply = await self._get(f"/block/{block_hash}/status", absent=True)
        if reply.status == 404:
            return None
        status = shaped(_BLOCK_STATUS, reply.json(), "a block's status")
        try:
            block, previous, _ = await self._block(block_hash)
        except _Absent:
            return None
        return BlockHeader(block.height, block.hash, previous, status.in_best_chain)

    async def block_transactions(self, block: BlockHeader) -> tuple[ChainTransaction, ...]:
        """Page by page, a few at a time."""
        _, _, count = await self._block(block.hash)
        found: list[ChainTransaction] = []
        starts = range(0, count, PAGE_TRANSACTIONS)
        for first in range(0, len(starts), PAGES_AT_ONCE):
            batch = starts[first : first + PAGES_AT_ONCE]
            for page in await asyncio.gather(*(self._page(block, start) for start in batch)):
                found += page
        if len(found) != count:
            raise NoAnswer("the node's block has another number of transactions", acted=True)
        return tuple(found)

    async def unspent(self, account: Account) -> tuple[Unspent, ...]:
        """From the index of addresses, which leaves out what the mempool spends. What waits or is young is looked up by
        its transaction, once: Esplora's listing tells neither whose change it is nor whether a miner was paid."""
        reply = await self._get(f"/address/{account.address}/utxo")
        listed = shaped(_UTXOS, reply.json(), "coins")
        coins = {Outpoint(utxo.txid, utxo.vout): utxo for utxo in listed}
        if len(coins) != len(listed):
            raise NoAnswer("the node lists a coin twice", acted=True)
        mature = max((utxo.status.block_height or 0 for utxo in listed), default=0) - COINBASE_BLOCKS
        young = [utxo.txid for utxo in listed if not utxo.status.confirmed or (utxo.status.block_height or 0) > mature]
        await self._look_up(young)
        return tuple(
            Unspent(
                outpoint,
                utxo.value,
                utxo.status.block_height if utxo.status.confirmed else None,
                coinbase=self._origins.get(utxo.txid, _UNKNOWN_ORIGIN).coinbase,
                own_change=not utxo.status.confirmed
                and self._origins.get(utxo.txid, _UNKNOWN_ORIGIN).scripts == {account.script},
            )
            for outpoint, utxo in coins.items()
        )

    async def balance(self, account: Account) -> int:
        """From the index of addresses."""
        reply = await self._get(f"/address/{account.address}")
        stats = shaped(_ADDRESS, reply.json(), "an address").chain_stats
        return shaped(_SATOSHI, stats.funded_txo_sum - stats.spent_txo_sum, "an address")

    async def transaction(self, txid: str) -> ChainTransaction | None:
        """With what its inputs spend, and its fee."""
        reply = await self._get(f"/tx/{txid}", absent=True)
        if reply.status == 404:
            return None
        found = shaped(_TRANSACTION, reply.json(), "a transaction")
        if found.txid != txid:
            raise NoAnswer("the node answered for another transaction", acted=True)
        return _transaction(found)

    async def spender(self, outpoint: Outpoint) -> Spender | None:
        """From the index of spendings."""
        reply = await self._get(f"/tx/{outpoint.txid}/outspend/{outpoint.vout}", absent=True)
        return None if reply.status == 404 else shaped(_OUTSPEND, reply.json(), "a spending").spender

    async def mempool_spenders(self, txid: str, outputs: int) -> Sequence[str]:
        """From the index of spendings."""
        reply = await self._get(f"/tx/{txid}/outspends", absent=True)
        if reply.status == 404:
            return ()
        found = shaped(_OUTSPENDS, reply.json(), "spendings")
        if len(found) != outputs:
            raise NoAnswer("the node answered for other outputs", acted=True)
        spenders = (spending.spender for spending in found)
        return tuple(dict.fromkeys(each.txid for each in spenders if each is not None and each.block is None))

    async def fee_rate(self, target_blocks: int) -> int | None:
        """The estimate for the target, or the nearest one that is for fewer blocks, or else the first for more."""
        answer = (await self._get("/fee-estimates")).json()
        if not isinstance(answer, dict):
            raise NoAnswer("the node's answer to fee estimates has the wrong form", acted=True)
        estimates = {int(blocks): answer[blocks] for blocks in answer if _is_target(blocks)}
        sooner = [blocks for blocks in estimates if blocks <= target_blocks]
        nearest = max(sooner) if sooner else min(estimates, default=None)
        return None if nearest is None else rate_per_kvb(estimates[nearest], unit_vbytes=1, satoshi=1)

    async def relay_floor(self) -> RelayFloor:
        """Not told by Esplora."""
        return DEFAULT_FLOOR

    async def broadcast(self, raw: bytes) -> str:
        """The node behind is bitcoind, and its refusals come through as text."""
        reply = await self._transport.request("POST", "/tx", raw.hex().encode(), {"Content-Type": "text/plain"})
        if reply.status == 200:
            return shaped(HASH, reply.text, "a broadcast")
        if reply.status != 400:
            raise unusual(reply.status)
        refusal = _REFUSAL.search(reply.text)
        raise Refused(int(refusal[1]), refusal[2]) if refusal else Refused(0, reply.text)

    async def version(self) -> str:
        """Not told by Esplora."""
        return "esplora"

    async def _block(self, block_hash: str) -> tuple[BlockRef, str, int]:
        known = self._blocks.get(block_hash)
        if known is not None:
            return known
        reply = await self._get(f"/block/{block_hash}", absent=True)
        if reply.status == 404:
            raise _Absent
        answer = reply.json()
        block = shaped(_BLOCK, answer, "a block")
        if block.id != block_hash:
            raise NoAnswer("the node answered for another block", acted=True)
        count = shaped(_COUNT, answer.get("tx_count"), "a block")
        known = (BlockRef(block.height, block.id), block.previousblockhash or "", count)
        self._blocks[block_hash] = known
        if len(self._blocks) > HEADERS_MAX:
            self._blocks.popitem(last=False)
        return known

    async def _look_up(self, txids: Sequence[str]) -> None:
        unknown = [txid for txid in dict.fromkeys(txids) if txid not in self._origins][:ORIGINS_AT_A_TIME_MAX]
        for first in range(0, len(unknown), LOOKUPS_AT_ONCE):
            batch = unknown[first : first + LOOKUPS_AT_ONCE]
            for found in await asyncio.gather(*(self.transaction(txid) for txid in batch)):
                if found is not None:
                    scripts = frozenset(each.spent.script if each.spent else b"" for each in found.inputs)
                    self._origins[found.txid] = _Origin(found.is_coinbase, scripts)
        while len(self._origins) > ORIGINS_MAX:
            self._origins.popitem(last=False)

    async def _page(self, block: BlockHeader, start: int) -> list[ChainTransaction]:
        reply = await self._get(f"/block/{block.hash}/txs/{start}")
        page = shaped(_PAGE, reply.json(), "a block's transactions")
        return [_transaction(each, BlockRef(block.height, block.hash)) for each in page]

    async def _get(self, path: str, *, absent: bool = False) -> Reply:
        reply = await self._transport.request("GET", path)
        if reply.status == 200 or (absent and reply.status == 404):
            return reply
        raise unusual(reply.status)


class _Absent(NoAnswer):
    """The node does not have the block."""

    def __init__(self) -> None:
        super().__init__("the node does not know a block that it has named", acted=True)


def _transaction(found: _Transaction, block: BlockRef | None = None) -> ChainTransaction:
    coinbase = found.vin[0].is_coinbase
    return ChainTransaction(
        txid=found.txid,
        inputs=() if coinbase else tuple(_input(each) for each in found.vin),
        outputs=tuple(Output(each.scriptpubkey, each.value) for each in found.vout),
        vsize=vsize(found.weight),
        fee=None if coinbase else found.fee,
        block=block or found.status.block,
    )


def _input(found: _Input) -> Input:
    spent = None if found.prevout is None else Output(found.prevout.scriptpubkey, found.prevout.value)
    return Input(Outpoint(found.txid, found.vout), spent)


def _is_target(key: Any) -> bool:
    return isinstance(key, str) and key.isascii() and key.isdigit() and len(key) <= 4
