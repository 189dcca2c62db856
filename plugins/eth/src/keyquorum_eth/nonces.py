"""No two transactions with one nonce, and no nonce left out.

Allocation is a look at the :class:`~keyquorum_eth.ledger.Ledger`, which never waits; it counts once the host has written the
reservation ``nonce:N``, which is what survives a restart and what excludes other gateways. A reservation's owner is the
fingerprint of the payload and a random part: equal payloads built at the same time exclude each other, and yet whoever
holds the payload can give its nonce back, also after a restart. ``replacement:N:fingerprint`` lets another payload use the
nonce of one that it replaces.
"""

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from keyquorum_eth.heads import Heads
from keyquorum_eth.ledger import Cost, Hold, Ledger
from keyquorum_eth.node import EthereumNode
from keyquorum_plugin_api.chain import Clock, Reservations
from keyquorum_plugin_api.errors import NonceConflict

BUILT_TTL_S = 3600.0  # for approvals and a ceremony; after it the nonce is free again, and the bytes are refused
SENT_TTL_S = 86_400.0  # pools forget what waits for so long (geth: three hours)
ACCOUNTS_MAX = 10_000
IN_FLIGHT_MAX = 1_000  # transactions of one account that wait; a node keeps 64 that wait for a missing nonce

_RANDOM_BYTES = 8
_FINGERPRINT_CHARS = 32


def fingerprint_of(payload: bytes) -> str:
    """The name of a payload."""
    return hashlib.sha256(payload).hexdigest()[:_FINGERPRINT_CHARS]


