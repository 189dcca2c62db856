"""JSON-RPC errors under bitcoind's numbers (its rpc/protocol.h)."""

from typing import Any, Final

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
MISC_ERROR: Final = -1
TYPE_ERROR: Final = -3
INVALID_ADDRESS_OR_KEY: Final = -5
INVALID_PARAMETER: Final = -8
DESERIALIZATION_ERROR: Final = -22
VERIFY_ERROR: Final = -25
VERIFY_REJECTED: Final = -26
VERIFY_ALREADY_IN_UTXO_SET: Final = -27


class RpcFault(Exception):
    """A request that is answered with a JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)

    def to_json(self) -> dict[str, Any]:
        """The ``error`` member of the answer."""
        return {"code": self.code, "message": self.message}
