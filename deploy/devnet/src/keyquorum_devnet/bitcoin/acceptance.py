"""Admission to the mempool, in the order of Core's own checks, so that the first refusal is the one a wallet would get."""

from collections.abc import Mapping
from dataclasses import dataclass

from keyquorum_devnet.bitcoin.chain import Chain, Coin
from keyquorum_devnet.bitcoin.kernel import unsatisfied_input
from keyquorum_devnet.bitcoin.mempool import Entry, Mempool
from keyquorum_devnet.bitcoin.policy import (
    ANCESTORS_MAX,
    DESCENDANTS_MAX,
    FAMILY_VSIZE_MAX,
    MEMPOOL_VSIZE_MAX,
    TxRefused,
    check_amounts,
    check_fee,
    check_sanity,
    check_standard,
    check_standard_inputs,
)
from keyquorum_devnet.bitcoin.replacement import evicted_by
from keyquorum_devnet.bitcoin.scripts import Kind, kind_of
from keyquorum_devnet.bitcoin.transactions import Transaction

LOCKTIME_THRESHOLD = 500_000_000  # below: a height, from here: seconds since the Unix epoch
SEQUENCE_FINAL = 0xFFFFFFFF
_RELATIVE_DISABLED, _RELATIVE_TIME, _RELATIVE_MASK = 1 << 31, 1 << 22, 0xFFFF  # BIP 68


@dataclass(frozen=True, slots=True)
class Admission:
    """A transaction that may come in, and what goes for it."""

    entry: Entry
    evicted: Mapping[str, Entry]


def admit(
    transaction: Transaction, chain: Chain, mempool: Mempool, now: int, *, full_rbf: bool = True, reorg: bool = False
) -> Admission:
    """Whether the mempool takes a transaction; :class:`TxRefused`. Nothing is changed. ``reorg`` is for one that comes back
    from a block: it needs no fee and replaces nothing."""
    check_sanity(transaction)
    check_standard(transaction)
    next_height = chain.tip.height + 1
    if not _is_final(transaction, next_height, chain.tip.median_time):
        raise TxRefused("non-final")
    _refuse_duplicate(transaction, mempool)
    conflicts = {
        mempool.spenders[source.outpoint].txid for source in transaction.inputs if source.outpoint in mempool.spenders
    }
    if conflicts and reorg:
        raise TxRefused("txn-mempool-conflict")
    spent = _spent_coins(transaction, chain, mempool)
    if not _relative_locks_passed(transaction, spent, chain):
        raise TxRefused("non-BIP68-final")
    fee = check_amounts(transaction, spent, next_height)
    check_standard_inputs(transaction, spent)
    if not reorg:
        check_fee(transaction, fee)
    ancestors = mempool.ancestors(mempool.parents_of(transaction))
    _check_family(transaction, ancestors, conflicts, mempool)
    evicted: Mapping[str, Entry] = {}
    if conflicts:
        evicted = evicted_by(transaction, fee, conflicts, ancestors, mempool, full_rbf=full_rbf)
    if mempool.total_vsize + transaction.vsize > MEMPOOL_VSIZE_MAX:
        raise TxRefused("mempool full")
    _check_scripts(transaction, spent)
    return Admission(Entry(transaction, spent, fee, now, chain.tip.height), evicted)


def _refuse_duplicate(transaction: Transaction, mempool: Mempool) -> None:
    known = mempool.get(transaction.txid)
    if known is not None:
        same = known.transaction.wtxid == transaction.wtxid
        raise TxRefused("txn-already-in-mempool" if same else "txn-same-nonwitness-data-in-mempool")


def _spent_coins(transaction: Transaction, chain: Chain, mempool: Mempool) -> tuple[Coin, ...]:
    spent = []
    for source in transaction.inputs:
        coin = chain.coins.get(source.outpoint) or mempool.coin(source.outpoint)
        if coin is None:
            if any((transaction.txid, vout) in chain.coins for vout in range(len(transaction.outputs))):
                raise TxRefused("txn-already-known")
            raise TxRefused("bad-txns-inputs-missingorspent", missing_inputs=True)
        spent.append(coin)
    return tuple(spent)


def _is_final(transaction: Transaction, height: int, median_time: int) -> bool:
    """Whether the lock time has passed for a block at ``height`` (BIP 113)."""
    locktime = transaction.locktime
    if locktime < (height if locktime < LOCKTIME_THRESHOLD else median_time):
        return True
    return all(source.sequence == SEQUENCE_FINAL for source in transaction.inputs)


def _relative_locks_passed(transaction: Transaction, spent: tuple[Coin, ...], chain: Chain) -> bool:
    """BIP 68 for the next block."""
    if transaction.version < 2:
        return True
    next_height = chain.tip.height + 1
    for source, coin in zip(transaction.inputs, spent, strict=True):
        if source.sequence & _RELATIVE_DISABLED:
            continue
        value = source.sequence & _RELATIVE_MASK
        height = coin.height if coin.height is not None else next_height
        if source.sequence & _RELATIVE_TIME:
            since = chain.active[min(max(height - 1, 0), chain.tip.height)].median_time
            if chain.tip.median_time < since + (value << 9):
                return False
        elif next_height < height + value:
            return False
    return True


def _check_family(
    transaction: Transaction, ancestors: Mapping[str, Entry], conflicts: set[str], mempool: Mempool
) -> None:
    """Limits on chains of waiting transactions. What a replacement evicts does not count."""
    evicted = mempool.descendants(conflicts)
    kept = {txid: entry for txid, entry in ancestors.items() if txid not in evicted}
    if len(kept) + 1 > ANCESTORS_MAX:
        raise TxRefused("too-long-mempool-chain", f"too many unconfirmed ancestors [limit: {ANCESTORS_MAX}]")
    if transaction.vsize + sum(entry.vsize for entry in kept.values()) > FAMILY_VSIZE_MAX:
        raise TxRefused("too-long-mempool-chain", f"exceeds ancestor size limit [limit: {FAMILY_VSIZE_MAX}]")
    for txid in kept:
        descendants = {each: entry for each, entry in mempool.descendants([txid]).items() if each not in evicted}
        if len(descendants) + 1 > DESCENDANTS_MAX:
            raise TxRefused("too-long-mempool-chain", f"too many descendants for tx {txid} [limit: {DESCENDANTS_MAX}]")
        if transaction.vsize + sum(entry.vsize for entry in descendants.values()) > FAMILY_VSIZE_MAX:
            detail = f"exceeds descendant size limit for tx {txid} [limit: {FAMILY_VSIZE_MAX}]"
            raise TxRefused("too-long-mempool-chain", detail)


def _check_scripts(transaction: Transaction, spent: tuple[Coin, ...]) -> None:
    failed = unsatisfied_input(transaction.raw, [coin.output for coin in spent])
    if failed is not None:
        raise TxRefused(f"mandatory-script-verify-flag-failed ({_script_error(transaction, spent, failed)})")


def _script_error(transaction: Transaction, spent: tuple[Coin, ...], index: int) -> str:
    """Core's text where the failure can only be one; the library itself says no more than that there is one."""
    witness = transaction.inputs[index].witness
    kind = kind_of(spent[index].output.script)
    if kind is Kind.P2TR and len(witness) == 1:
        return "Invalid Schnorr signature" if len(witness[0]) in (64, 65) else "Invalid Schnorr signature size"
    if kind in (Kind.P2TR, Kind.P2WPKH, Kind.P2WSH) and not witness:
        return "Witness program was passed an empty witness"
    if kind is Kind.P2WPKH and len(witness) != 2:
        return "Witness program hash mismatch"
    return "unknown error"
