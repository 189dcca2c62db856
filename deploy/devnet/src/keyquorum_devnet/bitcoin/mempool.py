"""Transactions that wait for a block, with their family ties."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

from keyquorum_devnet.bitcoin.activity import Activity
from keyquorum_devnet.bitcoin.chain import Coin, Spender
from keyquorum_devnet.bitcoin.transactions import Outpoint, Transaction


@dataclass(slots=True)
class Entry:
    """A waiting transaction. ``fee`` in satoshis, ``time`` in seconds since the Unix epoch, ``height`` the chain's when it
    came. ``parents`` and ``children`` are those that wait too."""

    transaction: Transaction
    spent: tuple[Coin, ...]
    fee: int
    time: int
    height: int
    order: int = 0
    parents: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)

    @property
    def txid(self) -> str:
        """The transaction's id."""
        return self.transaction.txid

    @property
    def vsize(self) -> int:
        """Virtual bytes."""
        return self.transaction.vsize


class Mempool:
    """The waiting transactions. Admission is decided elsewhere (:mod:`keyquorum_devnet.bitcoin.acceptance`)."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.spenders: dict[Outpoint, Spender] = {}
        self.activity = Activity()
        self.total_fee = 0  # satoshis
        self.total_vsize = 0
        self._orders = count(1)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, txid: object) -> bool:
        return txid in self.entries

    def __iter__(self) -> Iterator[Entry]:
        """Parents come before their children."""
        return iter(sorted(self.entries.values(), key=lambda entry: entry.order))

    def get(self, txid: str) -> Entry | None:
        """A waiting transaction."""
        return self.entries.get(txid)

    def coin(self, outpoint: Outpoint) -> Coin | None:
        """An output of a waiting transaction."""
        entry = self.entries.get(outpoint.txid)
        if entry is None or outpoint.vout >= len(entry.transaction.outputs):
            return None
        return Coin(entry.transaction.outputs[outpoint.vout], None)

    def parents_of(self, transaction: Transaction) -> set[str]:
        """Waiting transactions that one spends from."""
        return {source.outpoint.txid for source in transaction.inputs if source.outpoint.txid in self.entries}

    def ancestors(self, parents: Iterable[str]) -> dict[str, Entry]:
        """``parents`` and all that they descend from."""
        return self._closure(parents, lambda entry: entry.parents)

    def descendants(self, txids: Iterable[str]) -> dict[str, Entry]:
        """``txids`` and all that descends from them."""
        return self._closure(txids, lambda entry: entry.children)

    def add(self, entry: Entry) -> None:
        """Take a transaction whose inputs no other one here spends."""
        transaction = entry.transaction
        entry.order = next(self._orders)
        entry.parents = self.parents_of(transaction)
        for parent in entry.parents:
            self.entries[parent].children.add(entry.txid)
        self.entries[entry.txid] = entry
        for vin, source in enumerate(transaction.inputs):
            self.spenders[source.outpoint] = Spender(entry.txid, vin)
        self.activity.add(transaction, [coin.output for coin in entry.spent])
        self.total_fee += entry.fee
        self.total_vsize += entry.vsize

    def remove(self, txid: str) -> Entry:
        """Let go of a transaction, whatever becomes of its children."""
        entry = self.entries.pop(txid)
        for parent in entry.parents:
            self.entries[parent].children.discard(txid)
        for child in entry.children:
            self.entries[child].parents.discard(txid)
        for source in entry.transaction.inputs:
            del self.spenders[source.outpoint]
        self.activity.remove(entry.transaction, [coin.output for coin in entry.spent])
        self.total_fee -= entry.fee
        self.total_vsize -= entry.vsize
        return entry

    def remove_with_descendants(self, txids: Iterable[str]) -> list[Entry]:
        """Let go of transactions and all that descends from them."""
        return [self.remove(txid) for txid in self.descendants(txids)]

    def _closure(self, start: Iterable[str], relatives: Callable[[Entry], set[str]]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        waiting = [txid for txid in start if txid in self.entries]
        while waiting:
            txid = waiting.pop()
            if txid not in found:
                found[txid] = self.entries[txid]
                waiting.extend(relatives(found[txid]))
        return found
