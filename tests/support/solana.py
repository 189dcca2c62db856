"""Raw access to a Solana RPC server, and transactions made by solders alone."""

from types import TracebackType
from typing import Any, Self

import aiohttp
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

SOL = 10**9


class SolanaRpcCaller:
    """JSON-RPC without a client library."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, body: Any) -> Any:
        """The answer to any JSON."""
        async with self._session.post(self._url, json=body) as response:
            return await response.json()

    async def answer(self, method: str, *params: Any) -> Any:
        """The whole answer to a call."""
        return await self.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})

    async def __call__(self, method: str, *params: Any) -> Any:
        """The result of a call that succeeds."""
        answer = await self.answer(method, *params)
        assert "error" not in answer, answer
        return answer["result"]

    async def advance(self, slots: int = 1) -> None:
        """Let slots pass."""
        await self("devnet_advanceSlots", slots)


def transfer_of(source: Keypair, destination: Pubkey, lamports: int) -> Instruction:
    """A plain transfer."""
    return transfer(TransferParams(from_pubkey=source.pubkey(), to_pubkey=destination, lamports=lamports))


def signed(instructions: list[Instruction], blockhash: Hash, *signers: Keypair) -> VersionedTransaction:
    """A v0 transaction that the first signer pays for."""
    return VersionedTransaction(MessageV0.try_compile(signers[0].pubkey(), instructions, [], blockhash), list(signers))
