"""Bitcoin Core's RPCs (https://developer.bitcoin.org/reference/rpc/), as far as the adapter needs them.

bitcoind has no index of addresses and none of spendings. Coins come from ``scantxoutset``, which walks the whole set of
unspent outputs (seconds to minutes on the main network: prefer Esplora there, or a node with room for it), and from the
mempool's spendings of what it found. What spent an output in a block is looked for in recent blocks. ``txindex=1`` is
needed to follow transactions.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter

from keyquorum_btc.jsonrpc import JsonRpc
from keyquorum_btc.mempool_index import MempoolIndex
from keyquorum_btc.node import (
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
    Bitcoins,
    Hash,
    Height,
    Script,
    Shape,
    Text,
    Vout,
    Vsize,
    rate_per_kvb,
)
from keyquorum_btc.transport import NoAnswer, Refused

T = TypeVar("T")

NOT_FOUND = -5  # RPC_INVALID_ADDRESS_OR_KEY
OUT_OF_RANGE = -8  # RPC_INVALID_PARAMETER
SPENDER_BLOCKS_MAX = 144  # that are searched for what spent an output
SPENDERS_MAX = 1_024  # remembered
MEMPOOL_CHAIN_MAX = 25  # generations of unconfirmed transactions, the mempool's own limit


class _Chain(Shape):
    blocks: Height
    bestblockhash: Hash


class _Header(Shape):
    hash: Hash
    height: Height
    confirmations: Annotated[int, Field(ge=-1)]
    previousblockhash: Hash | None = None


class _ScriptPubKey(Shape):
    hex: Script


class _Output(Shape):
    value: Bitcoins
    script: _ScriptPubKey = Field(alias="scriptPubKey")


class _Input(Shape):
    txid: Hash | None = None  # absent in a coinbase
    vout: Vout | None = None
    prevout: _Output | None = None


class _Transaction(Shape):
    txid: Hash
    vin: list[_Input] = Field(min_length=1)
    vout: list[_Output] = Field(min_length=1)
    vsize: Vsize
    fee: Bitcoins | None = None
    blockhash: Hash | None = None
    confirmations: Annotated[int, Field(ge=0)] = 0


class _Block(Shape):
    hash: Hash
    tx: list[_Transaction] = Field(min_length=1, max_length=TRANSACTIONS_MAX)


class _Unspent(Shape):
    txid: Hash
    vout: Vout
    script: Script = Field(alias="scriptPubKey")
    amount: Bitcoins
    height: Height
    coinbase: bool = False  # told since Bitcoin Core 26


class _Scan(Shape):
    success: Literal[True]
    unspents: list[_Unspent] = Field(max_length=COINS_MAX)


class _Fees(Shape):
    base: Bitcoins


class _Entry(Shape):
    fees: _Fees
    spentby: list[Hash] = Field(max_length=TRANSACTIONS_MAX)


class _Estimate(Shape):
    feerate: Any = None


class _Mempool(Shape):
    mempoolminfee: Any
    minrelaytxfee: Any
    incrementalrelayfee: Any = None


class _Network(Shape):
    subversion: Text


_CHAIN = TypeAdapter(_Chain)
_HEADER = TypeAdapter(_Header)
_BLOCK = TypeAdapter(_Block)
_TRANSACTION = TypeAdapter(_Transaction)
_SCAN = TypeAdapter(_Scan)
_ENTRY = TypeAdapter(_Entry)
_ESTIMATE = TypeAdapter(_Estimate)
_MEMPOOL = TypeAdapter(_Mempool)
_NETWORK = TypeAdapter(_Network)
_UNSPENT_OUTPUT: TypeAdapter[_Output | None] = TypeAdapter(_Output | None)


class BitcoindNode(BitcoinNode):
    """One bitcoind with ``txindex=1``."""

    def __init__(self, rpc: JsonRpc) -> None:
        self._rpc = rpc
        self._mempool = MempoolIndex(rpc)
        self._scan_lock = asyncio.Lock()  # bitcoind runs one scan at a time
        self._spenders: OrderedDict[Outpoint, Spender] = OrderedDict()

    async def genesis_hash(self) -> str:
        """Block 0."""
        return await self._read("getblockhash", [0], HASH)

    async def tip(self) -> BlockRef:
        """Height and hash in one answer."""
        chain = await self._read("getblockchaininfo", [], _CHAIN)
        return BlockRef(chain.blocks, chain.bestblockhash)

    async def block_hash(self, height: int) -> str | None:
        """The best chain's block at a height."""
        return await self._find("getblockhash", [height], HASH, absent=OUT_OF_RANGE)

    async def header(self, block_hash: str) -> BlockHeader | None:
        """A block of a dropped branch has -1 confirmations."""
        found = await self._find("getblockheader", [block_hash], _HEADER)
        if found is None:
            return None
        if found.hash != block_hash:
            raise NoAnswer("the node answered for another block", acted=True)
        return BlockHeader(found.height, found.hash, found.previousblockhash or "", found.confirmations >= 0)

    async def block_transactions(self, block: BlockHeader) -> tuple[ChainTransaction, ...]:
        """In one answer, which for a full block is long; see ``response_bytes_max``."""
        found = await self._read("getblock", [block.hash, 3], _BLOCK)
        if found.hash != block.hash:
            raise NoAnswer("the node answered for another block", acted=True)
        where = BlockRef(block.height, block.hash)
        return tuple([await self._with_spent(_transaction(each, where, each.fee)) for each in found.tx])

    async def unspent(self, account: Account) -> tuple[Unspent, ...]:
        """The confirmed outputs, less what the mempool spends, and what those spendings pay back to the same script.

        An unconfirmed payment by somebody else is not seen; it could not be spent either.
        """
        script, confirmed = account.script, await self._confirmed(account.script)
        ours, spent, generation = dict(confirmed), set[Outpoint](), confirmed
        for _ in range(MEMPOOL_CHAIN_MAX):
            spenders = await self._mempool.spenders(generation)
            spent |= spenders.keys()
            generation = {}
            for txid in dict.fromkeys(spenders.values()):
                for coin in await self._paid_back(txid, script, ours.keys()):
                    if coin.outpoint not in ours:
                        generation[coin.outpoint] = ours[coin.outpoint] = coin
            if not generation:
                break
        return tuple(coin for outpoint, coin in ours.items() if outpoint not in spent)

    async def balance(self, account: Account) -> int:
        """From the set of unspent outputs, which knows nothing of the mempool."""
        return sum(coin.amount for coin in (await self._confirmed(account.script)).values())

    async def transaction(self, txid: str) -> ChainTransaction | None:
        """Needs the index of transactions for what is in a block."""
        found = await self._find("getrawtransaction", [txid, 2], _TRANSACTION)
        if found is None:
            return None
        if found.txid != txid:
            raise NoAnswer("the node answered for another transaction", acted=True)
        if found.blockhash is None:
            entry = await self._find("getmempoolentry", [txid], _ENTRY)
            return _transaction(found, None, entry.fees.base if entry else None)
        header = await self.header(found.blockhash)
        if header is None or not header.in_best_chain:
            return None
        return _transaction(found, BlockRef(header.height, header.hash), found.fee)

    async def spender(self, outpoint: Outpoint) -> Spender | None:
        """From the mempool, or from the last :data:`SPENDER_BLOCKS_MAX` blocks; None where it was spent before them."""
        for txid in (await self._mempool.spenders([outpoint])).values():
            return Spender(txid, None)
        if await self._read("gettxout", [outpoint.txid, outpoint.vout, False], _UNSPENT_OUTPUT) is not None:
            return None
        parent = await self.transaction(outpoint.txid)
        if parent is None or parent.block is None:
            return None
        known = self._spenders.get(outpoint)
        if known is not None and known.block is not None:
            header = await self.header(known.block.hash)
            if header is not None and header.in_best_chain:
                return known
        return await self._search_spender(outpoint, parent.block.height)

    async def mempool_spenders(self, txid: str, outputs: int) -> Sequence[str]:
        """From the mempool's own record."""
        entry = await self._find("getmempoolentry", [txid], _ENTRY)
        if entry is not None:
            return tuple(entry.spentby)
        spendings = await self._mempool.spenders([Outpoint(txid, vout) for vout in range(outputs)])
        return tuple(dict.fromkeys(spendings.values()))

    async def fee_rate(self, target_blocks: int) -> int | None:
        """The conservative estimate; a young node has none."""
        estimate = await self._read("estimatesmartfee", [target_blocks, "conservative"], _ESTIMATE)
        return rate_per_kvb(estimate.feerate, unit_vbytes=1_000, satoshi=100_000_000)

    async def relay_floor(self) -> RelayFloor:
        """What the mempool asks for now, which rises while it is full."""
        mempool = await self._read("getmempoolinfo", [], _MEMPOOL)

        def rate(value: Any) -> int:
            return rate_per_kvb(value, unit_vbytes=1_000, satoshi=100_000_000) or 0

        relay = max(rate(mempool.mempoolminfee), rate(mempool.minrelaytxfee))
        return RelayFloor(relay, rate(mempool.incrementalrelayfee) or rate(mempool.minrelaytxfee))

    async def broadcast(self, raw: bytes) -> str:
        """The fee was checked before, here and by the parties: bitcoind's own ceiling is left as it is."""
        return await self._rpc.call("sendrawtransaction", [raw.hex()], HASH)

    async def version(self) -> str:
        """Such as ``/Satoshi:28.1.0/``."""
        return (await self._read("getnetworkinfo", [], _NETWORK)).subversion

    async def _confirmed(self, script: bytes) -> dict[Outpoint, Unspent]:
        async with self._scan_lock:
            scan = await self._read("scantxoutset", ["start", [f"raw({script.hex()})"]], _SCAN)
        confirmed = {
            outpoint: Unspent(outpoint, each.amount, each.height, coinbase=each.coinbase)
            for each in scan.unspents
            for outpoint in (Outpoint(each.txid, each.vout),)
        }
        if len(confirmed) != len(scan.unspents) or any(each.script != script for each in scan.unspents):
            raise NoAnswer("the node lists coins of another script, or one twice", acted=True)
        return confirmed

    async def _with_spent(self, found: ChainTransaction) -> ChainTransaction:
        """With what its inputs spend: told by the block (bitcoind from version 23 on), or looked up one by one."""
        inputs = []
        for each in found.inputs:
            spent = each.spent
            if spent is None:
                parent = await self.transaction(each.outpoint.txid)
                if parent is None or each.outpoint.vout >= len(parent.outputs):
                    raise NoAnswer("the node does not know what a transaction spends", acted=True)
                spent = parent.outputs[each.outpoint.vout]
            inputs.append(Input(each.outpoint, spent))
        return replace(found, inputs=tuple(inputs))

    async def _paid_back(self, txid: str, script: bytes, ours: Collection[Outpoint]) -> list[Unspent]:
        spending = await self._find("getrawtransaction", [txid, 1], _TRANSACTION)
        if spending is None or spending.txid != txid or spending.blockhash is not None:
            return []
        own = all(_input(each).outpoint in ours for each in spending.vin)
        return [
            Unspent(Outpoint(txid, vout), output.value, None, own_change=own)
            for vout, output in enumerate(spending.vout)
            if output.script.hex == script
        ]

    async def _search_spender(self, outpoint: Outpoint, oldest: int) -> Spender | None:
        block_hash = (await self.tip()).hash
        for _ in range(SPENDER_BLOCKS_MAX):
            header = await self.header(block_hash)
            if header is None or header.height < oldest:
                return None
            block = await self._read("getblock", [block_hash, 2], _BLOCK)
            for each in block.tx:
                if any((spent.txid, spent.vout) == (outpoint.txid, outpoint.vout) for spent in each.vin):
                    found = Spender(each.txid, BlockRef(header.height, header.hash))
                    self._spenders[outpoint] = found
                    if len(self._spenders) > SPENDERS_MAX:
                        self._spenders.popitem(last=False)
                    return found
            if header.height == oldest:
                return None
            block_hash = header.previous
        return None

    async def _find(self, method: str, params: list[Any], shape: TypeAdapter[T], absent: int = NOT_FOUND) -> T | None:
        try:
            return await self._rpc.call(method, params, shape)
        except Refused as error:
            if error.code == absent:
                return None
            raise NoAnswer(f"the node refused {method}: {error}", acted=True) from None

    async def _read(self, method: str, params: list[Any], shape: TypeAdapter[T]) -> T:
        try:
            return await self._rpc.call(method, params, shape)
        except Refused as error:
            raise NoAnswer(f"the node refused {method}: {error}", acted=True) from None


def _transaction(found: _Transaction, block: BlockRef | None, fee: int | None) -> ChainTransaction:
    coinbase = found.vin[0].txid is None
    return ChainTransaction(
        txid=found.txid,
        inputs=() if coinbase else tuple(_input(each) for each in found.vin),
        outputs=tuple(Output(each.script.hex, each.value) for each in found.vout),
        vsize=found.vsize,
        fee=None if coinbase else fee,
        block=block,
    )


def _input(found: _Input) -> Input:
    if found.txid is None or found.vout is None:
        raise NoAnswer("the node's transaction spends nothing", acted=True)
    spent = None if found.prevout is None else Output(found.prevout.script.hex, found.prevout.value)
    return Input(Outpoint(found.txid, found.vout), spent)
