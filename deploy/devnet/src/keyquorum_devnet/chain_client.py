"""What a customer asks the chain directly: nothing here goes through the gateway that is being judged."""

import asyncio
import base64
import time
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction

from keyquorum_devnet.solana import base58

REQUEST_S_MAX: Final = 10.0


class ChainSays(Exception):
    """The chain's node answered with an error, or with something that is not what was expected."""


@dataclass(frozen=True, slots=True)
class OnChain:
    """A transaction as the chain has it."""

    txid: str
    slot: int
    succeeded: bool
    fee: int
    payer: str
    message: bytes
    signature: bytes

    def signature_verifies(self) -> bool:
        """Whether the payer's key made the signature, by OpenSSL: no code that took part in making it is asked."""
        payer = base58.decode(self.payer)
        try:
            Ed25519PublicKey.from_public_bytes(payer).verify(self.signature, self.message)
        except InvalidSignature:
            return False
        return True


class ChainClient:
    """Solana's JSON-RPC, as far as it is needed."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def call(self, method: str, *params: Any) -> Any:
        """The result of a call; :class:`ChainSays` for an error."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        timeout = aiohttp.ClientTimeout(total=REQUEST_S_MAX)
        async with self._session.post(self._url, json=request, timeout=timeout) as response:
            answer = await response.json()
        if "error" in answer:
            raise ChainSays(f"{method}: {answer['error']}")
        return answer["result"]

    async def airdrop(self, address: str, lamports: int) -> str:
        """Ask for coins; the txid."""
        txid: str = await self.call("requestAirdrop", address, lamports)
        return txid

    async def balance(self, address: str) -> int:
        """Lamports at a confirmed slot."""
        answer = await self.call("getBalance", address, {"commitment": "confirmed"})
        return int(answer["value"])

    async def until_balance(self, address: str, lamports: int, *, within_s: float) -> int:
        """The balance once it is at least ``lamports``; :class:`ChainSays` otherwise."""
        deadline = time.monotonic() + within_s
        while (found := await self.balance(address)) < lamports:
            if time.monotonic() > deadline:
                raise ChainSays(f"{address} holds {found} lamports after {within_s:.0f} s, not {lamports}")
            await asyncio.sleep(0.05)
        return found

    async def transaction(self, txid: str) -> OnChain:
        """A confirmed transaction with its bytes; :class:`ChainSays` if the chain does not have it."""
        options = {"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": 0}
        found = await self.call("getTransaction", txid, options)
        if found is None:
            raise ChainSays(f"the chain has no confirmed transaction {txid}")
        parsed = VersionedTransaction.from_bytes(base64.b64decode(found["transaction"][0]))
        if str(parsed.signatures[0]) != txid:
            raise ChainSays(f"the chain gave another transaction than {txid}")
        return OnChain(
            txid=txid,
            slot=found["slot"],
            succeeded=found["meta"]["err"] is None,
            fee=found["meta"]["fee"],
            payer=str(parsed.message.account_keys[0]),
            message=bytes(to_bytes_versioned(parsed.message)),
            signature=bytes(parsed.signatures[0]),
        )