class NonceAllocator:
    """The nonces of all accounts of one chain."""

    def __init__(
        self,
        node: EthereumNode,
        heads: Heads,
        reservations: Reservations,
        clock: Clock,
        chain: str,
        *,
        age_s_max: float,
    ) -> None:
        self._node = node
        self._heads = heads
        self._reservations = reservations
        self._clock = clock
        self._chain = chain
        self._age_s_max = age_s_max
        self._ledgers: OrderedDict[str, Ledger] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def ledger(self, address: str, *, anew: bool = False) -> Ledger:
        """The account as of a moment ago, or as of now."""
        ledger = self._of(address)
        if not anew and self._is_fresh(ledger):
            return ledger
        asked_at = self._clock.monotonic()
        async with self._locks.setdefault(address, asyncio.Lock()):
            if ledger.view is None or (ledger.viewed_at < asked_at and (anew or not self._is_fresh(ledger))):
                if anew:
                    self._heads.forget()
                await self._refresh(ledger)
        return ledger

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Builds of one account choose their nonces one after the other, in the order in which they were asked for."""
        async with self._turns.setdefault(address, asyncio.Lock()):
            yield

    def hold(self, ledger: Ledger, nonce: int, payload: bytes, cost: Cost) -> Hold:
        """Hold a nonce that is free as far as the ledger knows; it counts once it is :meth:`kept`."""
        if ledger.promised.count >= IN_FLIGHT_MAX:
            raise NonceConflict(
                f"{IN_FLIGHT_MAX} transactions of this account wait to be included: wait for some of them"
            )
        fingerprint = fingerprint_of(payload)
        owner = f"{fingerprint}.{secrets.token_hex(_RANDOM_BYTES)}"
        hold = Hold(nonce, fingerprint, owner, cost, self._clock.monotonic() + BUILT_TTL_S)
        ledger.add(hold)
        return hold

    async def kept(self, ledger: Ledger, hold: Hold) -> bool:
        """Whether the host has written the reservation; False where another gateway was faster."""
        try:
            granted = await self._reserve(ledger.address, _item(hold.nonce), hold.owner, BUILT_TTL_S)
        except BaseException:
            ledger.drop(hold)
            await asyncio.shield(self._release(ledger.address, _item(hold.nonce), hold.owner))
            raise
        if not granted:
            ledger.drop(hold)
            ledger.foreign.add(hold.nonce)
        return granted

    async def give_back(self, address: str, nonce: int, payload: bytes) -> None:
        """Free the nonce of a payload that will never be signed; nothing where it was sent, or is another's."""
        fingerprint = fingerprint_of(payload)
        ledger = self._of(address)
        hold = ledger.holds.get(nonce)
        if hold is not None and fingerprint in hold.replacements:
            hold.replacements.discard(fingerprint)
            await self._release(address, _replacement(nonce, fingerprint), fingerprint)
            return
        if hold is not None and hold.fingerprint == fingerprint:
            if not hold.sent:
                ledger.drop(hold)
                await self._release(address, _item(nonce), hold.owner)
            return
        held = await self._reservations.held(self._chain, address)
        owner = held.get(_item(nonce), "")
        if _owns(owner, fingerprint):  # built before a restart
            ledger.give_up(nonce)
            await self._release(address, _item(nonce), owner)
        await self._release(address, _replacement(nonce, fingerprint), fingerprint)

    async def replace(self, address: str, nonce: int, replaced: bytes, payload: bytes, cost: Cost) -> None:
        """Let ``payload`` use the nonce of ``replaced``; :class:`NonceConflict` where another payload has it."""
        hold = await self._adopt(address, nonce, fingerprint_of(replaced))
        if hold is None:
            raise NonceConflict("the nonce of what is to be replaced belongs to another transaction")
        fingerprint = fingerprint_of(payload)
        if not await self._reserve(address, _replacement(nonce, fingerprint), fingerprint, SENT_TTL_S):
            raise NonceConflict("the host does not keep the replacement")
        hold.replacements.add(fingerprint)
        self._of(address).raise_cost(hold, cost)

    async def claim(self, address: str, nonce: int, payload: bytes, cost: Cost) -> "Claim":
        """Make sure, before bytes leave, that their nonce is theirs; :class:`NonceConflict` otherwise.

        Bytes that were built elsewhere, or so long ago that their reservation ended, get the nonce if it is free.
        """
        fingerprint = fingerprint_of(payload)
        hold = await self._adopt(address, nonce, fingerprint)
        ledger = self._of(address)
        made = hold is None
        if hold is None:
            if nonce in ledger.holds:
                raise NonceConflict("another transaction was built with this nonce")
            owner = f"{fingerprint}.{secrets.token_hex(_RANDOM_BYTES)}"
            hold = Hold(nonce, fingerprint, owner, cost, 0.0)
            ledger.add(hold)
        hold.until = self._clock.monotonic() + SENT_TTL_S
        try:
            granted = await self._reserve(address, _item(nonce), hold.owner, SENT_TTL_S)
        except BaseException:
            if made:
                ledger.drop(hold)
            raise
        if not granted:
            ledger.drop(hold)
            ledger.foreign.add(nonce)
            raise NonceConflict("another transaction was built with this nonce")
        ledger.foreign.discard(nonce)
        return Claim(self, ledger, hold, fingerprint, made=made)

    async def forget(self, ledger: Ledger, hold: Hold) -> None:
        """Free a nonce whose transaction can never be included."""
        ledger.drop(hold)
        await self._release(ledger.address, _item(hold.nonce), hold.owner)

    async def _adopt(self, address: str, nonce: int, fingerprint: str) -> Hold | None:
        """The hold that covers a payload, taken from the reservations where a restart has forgotten it."""
        ledger = self._of(address)
        hold = ledger.holds.get(nonce)
        if hold is not None and hold.until <= self._clock.monotonic():
            ledger.drop(hold)
            hold = None
        if hold is not None and hold.covers(fingerprint):
            return hold
        held = await self._reservations.held(self._chain, address)
        owner = held.get(_item(nonce), "")
        replaces = _replacement(nonce, fingerprint) in held
        if hold is None and owner and (_owns(owner, fingerprint) or replaces):
            hold = ledger.holds.get(nonce)  # somebody may have been faster while the host was asked
            if hold is None:
                hold = Hold(nonce, owner.partition(".")[0], owner, Cost(0), self._clock.monotonic() + SENT_TTL_S)
                ledger.add(hold)
        if hold is not None and replaces:
            hold.replacements.add(fingerprint)
        return hold if hold is not None and hold.covers(fingerprint) else None

    async def _refresh(self, ledger: Ledger) -> None:
        asked_at = self._clock.monotonic()
        head = await self._heads.current()
        view = await self._node.account(ledger.address, head)
        held = await self._reservations.held(self._chain, ledger.address)
        done = [hold for nonce, hold in ledger.holds.items() if nonce < view.final_count]
        expired = [hold for hold in ledger.holds.values() if hold.until <= asked_at]
        lost = [hold for hold in ledger.holds.values() if held.get(_item(hold.nonce), hold.owner) != hold.owner]
        for hold in (*done, *expired, *lost):
            ledger.drop(hold)
        ledger.look(view, head.number, asked_at, _nonces(held))
        for hold in done:
            await self._release(ledger.address, _item(hold.nonce), hold.owner)
            for fingerprint in hold.replacements:
                await self._release(ledger.address, _replacement(hold.nonce, fingerprint), fingerprint)

    def _of(self, address: str) -> Ledger:
        ledger = self._ledgers.get(address)
        if ledger is None:
            ledger = self._ledgers[address] = Ledger(address)
            if len(self._ledgers) > ACCOUNTS_MAX:
                forgotten, _ = self._ledgers.popitem(last=False)
                self._locks.pop(forgotten, None)
                self._turns.pop(forgotten, None)
        self._ledgers.move_to_end(address)
        return ledger

    def _is_fresh(self, ledger: Ledger) -> bool:
        return ledger.view is not None and self._clock.monotonic() - ledger.viewed_at <= self._age_s_max

    async def _reserve(self, address: str, item: str, owner: str, ttl_s: float) -> bool:
        return await self._reservations.reserve(self._chain, address, item, owner, ttl_s)

    async def _release(self, address: str, item: str, owner: str) -> None:
        await self._reservations.release(self._chain, address, item, owner)


class Claim:
    """A nonce that is being used."""

    def __init__(self, nonces: NonceAllocator, ledger: Ledger, hold: Hold, fingerprint: str, *, made: bool) -> None:
        self._nonces = nonces
        self._ledger = ledger
        self._hold = hold
        self._fingerprint = fingerprint
        self._made = made

    @property
    def replaces(self) -> bool:
        """Whether the bytes take the place of others."""
        return self._fingerprint in self._hold.replacements

    def sent(self) -> None:
        """The bytes left, or may have."""
        self._hold.sent = True

    async def not_sent(self) -> None:
        """Nothing left, and the same bytes may come again: only what nobody had built here is given back."""
        if self._made and not self._hold.sent:
            await self._nonces.forget(self._ledger, self._hold)

    async def refused(self) -> None:
        """The network does not take these bytes: their nonce is free, unless it is another's as well."""
        if not self._hold.sent and not self.replaces:
            await self._nonces.forget(self._ledger, self._hold)


def _item(nonce: int) -> str:
    return f"nonce:{nonce}"


def _replacement(nonce: int, fingerprint: str) -> str:
    return f"replacement:{nonce}:{fingerprint}"


def _owns(owner: str, fingerprint: str) -> bool:
    return owner.startswith(f"{fingerprint}.")


def _nonces(held: Mapping[str, str]) -> set[int]:
    found = set()
    for item in held:
        kind, _, number = item.partition(":")
        if kind == "nonce" and number.isascii() and number.isdigit():
            found.add(int(number))
    return found
