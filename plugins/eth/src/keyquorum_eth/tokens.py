"""Reading ERC-20 contracts, which say what they like: their answers are checked like those of any stranger."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from web3 import AsyncWeb3

from keyquorum_eth.limits import U256_MAX
from keyquorum_eth.node import EthereumNode
from keyquorum_eth.provider import ContractReader
from keyquorum_eth.rpc import JsonRpc
from keyquorum_plugin_api.errors import ChainError, UnsupportedAsset

TOKENS_MAX = 1024  # whose decimals and symbols are remembered
DECIMALS_MAX = 77  # more digits than a balance can have
SYMBOL_CHARS_MAX = 16
_NAMELESS = "ERC20"


def _view(name: str, result: str, *arguments: str) -> dict[str, Any]:
    return {
        "type": "function",
        "name": name,
        "stateMutability": "view",
        "inputs": [{"name": "", "type": argument} for argument in arguments],
        "outputs": [{"name": "", "type": result}],
    }


ERC20_ABI: Final = [_view("balanceOf", "uint256", "address"), _view("decimals", "uint8"), _view("symbol", "string")]


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says about itself."""

    decimals: int
    symbol: str


class Tokens:
    """Balances of tokens, and what the tokens are."""

    def __init__(self, rpc: JsonRpc, node: EthereumNode) -> None:
        self._node = node
        self._web3 = AsyncWeb3(ContractReader(rpc), middleware=[])
        self._abi = self._web3.eth.contract(abi=ERC20_ABI)
        self._known: OrderedDict[bytes, Token] = OrderedDict()

    async def token(self, contract: bytes) -> Token:
        """Decimals and symbol; :class:`UnsupportedAsset` for a contract that is no token."""
        known = self._known.get(contract)
        if known is not None:
            return known
        functions = self._web3.eth.contract(address=AsyncWeb3.to_checksum_address(contract), abi=ERC20_ABI).functions
        decimals = await self._asked(functions.decimals())
        if type(decimals) is not int or not 0 <= decimals <= DECIMALS_MAX:
            raise UnsupportedAsset("there is no ERC-20 token at this address")
        try:
            symbol = str(await self._asked(functions.symbol()))
        except UnsupportedAsset:  # optional, and bytes32 in some old tokens
            symbol = ""
        shown = "".join(character for character in symbol if character.isascii() and character.isalnum())
        token = Token(decimals, shown[:SYMBOL_CHARS_MAX] or _NAMELESS)
        self._known[contract] = token
        if len(self._known) > TOKENS_MAX:
            self._known.popitem(last=False)
        return token

    async def balances(self, address: str, contracts: Sequence[bytes]) -> tuple[int, list[int | None]]:
        """Wei, and minor units of each token, in one request for all; None for contracts that do not answer as tokens."""
        data = bytes.fromhex(self._abi.encode_abi("balanceOf", [address])[2:])
        wei, answers = await self._node.balances(address, [(contract, data) for contract in contracts])
        return wei, [self._amount(answer) for answer in answers]

    async def balance(self, address: str, contract: bytes, block: int) -> int:
        """Minor units of one token, as of a block."""
        functions = self._web3.eth.contract(address=AsyncWeb3.to_checksum_address(contract), abi=ERC20_ABI).functions
        found = await self._asked(functions.balanceOf(address), block)
        if type(found) is not int or not 0 <= found <= U256_MAX:
            raise UnsupportedAsset("there is no ERC-20 token at this address")
        return found

    async def _asked(self, function: Any, block: int | None = None) -> Any:
        try:
            return await function.call(block_identifier="latest" if block is None else block)
        except ChainError:
            raise
        except Exception:  # noqa: BLE001 web3, eth_abi and eth_utils each have their own for what a stranger answers
            raise UnsupportedAsset("the contract does not answer as an ERC-20 token does") from None

    def _amount(self, answer: bytes | None) -> int | None:
        if answer is None or len(answer) != 32:
            return None
        return int(self._web3.codec.decode(["uint256"], answer)[0])
