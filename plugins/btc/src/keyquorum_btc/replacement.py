"""Replacing what waits (BIP125), and lifting it by a child (CPFP).

A replacement spends the same coins, and more where its fee needs them. Rules of BIP125 that follow: it pays at least what
all transactions pay together that it evicts (rule 3), and for its own relay on top of that (rule 4). It evicts what
descends from the replaced one, so one on whose change another payment of ours is built is not replaced, but lifted.

A child spends what the stuck transaction pays us, and enough fee for itself and all that waits before it: miners take the
package or nothing of it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from keyquorum_btc.coin import Coin
from keyquorum_btc.node import ChainTransaction, Outpoint, Spender
from keyquorum_btc.nodes import Nodes
from keyquorum_btc.spending import Spend
from keyquorum_plugin_api.errors import ChainUnavailable, NonceConflict, Unsupported

FAMILY_MAX = 25  # ancestors or descendants, the mempool's own limit
PACKAGE_VBYTES_MAX = 5_000  # that a child lifts: what a node may lie about a parent's size costs so much at most
EVICTED_MAX = 100  # transactions, BIP125 rule 5


@dataclass(frozen=True, slots=True)
class Bar:
    """What a replacement has to pay at least: satoshi, plus so much per 1,000 of its own virtual bytes."""

    fee: int
    increment: int

    def least_fee(self, vsize: int) -> int:
        """Satoshi, for a replacement of that size; rules 3 and 4."""
        return self.fee + max(1, -(-self.increment * vsize // 1_000))


@dataclass(frozen=True, slots=True)
class Stuck:
    """An unconfirmed transaction with all that waits before it, and the outputs by which we can lift it."""

    txid: str
    coins: tuple[Coin, ...]  # ours, unspent
    fee: int  # satoshi that the package pays
    vsize: int  # virtual bytes of it

    def least_fee(self, rate: int, vsize: int) -> int:
        """Satoshi that a child of that size pays so that the package reaches ``rate``, and the child at least by itself."""
        own = -(-rate * vsize // 1_000)
        return max(own, -(-rate * (self.vsize + vsize) // 1_000) - self.fee)


class MempoolFamilies:
    """Looks at what waits before and behind a transaction."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def bar(self, old: Spend, increment: int) -> Bar:
        """What replaces ``old``, one of ours, must pay. :class:`NonceConflict` where it is settled, where another
        transaction has its coins, or where another one of ours needs it."""
        for coin in old.coins:
            spender = await self._spender(Outpoint(coin.txid, coin.vout))
            if spender is not None and spender.block is not None:
                raise NonceConflict("the transaction, or another one in its place, is in a block already")
            if spender is not None and spender.txid != old.txid:
                raise NonceConflict("another transaction waits in the place of this one: replace that one")
        found = await self._transaction(old.txid)
        if found is None:
            return Bar(old.fee, increment)  # forgotten by our node; others may still have it
        fee = old.fee
        for child in await self._descendants(found):
            spent = (each.outpoint for each in child.inputs if each.outpoint.txid == old.txid)
            if any(_pays(found, outpoint, old.source_script) for outpoint in spent):
                raise NonceConflict("another transaction spends the change: lift this one by a child instead")
            fee += self._fee(child)
        return Bar(fee, increment)

    async def stuck(self, txid: str, script: bytes, taken: Collection[str]) -> Stuck:
        """What a child of ``txid`` has to lift. ``taken``: outpoints that other payloads are built to spend."""
        found = await self._transaction(txid)
        if found is None:
            raise NonceConflict("no node knows the transaction that is to be lifted")
        if found.block is not None:
            raise NonceConflict("the transaction that is to be lifted is in a block already")
        coins = tuple(
            Coin(txid, vout, output.amount)
            for vout, output in enumerate(found.outputs)
            if output.script == script and f"{txid}:{vout}" not in taken
        )
        spent = await self._spent(found)
        coins = tuple(coin for coin in coins if Outpoint(coin.txid, coin.vout) not in spent)
        if not coins:
            raise Unsupported("the transaction has no output of this account that a child could spend")
        package = await self._ancestors(found)
        size = sum(each.vsize for each in package)
        if size > PACKAGE_VBYTES_MAX:
            raise Unsupported(
                f"more than {PACKAGE_VBYTES_MAX} vB wait before the child that would have to pay for them"
            )
        return Stuck(txid, coins, sum(map(self._fee, package)), size)

    async def _ancestors(self, found: ChainTransaction) -> list[ChainTransaction]:
        package = {found.txid: found}
        frontier = [found]
        while frontier:
            parents = {each.outpoint.txid for each in frontier.pop().inputs} - package.keys()
            for txid in sorted(parents):
                parent = await self._transaction(txid)
                if parent is not None and parent.block is None:
                    package[txid] = parent
                    frontier.append(parent)
                if len(package) > FAMILY_MAX:
                    raise Unsupported("too many transactions wait before the one that is to be lifted")
        return list(package.values())

    async def _descendants(self, found: ChainTransaction) -> list[ChainTransaction]:
        family: dict[str, ChainTransaction] = {}
        frontier = [found]
        while frontier:
            each = frontier.pop()
            spenders = await self._spenders(each)
            for txid in spenders:
                if txid in family or txid == found.txid:
                    continue
                child = await self._transaction(txid)
                if child is None or child.block is not None:
                    continue
                family[txid] = child
                frontier.append(child)
                if len(family) > EVICTED_MAX - 1:
                    raise NonceConflict("too many transactions are built on this one")
        return list(family.values())

    async def _spent(self, found: ChainTransaction) -> set[Outpoint]:
        """What waiting transactions spend of a waiting one's outputs."""
        children = [await self._transaction(txid) for txid in await self._spenders(found)]
        return {each.outpoint for child in children if child is not None for each in child.inputs}

    async def _spender(self, outpoint: Outpoint) -> Spender | None:
        return await self._nodes.ask(lambda node: node.spender(outpoint))

    async def _transaction(self, txid: str) -> ChainTransaction | None:
        return await self._nodes.ask(lambda node: node.transaction(txid))

    async def _spenders(self, found: ChainTransaction) -> Sequence[str]:
        return await self._nodes.ask(lambda node: node.mempool_spenders(found.txid, len(found.outputs)))

    @staticmethod
    def _fee(found: ChainTransaction) -> int:
        if found.fee is None:
            raise ChainUnavailable("the node does not tell what a waiting transaction pays")
        return found.fee


def _pays(parent: ChainTransaction, outpoint: Outpoint, script: bytes) -> bool:
    return outpoint.vout < len(parent.outputs) and parent.outputs[outpoint.vout].script == script
