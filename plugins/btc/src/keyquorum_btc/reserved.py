"""Coins that a payload may spend are held for it, so that no other payload spends them.

A coin is held under ``txid:vout`` by an owner that is random per build; what was built is recorded under ``payload:`` and
its hash, held by the same owner, so that whoever has the payload can extend or give back what it holds, in another process
and after a restart, too. A replacement has an owner of its own for what it adds, whose name begins with that of the
payload it replaces: the older coins stay with their owner, and giving a replacement back leaves them there.

What was handed to a node is noted here, too: after a restart, a refusal no longer means that nothing is under way.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Iterable

from keyquorum_btc.psbt import read
from keyquorum_plugin_api.chain import Reservations
from keyquorum_plugin_api.codec import UnsignedTransaction
from keyquorum_plugin_api.errors import Expired, InvalidPayload, NonceConflict

BUILT_TTL_S = 24 * 3600.0  # for approvals and the ceremony
SIGNED_TTL_S = 15 * 24 * 3600.0  # nodes keep what waits for 14 days
OWNER_CHARS_MAX = 512  # replacements of replacements


class CoinReservations:
    """Reservations of coins, kept by the host."""

    def __init__(self, reservations: Reservations, chain: str) -> None:
        self._reservations = reservations
        self._chain = chain
        self._sender = secrets.token_hex(12)

    async def mark_sent(self, txid: str) -> bool:
        """Note that a transaction is about to leave; whether this process is the first one that hands it to a node."""
        return await self._reservations.reserve(self._chain, _submission(txid), "sent", self._sender, SIGNED_TTL_S)

    async def mark_unsent(self, txid: str) -> None:
        """It did not leave, for certain; nothing where another process has sent it."""
        await self._reservations.release(self._chain, _submission(txid), "sent", self._sender)

    async def taken(self, address: str) -> frozenset[str]:
        """The coins (``txid:vout``) of an address that are held."""
        return frozenset(await self._reservations.held(self._chain, address))

    async def hold(self, address: str, coins: Iterable[str], owner: str, ttl_s: float = BUILT_TTL_S) -> bool:
        """Whether ``owner`` now holds all ``coins``; none where one of them is somebody else's."""
        asked = list(coins)
        try:
            answers = await asyncio.gather(
                *(self._reservations.reserve(self._chain, address, coin, owner, ttl_s) for coin in asked)
            )
        except BaseException:
            await asyncio.shield(self.give_back(address, asked, owner))
            raise
        if all(answers):
            return True
        await self.give_back(address, asked, owner)
        return False

    async def give_back(self, address: str, coins: Iterable[str], owner: str) -> None:
        """Release what ``owner`` holds of ``coins``."""
        await asyncio.gather(*(self._reservations.release(self._chain, address, coin, owner) for coin in coins))

    async def record(self, unsigned: UnsignedTransaction, owner: str) -> None:
        """Note that ``unsigned`` spends what ``owner`` holds; :class:`NonceConflict` if the same payload was built before."""
        if not await self._reservations.reserve(self._chain, _address(unsigned), _item(unsigned), owner, BUILT_TTL_S):
            raise NonceConflict("the same transaction was built before")

    async def owner_of(self, unsigned: UnsignedTransaction) -> str | None:
        """Who holds for ``unsigned``; None where nobody does, or no longer."""
        return (await self._reservations.held(self._chain, _address(unsigned))).get(_item(unsigned))

    async def extend(self, unsigned: UnsignedTransaction) -> None:
        """Hold the coins of what is about to be signed for as long as it may wait in mempools.

        :class:`Expired` if another payload has got one of them since, or what held them was given back.
        """
        address, item, coins = _address(unsigned), _item(unsigned), coins_of(unsigned)
        held = await self._reservations.held(self._chain, address)
        owner = held.get(item)
        if owner is None:
            raise Expired("the coins are no longer held for this transaction: build it again")
        holders = {coin: held.get(coin, owner) for coin in coins}
        if not all(owner == holder or owner.startswith(f"{holder}.") for holder in holders.values()):
            raise Expired("another transaction spends a coin of this one: build it again")
        answers = await asyncio.gather(
            self._reservations.reserve(self._chain, address, item, owner, SIGNED_TTL_S),
            *(
                self._reservations.reserve(self._chain, address, coin, holder, SIGNED_TTL_S)
                for coin, holder in holders.items()
            ),
        )
        if not all(answers):
            raise Expired("another transaction has taken a coin of this one: build it again")

    async def release(self, unsigned: UnsignedTransaction) -> None:
        """Give back what was held for ``unsigned``; nothing where it holds nothing."""
        owner = await self.owner_of(unsigned)
        if owner is None:
            return
        await self.give_back(_address(unsigned), coins_of(unsigned), owner)
        await self._reservations.release(self._chain, _address(unsigned), _item(unsigned), owner)

    async def settle(self, unsigned: UnsignedTransaction) -> None:
        """Give back what was held for ``unsigned`` and for whatever it replaced: nothing can spend it otherwise any more."""
        address = _address(unsigned)
        held = await self._reservations.held(self._chain, address)
        owner = held.get(_item(unsigned))
        if owner is None:
            return
        await asyncio.gather(
            *(
                self._reservations.release(self._chain, address, item, held[item])
                for item in (_item(unsigned), *coins_of(unsigned))
                if item in held and (held[item] == owner or owner.startswith(f"{held[item]}."))
            )
        )


def new_owner(replaced: str = "") -> str:
    """A random owner; of a payload in the place of another, one that descends from its owner."""
    mine = secrets.token_hex(12)
    owner = f"{replaced}.{mine}" if replaced else mine
    if len(owner) > OWNER_CHARS_MAX:
        raise InvalidPayload("the transaction was replaced too often")
    return owner


def coins_of(unsigned: UnsignedTransaction) -> tuple[str, ...]:
    """The coins (``txid:vout``) that a payload spends; :class:`InvalidPayload` for one that spends none."""
    return tuple(coin.outpoint for coin in read(unsigned.payload).coins)


def _submission(txid: str) -> str:
    return f"submission:{txid}"


def _item(unsigned: UnsignedTransaction) -> str:
    return f"payload:{hashlib.sha256(unsigned.payload).hexdigest()}"


def _address(unsigned: UnsignedTransaction) -> str:
    return unsigned.requests[0].signer
