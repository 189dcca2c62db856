"""Sending a raw transaction with bitcoind's answers, which Esplora passes on."""

from typing import Final

from keyquorum_devnet.bitcoin.faults import (
    DESERIALIZATION_ERROR,
    VERIFY_ALREADY_IN_UTXO_SET,
    VERIFY_ERROR,
    VERIFY_REJECTED,
    RpcFault,
)
from keyquorum_devnet.bitcoin.node import AlreadyConfirmed, FeeTooHigh, Node
from keyquorum_devnet.bitcoin.policy import TxRefused
from keyquorum_devnet.bitcoin.scripts import is_unspendable
from keyquorum_devnet.bitcoin.transactions import MalformedTransaction, Transaction, parse

FEE_RATE_MAX: Final = 10_000.0  # sat/vB, bitcoind's -maxfeerate of 0.10 BTC/kvB
BURN_MAX: Final = 0  # satoshis, bitcoind's maxburnamount


def decode(text: str) -> Transaction:
    """A transaction from hex; :class:`RpcFault` -22."""
    try:
        return parse(bytes.fromhex(text) if text.isalnum() else b"")
    except (MalformedTransaction, ValueError):
        reason = "TX decode failed. Make sure the tx has at least one input."
        raise RpcFault(DESERIALIZATION_ERROR, reason) from None


def send(node: Node, text: str, fee_rate_max: float | None = FEE_RATE_MAX, burn_max: int = BURN_MAX) -> str:
    """The txid of a transaction that is in the mempool now; :class:`RpcFault` as sendrawtransaction has it. The rate is in
    sat/vB (None: any), ``burn_max`` in satoshis."""
    transaction = decode(text)
    if any(is_unspendable(output.script) and output.value > burn_max for output in transaction.outputs):
        raise RpcFault(VERIFY_ERROR, "Unspendable output exceeds maximum configured by user (maxburnamount)")
    try:
        return node.broadcast(transaction, fee_rate_max)
    except AlreadyConfirmed:
        raise RpcFault(VERIFY_ALREADY_IN_UTXO_SET, "Transaction outputs already in utxo set") from None
    except FeeTooHigh:
        reason = "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)"
        raise RpcFault(VERIFY_ERROR, reason) from None
    except TxRefused as refused:
        code = VERIFY_ERROR if refused.missing_inputs else VERIFY_REJECTED
        raise RpcFault(code, str(refused)) from None
