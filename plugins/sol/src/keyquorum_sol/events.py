"""Deposits and payments of watched addresses, read from their histories at the finalized commitment: nothing is taken back.

A transfer of tokens names the accounts that they lie in and need not name their owner, so the histories of the owner's
associated token accounts are read beside the owner's own: those that exist when a stream is opened, those of the
configured tokens, and those that turn up in a transaction on the way.

Events are ordered by slot, id and position in the transaction. A slot is told once the node has finalized it, whole, for all
addresses; a cursor is the place of an event in that order.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from solders.pubkey import Pubkey

from keyquorum_plugin_api.chain import ChainEvent, Logger
from keyquorum_plugin_api.errors import ChainUnavailable, Expired, InvalidPayload
from keyquorum_sol.history import Included, SignatureInfo
from keyquorum_sol.network import native_asset, token_asset
from keyquorum_sol.node import SolanaNode
from keyquorum_sol.tokens import TOKEN_PROGRAMS, associated_account

PAGE = 1_000  # signatures in one answer, the node's own limit
PAGES_MAX = 20  # of one address between two polls
PLACES_MAX = 64  # token accounts of one owner; anybody can make more of them, for tokens of their own
_CURSOR = re.compile(r"([0-9]{1,20})\.([1-9A-HJ-NP-Za-km-z]{43,88})\.([0-9]{1,3})")

Place = tuple[int, str, int]  # slot, id, position


class EventReader:
    """Opens streams of events on one node."""

    def __init__(self, node: SolanaNode, log: Logger, tokens: Sequence[str]) -> None:
        self.node = node
        self.log = log
        self.tokens = [Pubkey.from_string(mint) for mint in tokens]

    def open(self, chain: str, owners: Sequence[Pubkey], cursor: str) -> "EventStream":
        """A stream of what follows ``cursor``; :class:`InvalidPayload` for text that is no cursor."""
        return EventStream(self, chain, owners, _place(cursor))


@dataclass(slots=True)
class _Watched:
    """An owner, and the addresses whose histories tell what reaches it."""

    owner: Pubkey
    places: dict[str, str | None] = field(default_factory=dict)  # address -> newest id that was told, where known


class EventStream:
    """One client's stream. Each poll gives what is new, in order."""

    def __init__(self, reader: "EventReader", chain: str, owners: Sequence[Pubkey], behind: Place | None) -> None:
        self._node = reader.node
        self._log = reader.log
        self._tokens = reader.tokens
        self._chain = chain
        self._watched = [_Watched(owner) for owner in owners]
        self._behind = behind
        self._told_to: int | None = None  # slot

    async def poll(self) -> list[ChainEvent]:
        """Events that were finalized since the last poll; raises :class:`ChainUnavailable`, and can be asked again."""
        horizon = await self._node.finalized_slot()
        if self._told_to is None:
            await self._open()
            self._told_to = horizon if self._behind is None else self._behind[0] - 1
        if horizon <= self._told_to:
            return []
        found: dict[str, Included] = {}
        newest = [await self._read(watched, found, horizon) for watched in self._watched]
        events = [event for txid in found for event in self._events(found[txid])]
        events.sort(key=lambda placed: placed[0])
        self._told_to = horizon  # nothing was lost before: whatever fails above is read again
        for watched, ids in zip(self._watched, newest, strict=True):
            watched.places.update(ids)
        if self._behind is not None:
            behind, self._behind = self._behind, None
            events = [placed for placed in events if placed[0] > behind]
        return [event for _, event in events]

    async def _open(self) -> None:
        if self._behind is not None and self._behind[0] < await self._node.first_slot():
            raise Expired("the node does not look back as far as the cursor")
        for watched in self._watched:
            places = [str(watched.owner)]
            for program in TOKEN_PROGRAMS:
                places += [str(associated_account(watched.owner, program, mint)) for mint in self._tokens]
                places += await self._existing(watched.owner, program)
            watched.places.update(dict.fromkeys(places[: PLACES_MAX + 1]))

    async def _existing(self, owner: Pubkey, program: Pubkey) -> list[str]:
        try:
            held = await self._node.token_accounts(owner, program)
        except ChainUnavailable as error:
            self._log.warning("solana.token_accounts_unknown", reason=error.detail)
            return []
        return [place for place, mint in held if place == str(associated_account(owner, program, mint))]

    async def _read(self, watched: _Watched, found: dict[str, Included], horizon: int) -> dict[str, str]:
        """Add the transactions of an owner up to the horizon to ``found``; token accounts that turn up are read, too. The
        newest id of each history."""
        waiting = list(watched.places)
        newest: dict[str, str] = {}
        while waiting:
            place = waiting.pop()
            for info in await self._history(place, watched.places[place], horizon):
                newest.setdefault(place, info.signature)
                if info.signature not in found:
                    found[info.signature] = await self._node.included(info.signature, info.slot)
                for mint in found[info.signature].moved(watched.owner):
                    waiting += self._turned_up(watched, mint)
        return newest

    def _turned_up(self, watched: _Watched, mint: Pubkey | None) -> list[str]:
        if mint is None:
            return []
        places = [str(associated_account(watched.owner, program, mint)) for program in TOKEN_PROGRAMS]
        new = [place for place in places if place not in watched.places][: max(0, PLACES_MAX - len(watched.places))]
        watched.places.update(dict.fromkeys(new))
        return new

    async def _history(self, place: str, until: str | None, horizon: int) -> list[SignatureInfo]:
        """Newest first, from the horizon back to what was told."""
        told_to = self._told_to if self._told_to is not None else horizon
        entries: list[SignatureInfo] = []
        before = None
        for _ in range(PAGES_MAX):
            page = await self._node.signatures(place, before=before, until=until, limit=PAGE)
            entries += [info for info in page if told_to < info.slot <= horizon]
            if len(page) < PAGE or page[-1].slot <= told_to:
                return entries
            before = page[-1].signature
        raise Expired(f"more happened at {place} than the node can be asked for")

    def _events(self, included: Included) -> Iterable[tuple[Place, ChainEvent]]:
        position = 0
        for watched in sorted(self._watched, key=lambda watched: bytes(watched.owner)):
            moved = included.moved(watched.owner)
            for mint in sorted(moved, key=lambda mint: b"" if mint is None else bytes(mint)):
                place = (included.slot, included.txid, position)
                asset = native_asset(self._chain) if mint is None else token_asset(self._chain, mint)
                yield (
                    place,
                    ChainEvent(
                        cursor=f"{place[0]}.{place[1]}.{place[2]}",
                        txid=included.txid,
                        address=str(watched.owner),
                        asset=asset,
                        amount=moved[mint],
                        block=str(included.slot),
                    ),
                )
                position += 1


def _place(cursor: str) -> Place | None:
    if not cursor:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidPayload("not a cursor of this stream")
    return int(found[1]), found[2], int(found[3])
