"""How much gas a transfer needs. Coins to an account without code take exactly 21,000; everything else is estimated."""

from keyquorum_eth.addresses import checksummed
from keyquorum_eth.limits import GAS_LIMIT_MAX, GAS_LIMIT_MIN
from keyquorum_eth.node import EthereumNode
from keyquorum_eth.rpc import NodeError
from keyquorum_eth.shapes import Block
from keyquorum_eth.transactions import Call
from keyquorum_plugin_api.errors import ChainError, ChainUnavailable, InsufficientFunds, TransactionRejected

KNOWN_MAX = 10_000  # calls whose gas is remembered, for one block
_METHOD_UNKNOWN = -32601


class GasEstimator:
    """Estimates, each made once per block: 200 payments to one account ask once."""

    def __init__(self, node: EthereumNode, margin_percent: int) -> None:
        self._node = node
        self._margin_percent = margin_percent
        self._block = ""
        self._known: dict[tuple[str, bytes, int, bytes], int] = {}

    async def limit(self, source: str, call: Call, head: Block) -> int:
        """The gas limit, with its margin; :class:`TransactionRejected` where the call would fail."""
        if self._block != head.hash:
            self._block = head.hash
            self._known.clear()
        # A token's gas hardly depends on the amount, which is the last word of the data; the margin covers it.
        key = (source, call.to, 0, call.data[:-32]) if call.data else ("", call.to, 0, b"")
        if (found := self._known.get(key)) is not None:
            return found
        if not call.data and not await self._node.code(call.to):
            limit = GAS_LIMIT_MIN
        else:
            key = key if call.data else (source, call.to, call.value, b"")
            if (found := self._known.get(key)) is not None:
                return found
            limit = self._with_margin(await self._estimate(source, call))
        if len(self._known) < KNOWN_MAX and self._block == head.hash:
            self._known[key] = limit
        return limit

    async def _estimate(self, source: str, call: Call) -> int:
        asked = {"from": source, "to": checksummed(call.to), "value": hex(call.value), "data": f"0x{call.data.hex()}"}
        try:
            return await self._node.estimate_gas(asked)
        except NodeError as error:
            raise _refusal(error) from None

    def _with_margin(self, used: int) -> int:
        if not GAS_LIMIT_MIN <= used <= GAS_LIMIT_MAX:
            raise ChainUnavailable("the node estimates an amount of gas that no transaction may use")
        return min(GAS_LIMIT_MAX, -(-used * (100 + self._margin_percent) // 100))


def _refusal(error: NodeError) -> ChainError:
    if error.code == _METHOD_UNKNOWN:
        return ChainUnavailable("the node does not estimate gas")
    if "insufficient funds" in error.message.lower():
        return InsufficientFunds("the account cannot pay amount and fee")
    return TransactionRejected(f"the transfer would fail: {error.message}")
