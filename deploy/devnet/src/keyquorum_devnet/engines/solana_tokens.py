"""SPL tokens that are made for one demonstration or test."""

import base64
from typing import Final

from keyquorum_devnet.engines.engine import FUNDED_S_MAX, TokenClient
from keyquorum_devnet.solana.genesis import CHAIN_ID

DECIMALS: Final = 6
_AMOUNT: Final = slice(64, 72)  # in a token account: little endian, behind mint and owner


class SolanaTokens(TokenClient):
    """Tokens of the token program, made and given by the chain's faucet."""

    async def create(self) -> str:
        """A new mint, as CAIP-19."""
        return f"{CHAIN_ID}/token:{await self._chain.call('devnet_createMint', DECIMALS)}"

    async def give(self, asset: str, owner: str, amount: int) -> None:
        """Mint to an owner's associated account, which is made where it is missing."""
        before = await self.balance(asset, owner)
        await self._chain.call("devnet_mintTokens", _mint(asset), owner, amount)
        await self._until(asset, owner, before + amount, within_s=FUNDED_S_MAX)

    async def balance(self, asset: str, owner: str) -> int:
        """What an owner holds in all accounts of a mint."""
        options = {"encoding": "base64", "commitment": "confirmed"}
        found = await self._chain.call("getTokenAccountsByOwner", owner, {"mint": _mint(asset)}, options)
        accounts = [base64.b64decode(each["account"]["data"][0]) for each in found["value"]]
        return sum(int.from_bytes(account[_AMOUNT], "little") for account in accounts)


def _mint(asset: str) -> str:
    return asset.removeprefix(f"{CHAIN_ID}/token:")
