"""What happened at each script: transactions in order and running totals, so that a question about an address costs
the same whatever the length of the chain."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from keyquorum_devnet.bitcoin.transactions import Transaction, TxOut


@dataclass(slots=True)
class ScriptActivity:
    """Totals of one script; sums in satoshis. ``txids`` is ordered, oldest first."""

    txids: dict[str, None] = field(default_factory=dict)
    funded_count: int = 0
    funded_sum: int = 0
    spent_count: int = 0
    spent_sum: int = 0


class Activity:
    """Activity of every script in one set of transactions (those of the best chain, or those of the mempool)."""

    def __init__(self) -> None:
        self._scripts: dict[bytes, ScriptActivity] = {}

    def of(self, script: bytes) -> ScriptActivity:
        """What happened at a script; empty where nothing did."""
        return self._scripts.get(script) or ScriptActivity()

    def add(self, transaction: Transaction, spent: Sequence[TxOut]) -> None:
        """Count a transaction; ``spent`` are the outputs its inputs spend (none for a coinbase)."""
        for output in transaction.outputs:
            activity = self._touched(output.script, transaction.txid)
            activity.funded_count += 1
            activity.funded_sum += output.value
        for output in spent:
            activity = self._touched(output.script, transaction.txid)
            activity.spent_count += 1
            activity.spent_sum += output.value

    def remove(self, transaction: Transaction, spent: Sequence[TxOut]) -> None:
        """Undo :meth:`add`."""
        for output in transaction.outputs:
            activity = self._scripts[output.script]
            activity.funded_count -= 1
            activity.funded_sum -= output.value
        for output in spent:
            activity = self._scripts[output.script]
            activity.spent_count -= 1
            activity.spent_sum -= output.value
        for script in {output.script for output in (*transaction.outputs, *spent)}:
            txids = self._scripts[script].txids
            del txids[transaction.txid]
            if not txids:
                del self._scripts[script]

    def _touched(self, script: bytes, txid: str) -> ScriptActivity:
        activity = self._scripts.setdefault(script, ScriptActivity())
        activity.txids[txid] = None
        return activity
