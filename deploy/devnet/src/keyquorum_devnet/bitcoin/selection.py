"""Which waiting transactions a miner takes: best fee rate first, counting what a transaction's parents need to come along
(child pays for parent)."""

from collections.abc import Iterable, Sequence

from keyquorum_devnet.bitcoin.blocks import RESERVED_WEIGHT, WEIGHT_MAX
from keyquorum_devnet.bitcoin.mempool import Entry, Mempool


def for_block(
    mempool: Mempool, without: Iterable[str] = (), weight_max: int = WEIGHT_MAX - RESERVED_WEIGHT
) -> list[Entry]:
    """Transactions for a block in an order that the block may have. ``without`` and its descendants stay behind."""
    refused = set(mempool.descendants(without))
    chosen: dict[str, Entry] = {}
    weight = 0
    for _rate, _order, package in sorted(_packages(mempool), key=lambda each: (-each[0], each[1])):
        missing = [entry for entry in package if entry.txid not in chosen]
        added = sum(entry.transaction.weight for entry in missing)
        if weight + added > weight_max or any(entry.txid in refused for entry in missing):
            continue
        weight += added
        chosen.update((entry.txid, entry) for entry in missing)
    return sorted(chosen.values(), key=lambda entry: entry.order)


def _packages(mempool: Mempool) -> Iterable[tuple[float, int, Sequence[Entry]]]:
    """Each transaction with its ancestors: satoshis per virtual byte of all of them, order of arrival, members."""
    for entry in mempool:
        package = sorted(mempool.ancestors([entry.txid]).values(), key=lambda each: each.order)
        rate = sum(each.fee for each in package) / sum(each.vsize for each in package)
        yield rate, entry.order, package
