"""Which waiting transaction spends an output: asked of bitcoind since version 24, found by looking through the mempool of one
that does not know the question."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, TypeAdapter

from keyquorum_btc.jsonrpc import JsonRpc
from keyquorum_btc.node import Outpoint
from keyquorum_btc.shapes import Hash, Shape, Vout
from keyquorum_btc.transport import NoAnswer, Refused

METHOD_NOT_FOUND = -32601
NOT_FOUND = -5
OUTPOINTS_AT_ONCE = 500
LOOKED_THROUGH_MAX = 20_000  # waiting transactions; a busy network needs the index of a newer bitcoind


class _Spending(Shape):
    txid: Hash
    vout: Vout
    spendingtxid: Hash | None = None


class _Input(Shape):
    txid: Hash | None = None
    vout: Vout | None = None


class _Inputs(Shape):
    txid: Hash
    vin: list[_Input]


_SPENDINGS = TypeAdapter(list[_Spending])
_INPUTS = TypeAdapter(_Inputs)
_WAITING = TypeAdapter(Annotated[list[Hash], Field(max_length=LOOKED_THROUGH_MAX)])


class MempoolIndex:
    """Spendings that wait."""

    def __init__(self, rpc: JsonRpc) -> None:
        self._rpc = rpc
        self._asks = True
        self._inputs: dict[str, frozenset[Outpoint]] = {}  # of waiting transactions that were looked at

    async def spenders(self, outpoints: Iterable[Outpoint]) -> dict[Outpoint, str]:
        """The txid of what spends each outpoint, for those that something waiting spends."""
        asked = list(outpoints)
        if not asked:
            return {}
        try:
            if self._asks:
                return await self._asked(asked)
        except Refused as error:
            if error.code != METHOD_NOT_FOUND:
                raise NoAnswer(f"the node refused gettxspendingprevout: {error}", acted=True) from None
            self._asks = False
        try:
            return await self._searched(frozenset(asked))
        except Refused as error:
            raise NoAnswer(f"the node refused to show what waits: {error}", acted=True) from None

    async def _asked(self, asked: list[Outpoint]) -> dict[Outpoint, str]:
        found: dict[Outpoint, str] = {}
        for start in range(0, len(asked), OUTPOINTS_AT_ONCE):
            batch = asked[start : start + OUTPOINTS_AT_ONCE]
            params = [{"txid": outpoint.txid, "vout": outpoint.vout} for outpoint in batch]
            answer = await self._rpc.call("gettxspendingprevout", [params], _SPENDINGS)
            if [Outpoint(each.txid, each.vout) for each in answer] != batch:
                raise NoAnswer("the node answered for other coins", acted=True)
            found |= {Outpoint(each.txid, each.vout): each.spendingtxid for each in answer if each.spendingtxid}
        return found

    async def _searched(self, asked: frozenset[Outpoint]) -> dict[Outpoint, str]:
        waiting = await self._rpc.call("getrawmempool", [False], _WAITING)
        self._inputs = {txid: self._inputs[txid] for txid in waiting if txid in self._inputs}
        for txid in waiting:
            if txid not in self._inputs:
                self._inputs[txid] = await self._spent_by(txid)
        return {outpoint: txid for txid, inputs in self._inputs.items() for outpoint in inputs & asked}

    async def _spent_by(self, txid: str) -> frozenset[Outpoint]:
        try:
            found = await self._rpc.call("getrawtransaction", [txid, 1], _INPUTS)
        except Refused as error:
            if error.code == NOT_FOUND:  # gone meanwhile
                return frozenset()
            raise
        return frozenset(Outpoint(each.txid, each.vout) for each in found.vin if each.txid and each.vout is not None)
