"""Solana: its own runtime (LiteSVM) behind the JSON-RPC and websocket that Solana clients speak."""

import base64
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction

from keyquorum_devnet.engines.engine import FUNDED_S_MAX, ChainClient, ChainSays, Engine, Judged
from keyquorum_devnet.engines.solana_tokens import SolanaTokens
from keyquorum_devnet.ports import HOST
from keyquorum_devnet.solana import base58
from keyquorum_devnet.solana.genesis import CHAIN_ID, NATIVE_ASSET
from keyquorum_devnet.toml import Value

LAMPORTS_PER_SOL: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class OnChain:
    """A transaction as the chain has it."""

    txid: str
    slot: int
    succeeded: bool
    fee: int
    payer: str
    signers: int
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


class SolanaClient(ChainClient):
    """Solana's JSON-RPC, as far as it is needed."""

    reorganises: ClassVar[bool] = False

    async def is_up(self) -> bool:
        """Whether the node calls itself healthy."""
        return await self._responds("getHealth")

    async def fund(self, address: str, amount: int) -> None:
        """Lamports from the faucet, confirmed."""
        before = await self.balance(address)
        await self.call("requestAirdrop", address, amount)
        await self.until_balance(address, before + amount, within_s=FUNDED_S_MAX)

    async def balance(self, address: str) -> int:
        """Lamports at a confirmed slot."""
        answer = await self.call("getBalance", address, {"commitment": "confirmed"})
        return int(answer["value"])

    async def judge(self, txid: str, source: str) -> Judged:
        """The transaction with its bytes: the signature is checked here, by OpenSSL."""
        found = await self.transaction(txid)
        if not found.succeeded or found.payer != source or found.signers != 1:
            raise ChainSays(f"{txid} did not succeed, or somebody else signed or paid for it")
        if not found.signature_verifies():
            raise ChainSays(f"OpenSSL does not accept the signature of {txid}")
        return Judged(txid, f"slot {found.slot}", found.fee, "OpenSSL")

    async def mine(self, blocks: int) -> None:
        """Let slots pass."""
        await self.call("devnet_advanceSlots", blocks)

    @staticmethod
    def stranger() -> str:
        """The address of a key that is forgotten."""
        return str(Keypair().pubkey())

    async def transaction(self, txid: str) -> OnChain:
        """A confirmed transaction with its bytes; :class:`ChainSays` if the chain does not have it."""
        options = {"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": 0}
        found: Any = await self.call("getTransaction", txid, options)
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
            signers=len(parsed.signatures),
            message=bytes(to_bytes_versioned(parsed.message)),
            signature=bytes(parsed.signatures[0]),
        )


def _command(port: int, _tool: str, block_s: float) -> tuple[str, ...]:
    slot = str(round(1000 * block_s))
    return (sys.executable, "-m", "keyquorum_devnet.solana", "--port", str(port), "--slot-ms", slot)


def _settings(port: int) -> Mapping[str, Value]:
    return {
        "rpc_url": f"http://{HOST}:{port}/",
        "ws_url": f"ws://{HOST}:{port}/",
        "name": "Solana on this machine",
        "aliases": ["solana:devnet", "solana:localnet"],
        "rebroadcast_interval_s": 1.0,
        "poll_interval_s": 0.5,
    }


def _fund_line(url: str) -> str:
    return (
        "curl -sS -H 'Content-Type: application/json' -d "
        '"{\\"jsonrpc\\": \\"2.0\\", \\"id\\": 1, \\"method\\": \\"requestAirdrop\\", '
        f'\\"params\\": [\\"$ADDRESS\\", {2 * LAMPORTS_PER_SOL}]}}" {url}; echo; sleep 1'
    )


SOLANA: Final = Engine(
    name="solana",
    chain=CHAIN_ID,
    asset=NATIVE_ASSET,
    scheme="eddsa_ed25519",
    unit="lamports",
    coin=LAMPORTS_PER_SOL,
    plugin="keyquorum-sol",
    codec="solana",
    client=SolanaClient,
    block_s=0.4,
    command=_command,
    settings=_settings,
    fund_line=_fund_line,
    destination="9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin",
    fee_ceiling=5_000_000,  # a new token account's rent counts as a fee
    limit_per_transaction=100 * LAMPORTS_PER_SOL,
    limit_per_window=1_000 * LAMPORTS_PER_SOL,
    client_initiates=True,
    tokens=SolanaTokens,
)
