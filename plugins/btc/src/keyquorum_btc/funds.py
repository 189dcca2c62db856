"""Which coins of an address may be spent.

Policy: confirmed coins, and unconfirmed ones only if they are our own change, that is if the transaction that makes them
spends coins of the same address alone. Anything else that waits belongs to somebody who can still take it back. A miner's
reward has to wait for 100 blocks.

A balance is another question, answered as on every chain: what the address holds according to blocks. A payment that waits
is in it until it is included.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from keyquorum_btc.coin import Coin
from keyquorum_btc.node import Account, Unspent
from keyquorum_btc.nodes import Nodes
from keyquorum_btc.scripts import parse_destination
from keyquorum_btc.shelf import Shelf
from keyquorum_plugin_api.chain import Clock
from keyquorum_plugin_api.errors import ChainUnavailable, InvalidPayload

COINBASE_BLOCKS = 100
LISTINGS_MAX = 1_024  # addresses whose coins are remembered for a moment


@dataclass(frozen=True, slots=True)
class Funds:
    """The coins of one address that may be spent, as a node listed them. Each outpoint appears once."""

    listed_at: float  # monotonic seconds, before the node was asked
    confirmed: Shelf
    change: Shelf  # ours, and unconfirmed


class FundsReader:
    """Lists coins; what several builds ask for at a time is listed once."""

    def __init__(self, nodes: Nodes, chain: str, clock: Clock, *, max_age_s: float) -> None:
        self._nodes = nodes
        self._chain = chain
        self._clock = clock
        self._max_age_s = max_age_s
        self._listings: OrderedDict[str, Funds] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def read(self, address: str, max_age_s: float = 0.0) -> Funds:
        """The coins as they were listed at most ``max_age_s`` before this call."""
        asked_at = self._clock.monotonic()
        lock = self._locks.setdefault(address, asyncio.Lock())
        try:
            async with lock:
                known = self._listings.get(address)
                if known is None or known.listed_at < asked_at - max_age_s:
                    known = await self._list(address)
                    self._listings[address] = known
                    self._listings.move_to_end(address)
                    if len(self._listings) > LISTINGS_MAX:
                        self._listings.popitem(last=False)
                return known
        finally:
            if not lock.locked():
                self._locks.pop(address, None)

    async def balance(self, address: str) -> int:
        """Satoshi that the address holds according to blocks."""
        account = Account(address, parse_destination(address, self._chain))
        return await self._nodes.ask(lambda node: node.balance(account))

    async def recent(self, address: str) -> Funds:
        """The coins as they were listed within the configured time."""
        return await self.read(address, self._max_age_s)

    def forget(self, address: str) -> None:
        """What was listed is not true any more."""
        self._listings.pop(address, None)

    async def _list(self, address: str) -> Funds:
        account = Account(address, parse_destination(address, self._chain))
        listed_at = self._clock.monotonic()
        unspent = await self._nodes.ask(lambda node: node.unspent(account))
        if any(coin.coinbase for coin in unspent):
            height = (await self._nodes.tip()).height
            unspent = tuple(coin for coin in unspent if _is_mature(coin, height))
        return Funds(
            listed_at,
            confirmed=Shelf(_coin(coin) for coin in unspent if coin.height is not None),
            change=Shelf(_coin(coin) for coin in unspent if coin.height is None and coin.own_change),
        )


def _is_mature(coin: Unspent, tip_height: int) -> bool:
    return not coin.coinbase or (coin.height is not None and tip_height - coin.height + 1 >= COINBASE_BLOCKS)


def _coin(found: Unspent) -> Coin:
    try:
        return Coin(found.outpoint.txid, found.outpoint.vout, found.amount)
    except InvalidPayload:
        raise ChainUnavailable("the node lists a coin that cannot exist") from None
