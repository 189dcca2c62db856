"""Where a transaction stands, and when it can be said that it will never be included."""

import re
from collections.abc import Sequence

from keyquorum_btc.node import Outpoint
from keyquorum_btc.nodes import Nodes
from keyquorum_btc.submission import Submitter
from keyquorum_plugin_api.chain import TransactionState, TransactionStatus
from keyquorum_plugin_api.errors import InvalidPayload

_TXID = re.compile(r"[0-9a-f]{64}", re.ASCII)


class StatusReader:
    """Reads status by depth: CONFIRMED from ``confirmations`` blocks, no longer reversible from ``final_confirmations``."""

    def __init__(self, nodes: Nodes, submitter: Submitter, *, confirmations: int, final_confirmations: int) -> None:
        self._nodes = nodes
        self._submitter = submitter
        self._confirmations = confirmations
        self._final_confirmations = final_confirmations

    async def read(
        self, txid: str, outpoints: Sequence[Outpoint], *, submitted: bool, tip_age_s: float = 0.0
    ) -> TransactionStatus:
        """The status now. ``submitted``: what no node has is on its way, not unknown. ``outpoints``: what it spends.

        Expired is final and invites another payment, so it is said only where another transaction, so deep that no
        reorganisation is expected to undo it, spends one of its coins.
        """
        found = await self._nodes.ask(lambda node: node.transaction(txid))
        if found is not None and found.block is not None:
            tip = await self._nodes.tip(tip_age_s)
            depth = max(1, tip.height - found.block.height + 1)
            final = depth >= self._final_confirmations
            state = TransactionState.CONFIRMED if depth >= self._confirmations else TransactionState.INCLUDED
            reversible = state is TransactionState.CONFIRMED and not final
            return TransactionStatus(txid, state, depth, found.block.hash, reversible=reversible)
        if found is not None:
            return TransactionStatus(txid, TransactionState.PENDING)
        conflict = await self._submitter.conflict(outpoints, txid)
        if conflict is None:
            return TransactionStatus(txid, TransactionState.PENDING if submitted else TransactionState.UNKNOWN)
        if conflict[1]:
            return TransactionStatus(txid, TransactionState.EXPIRED, detail=f"{conflict[0]} spends a coin of it")
        return TransactionStatus(txid, TransactionState.UNKNOWN, detail=f"{conflict[0]} spends a coin of it for now")


def require_txid(txid: str) -> str:
    """The id, if it is 32 bytes in lower-case hexadecimal."""
    if not _TXID.fullmatch(txid):
        raise InvalidPayload("a transaction id is 32 bytes in lower-case hexadecimal")
    return txid
