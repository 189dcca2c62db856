"""web3 over the host's HTTP session, for reading contracts and nothing else.

web3's own HTTP provider repeats requests by itself, ``eth_sendRawTransaction`` among them, puts no bound on an answer, and
on behalf of a contract that asks for it (EIP-3668) fetches whatever address that contract names. None of this can happen here:
every request goes through :class:`~keyquorum_eth.rpc.JsonRpc` once, and only those that read a contract do.
"""

from typing import Any

from web3.providers.async_base import AsyncBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from keyquorum_eth.rpc import JsonRpc, NoAnswer, NodeError, Question
from keyquorum_eth.shapes import DATA
from keyquorum_plugin_api.errors import ChainUnavailable

_METHODS = frozenset({"eth_call", "eth_getCode"})


class ContractReader(AsyncBaseProvider):
    """A provider of web3. Raises :class:`ChainUnavailable` where no answer comes."""

    global_ccip_read_enabled = False

    def __init__(self, rpc: JsonRpc) -> None:
        super().__init__()
        self._rpc = rpc

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """A call, or the code, which web3 asks for to explain an empty answer."""
        if method not in _METHODS:
            raise ChainUnavailable(f"{method} is not for contracts to be read with")
        try:
            data = await self._rpc.ask(Question(str(method), list(params), DATA))
        except NoAnswer as error:
            raise ChainUnavailable(error.detail) from None
        except NodeError as error:
            return {"jsonrpc": "2.0", "id": 1, "error": {"code": error.code, "message": error.message}}
        return {"jsonrpc": "2.0", "id": 1, "result": f"0x{data.hex()}"}

    async def is_connected(self, show_traceback: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002 web3's signature
        """Unknown until something is asked."""
        return True
