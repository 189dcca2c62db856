"""Where a transaction stands, and when it can be said that it will never be included."""

from keyquorum_plugin_api.chain import TransactionState, TransactionStatus
from keyquorum_sol.lifetimes import Lifetime
from keyquorum_sol.node import SignatureStatus, SolanaNode
from keyquorum_sol.rejections import describe

ROOTED_CONFIRMATIONS = 32  # what a finalized transaction has, of which nodes report no figure
SETTLED = {"confirmed": frozenset({"confirmed", "finalized"}), "finalized": frozenset({"finalized"})}


class StatusReader:
    """Reads status at one commitment."""

    def __init__(self, node: SolanaNode, commitment: str) -> None:
        self._node = node
        self._settled = SETTLED[commitment]

    async def read(self, txid: str, lifetime: Lifetime | None, *, submitted: bool) -> TransactionStatus:
        """The status now. ``submitted``: what no node has seen is on its way, not unknown.

        Expired is final and invites another payment, so it is said only of a transaction that is missing from a bank in
        which its time is over.
        """
        _slot, found = await self._node.status(txid)
        if found is None and lifetime is not None:
            end = await lifetime.ended(self._node)
            if end is not None:
                slot, found = await self._node.status(txid)
                if found is None and slot >= end.slot:
                    return TransactionStatus(txid, TransactionState.EXPIRED, detail=f"not included: {end.detail}")
        if found is None:
            return TransactionStatus(txid, TransactionState.PENDING if submitted else TransactionState.UNKNOWN)
        return self._status(txid, found)

    def _status(self, txid: str, found: SignatureStatus) -> TransactionStatus:
        rooted = found.confirmations is None
        commitment = found.commitment or ("finalized" if rooted else "processed")
        detail = "" if found.err is None else describe(found.err)
        state = TransactionState.INCLUDED
        if commitment in self._settled:
            state = TransactionState.CONFIRMED if found.err is None else TransactionState.FAILED
        confirmations = ROOTED_CONFIRMATIONS if found.confirmations is None else found.confirmations
        return TransactionStatus(txid, state, confirmations, str(found.slot), detail)
