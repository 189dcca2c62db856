"""Where a transaction stands, and when it can be said that it never will be included."""

from keyquorum_eth.config import EthereumConfig
from keyquorum_eth.node import EthereumNode, TransactionView
from keyquorum_eth.shapes import Receipt
from keyquorum_plugin_api.chain import TransactionState, TransactionStatus


class StatusReader:
    """Reads status at the configured depths."""

    def __init__(self, node: EthereumNode, config: EthereumConfig) -> None:
        self._node = node
        self._config = config

    async def read(self, txid: str, signer: tuple[str, int] | None) -> TransactionStatus:
        """The status now. ``signer`` (account and nonce) tells when another transaction took the nonce.

        EXPIRED invites another payment, so it is said only when the nonce was used by a transaction so deep that no
        reorganisation takes it back, and a second look at a chain that is no shorter still finds nothing of ours.
        """
        account, nonce = signer or (None, 0)
        view = await self._node.transaction(txid, account)
        if _is_absent(view) and view.final_count is not None and view.final_count > nonce:
            again = await self._node.transaction(txid, account)
            taken = again.final_count is not None and again.final_count > nonce
            if _is_absent(again) and taken and again.head >= view.head:
                return TransactionStatus(
                    txid, TransactionState.EXPIRED, detail=f"another transaction took the nonce {nonce}"
                )
            view = again
        if view.receipt is not None:
            return self._included(view.receipt, view)
        return TransactionStatus(txid, TransactionState.UNKNOWN if view.known is None else TransactionState.PENDING)

    def _included(self, receipt: Receipt, view: TransactionView) -> TransactionStatus:
        confirmations = max(1, view.head - receipt.number + 1)
        state = TransactionState.INCLUDED
        if confirmations >= self._config.confirmations:
            state = TransactionState.CONFIRMED if receipt.status else TransactionState.FAILED
        return TransactionStatus(
            receipt.txid,
            state,
            confirmations,
            str(receipt.number),
            "" if receipt.status else "reverted: it changed nothing, and its fee was taken",
            reversible=state is not TransactionState.INCLUDED and receipt.number > view.final,
        )


def _is_absent(view: TransactionView) -> bool:
    return view.receipt is None and view.known is None
