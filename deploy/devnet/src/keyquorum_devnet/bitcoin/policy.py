"""What a node relays although consensus would allow more: Bitcoin Core 28's defaults, with its words for each refusal.

Looser than Core: sizes are not adjusted by sigops, and of the script flags only consensus's are checked (not low S or minimal
pushes). Stricter: bare multisig, version 3 (TRUC), packages and the carve-out for one more child are refused.
"""

from collections.abc import Iterable
from typing import Final

from keyquorum_devnet.bitcoin.chain import Coin
from keyquorum_devnet.bitcoin.scripts import Kind, is_push_only, is_unspendable, kind_of, witness_program
from keyquorum_devnet.bitcoin.transactions import (
    COINBASE_TXID,
    COINBASE_VOUT,
    Outpoint,
    Transaction,
    TxOut,
    compact_size,
)

MONEY_MAX: Final = 21_000_000 * 10**8  # satoshis
STANDARD_WEIGHT_MAX: Final = 400_000
STANDARD_VERSIONS: Final = (1, 2)
NON_WITNESS_SIZE_MIN: Final = 65  # bytes
SCRIPT_SIG_SIZE_MAX: Final = 1650  # bytes
DATA_CARRIER_SIZE_MAX: Final = 83  # bytes of an OP_RETURN script
DUST_RELAY_FEE_RATE: Final = 3  # satoshis per virtual byte
MIN_RELAY_FEE_RATE: Final = 1  # satoshis per virtual byte
INCREMENTAL_FEE_RATE: Final = 1  # satoshis per virtual byte
ANCESTORS_MAX: Final = 25  # the transaction counts
DESCENDANTS_MAX: Final = 25
FAMILY_VSIZE_MAX: Final = 101_000
MEMPOOL_VSIZE_MAX: Final = 20_000_000  # far above what a development network holds; Core's 300 MB is memory, not size
_ANNEX: Final = 0x50


class TxRefused(Exception):
    """The mempool does not take a transaction: Core's reject reason, and its detail where there is one."""

    def __init__(self, reason: str, detail: str = "", *, missing_inputs: bool = False) -> None:
        self.reason = reason
        self.detail = detail
        self.missing_inputs = missing_inputs
        super().__init__(f"{reason}, {detail}" if detail else reason)


def money(satoshis: int) -> str:
    """Bitcoins as Core writes them in its texts: at least two decimals, no needless zeros."""
    sign, value = ("-" if satoshis < 0 else ""), abs(satoshis)
    whole, rest = divmod(value, 10**8)
    decimals = f"{rest:08d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def dust_limit(output: TxOut) -> int:
    """Satoshis below which an output costs more to spend than it is worth at the dust relay fee rate."""
    if is_unspendable(output.script):
        return 0
    size = 8 + len(compact_size(len(output.script))) + len(output.script)
    spending = 32 + 4 + 1 + (107 // 4 if witness_program(output.script) else 107) + 4
    return DUST_RELAY_FEE_RATE * (size + spending)


def check_sanity(transaction: Transaction) -> None:
    """What consensus asks of a transaction by itself; :class:`TxRefused`."""
    if not transaction.outputs:
        raise TxRefused("bad-txns-vout-empty")
    if transaction.stripped_size * 4 > 4_000_000:
        raise TxRefused("bad-txns-oversize")
    total = 0
    for output in transaction.outputs:
        if output.value < 0:
            raise TxRefused("bad-txns-vout-negative")
        if output.value > MONEY_MAX:
            raise TxRefused("bad-txns-vout-toolarge")
        total += output.value
        if total > MONEY_MAX:
            raise TxRefused("bad-txns-txouttotal-toolarge")
    if len({source.outpoint for source in transaction.inputs}) != len(transaction.inputs):
        raise TxRefused("bad-txns-inputs-duplicate")
    if transaction.is_coinbase:
        raise TxRefused("coinbase")
    if Outpoint(COINBASE_TXID, COINBASE_VOUT) in {source.outpoint for source in transaction.inputs}:
        raise TxRefused("bad-txns-prevout-null")


def check_standard(transaction: Transaction) -> None:
    """Core's IsStandardTx; :class:`TxRefused`."""
    if transaction.version not in STANDARD_VERSIONS:
        raise TxRefused("version")
    if transaction.weight > STANDARD_WEIGHT_MAX:
        raise TxRefused("tx-size")
    for source in transaction.inputs:
        if len(source.script_sig) > SCRIPT_SIG_SIZE_MAX:
            raise TxRefused("scriptsig-size")
        if not is_push_only(source.script_sig):
            raise TxRefused("scriptsig-not-pushonly")
    _check_standard_outputs(transaction.outputs)
    if transaction.stripped_size < NON_WITNESS_SIZE_MIN:
        raise TxRefused("tx-size-small")


def _check_standard_outputs(outputs: Iterable[TxOut]) -> None:
    carriers = 0
    for output in outputs:
        kind = kind_of(output.script)
        if kind in (Kind.NONSTANDARD, Kind.EMPTY):
            raise TxRefused("scriptpubkey")
        if kind is Kind.OP_RETURN:
            carriers += 1
            if len(output.script) > DATA_CARRIER_SIZE_MAX:
                raise TxRefused("scriptpubkey")
        elif output.value < dust_limit(output):
            raise TxRefused("dust")
    if carriers > 1:
        raise TxRefused("multi-op-return")


def check_standard_inputs(transaction: Transaction, spent: tuple[Coin, ...]) -> None:
    """Core's AreInputsStandard and the annex rule of IsWitnessStandard; :class:`TxRefused`."""
    for source, coin in zip(transaction.inputs, spent, strict=True):
        kind = kind_of(coin.output.script)
        if kind in (Kind.NONSTANDARD, Kind.EMPTY, Kind.WITNESS_UNKNOWN, Kind.OP_RETURN):
            raise TxRefused("bad-txns-nonstandard-inputs")
        if kind is Kind.P2TR and len(source.witness) > 1 and source.witness[-1][:1] == bytes([_ANNEX]):
            raise TxRefused("bad-witness-nonstandard")


def check_amounts(transaction: Transaction, spent: tuple[Coin, ...], next_height: int) -> int:
    """The fee in satoshis; :class:`TxRefused` for an immature coinbase, or outputs worth more than the inputs."""
    for coin in spent:
        if coin.immature_at(next_height) and coin.height is not None:
            depth = next_height - coin.height
            raise TxRefused("bad-txns-premature-spend-of-coinbase", f"tried to spend coinbase at depth {depth}")
    value_in, value_out = sum(coin.output.value for coin in spent), transaction.output_value
    if value_in < value_out:
        raise TxRefused("bad-txns-in-belowout", f"value in ({money(value_in)}) < value out ({money(value_out)})")
    return value_in - value_out


def check_fee(transaction: Transaction, fee: int) -> None:
    """The least fee that is relayed; :class:`TxRefused`."""
    least = MIN_RELAY_FEE_RATE * transaction.vsize
    if fee < least:
        raise TxRefused("min relay fee not met", f"{fee} < {least}")
