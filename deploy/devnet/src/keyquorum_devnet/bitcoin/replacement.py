"""Replacement by fee: BIP 125 as Core 28 enforces it, each rule under its number."""

from collections.abc import Collection, Mapping
from typing import Final

from keyquorum_devnet.bitcoin.mempool import Entry, Mempool
from keyquorum_devnet.bitcoin.policy import INCREMENTAL_FEE_RATE, TxRefused, money
from keyquorum_devnet.bitcoin.transactions import Transaction

EVICTIONS_MAX: Final = 100
SEQUENCE_SIGNAL_MAX: Final = 0xFFFFFFFD


def signals(transaction: Transaction) -> bool:
    """Whether a transaction says of itself that it may be replaced."""
    return any(source.sequence <= SEQUENCE_SIGNAL_MAX for source in transaction.inputs)


def is_replaceable(entry: Entry, mempool: Mempool) -> bool:
    """Whether it, or a waiting ancestor of it, signals."""
    return any(signals(each.transaction) for each in mempool.ancestors([entry.txid]).values())


def evicted_by(
    transaction: Transaction,
    fee: int,
    conflicts: Collection[str],
    ancestors: Mapping[str, Entry],
    mempool: Mempool,
    *,
    full_rbf: bool,
) -> dict[str, Entry]:
    """What goes when ``transaction``, paying ``fee`` satoshis, comes in place of ``conflicts`` (txids that spend an input
    of its own): those and their descendants. :class:`TxRefused` where a rule forbids it."""
    txid = transaction.txid
    direct = [mempool.entries[conflict] for conflict in conflicts]
    # Rule 1: the originals signal, unless the node takes any replacement (Core's default since 28).
    if not full_rbf and not all(is_replaceable(entry, mempool) for entry in direct):
        raise TxRefused("txn-mempool-conflict")
    for ancestor in ancestors:
        if ancestor in conflicts:
            raise TxRefused("bad-txns-spends-conflicting-tx", f"{txid} spends conflicting transaction {ancestor}")
    _require_higher_rate(transaction, fee, direct)
    evicted = mempool.descendants(conflicts)
    # Rule 5: at most 100 transactions go.
    if len(evicted) > EVICTIONS_MAX:
        detail = f"rejecting replacement {txid}; too many potential replacements ({len(evicted)} > {EVICTIONS_MAX})"
        raise TxRefused("too many potential replacements", detail)
    _require_known_sources(transaction, direct, mempool)
    original_fees = sum(entry.fee for entry in evicted.values())
    # Rule 3: it pays no less than all that go.
    if fee < original_fees:
        detail = f"less fees than conflicting txs; {money(fee)} < {money(original_fees)}"
        raise TxRefused("insufficient fee", f"rejecting replacement {txid}, {detail}")
    # Rule 4: what it pays more covers its own relay.
    additional, least = fee - original_fees, INCREMENTAL_FEE_RATE * transaction.vsize
    if additional < least:
        detail = f"not enough additional fees to relay; {money(additional)} < {money(least)}"
        raise TxRefused("insufficient fee", f"rejecting replacement {txid}, {detail}")
    return evicted


def _require_higher_rate(transaction: Transaction, fee: int, direct: Collection[Entry]) -> None:
    """Rule 6: a higher fee rate than each transaction that it conflicts with directly."""
    for entry in direct:
        if fee * entry.vsize <= entry.fee * transaction.vsize:
            new, old = _rate(fee, transaction.vsize), _rate(entry.fee, entry.vsize)
            detail = f"rejecting replacement {transaction.txid}; new feerate {new} <= old feerate {old}"
            raise TxRefused("insufficient fee", detail)


def _require_known_sources(transaction: Transaction, direct: Collection[Entry], mempool: Mempool) -> None:
    """Rule 2: no unconfirmed input that the originals did not have."""
    known = {source.outpoint.txid for entry in direct for source in entry.transaction.inputs}
    for index, source in enumerate(transaction.inputs):
        if source.outpoint.txid not in known and source.outpoint.txid in mempool:
            detail = f"replacement {transaction.txid} adds unconfirmed input, idx {index}"
            raise TxRefused("replacement-adds-unconfirmed", detail)


def _rate(fee: int, vsize: int) -> str:
    per_kvb = fee * 1000 // vsize
    return f"{per_kvb // 10**8}.{per_kvb % 10**8:08d} BTC/kvB"
