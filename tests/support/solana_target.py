"""Solana for the conformance suites: the codec alone, and with the runtime behind its RPC server."""

import hashlib
from collections.abc import Mapping

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from solders.pubkey import Pubkey

from keyquorum_devnet.solana import CHAIN_ID, NATIVE_ASSET
from keyquorum_devnet.solana.server import Endpoint
from keyquorum_plugin_api.codec import SignerAccount
from keyquorum_plugin_api.signer import Signer
from keyquorum_plugin_api.testing import LocalAccount, MemoryReservations, SystemClock, local_context
from keyquorum_sol.adapter import SolanaAdapter
from keyquorum_sol.codec import SolanaCodec
from support.solana import SOL, SolanaRpcCaller
from support.solana_hostile import hostile_messages, hostile_transfers
from support.solana_hostile_tokens import hostile_nonce_accounts, hostile_tokens

RENT_EXEMPT = 890_880  # lamports, an account without data


def solana_account(seed: bytes, index: int) -> LocalAccount:
    """An account whose key OpenSSL holds, so that solders verifies what it did not sign."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"%s/%d" % (seed, index)).digest())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    account = SignerAccount(str(Pubkey.from_bytes(public)), public, (index,))
    return LocalAccount(account, lambda request: key.sign(request.message))


class SolanaCodecTarget:
    """The codec, offline."""

    codec = SolanaCodec()
    chain = CHAIN_ID
    other_chain = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
    asset = NATIVE_ASSET
    amount = SOL // 100
    memo = "invoice 7 · Zürich"
    metadata: Mapping[str, str] = {
        "blockhash": "4sGjMW1sUnHzSxGspuhpqLDx6wiyjNtZAMdL4VZHirAn",
        "last_valid_block_height": "1150",
        "compute_unit_limit": "600",
        "compute_unit_price": "1000",
    }
    invalid_addresses = (
        "11111111111111111111111111111111",
        "SysvarC1ock11111111111111111111111111111111",
        "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
        "1nc1nerator11111111111111111111111111111111",
        "0x71C7656EC7ab88b098defB751B7401B5f6d8976F",
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "1" * 33,
        "I" * 44,
    )

    def __init__(self, seed: bytes = b"codec") -> None:
        self._seed = seed
        us, friend, thief = (Pubkey.from_bytes(self.account(index).account.public_key) for index in (0, 1, 2))
        self.hostile_payloads = {
            **hostile_transfers(us, friend, thief),
            **hostile_tokens(us, friend, thief),
            **hostile_nonce_accounts(us, thief),
            **hostile_messages(us, thief),
        }

    def account(self, index: int) -> LocalAccount:
        """The same account for the same index."""
        return solana_account(self._seed, index)


class SolanaChainTarget(SolanaCodecTarget):
    """The codec, the adapter, and LiteSVM behind its server."""

    def __init__(self, seed: bytes, endpoint: Endpoint, http: aiohttp.ClientSession, rpc: SolanaRpcCaller) -> None:
        super().__init__(seed)
        self.reservations = MemoryReservations(SystemClock())
        self.config = {
            "rpc_url": endpoint.rpc_url,
            "ws_url": endpoint.ws_url,
            "poll_interval_s": 0.2,
            "blockhash_max_age_s": 0.001,
            "event_poll_interval_s": 0.1,
        }
        self._http = http
        self._rpc = rpc

    async def adapter(self, signer: Signer) -> SolanaAdapter:
        """An adapter with the configuration of this target."""
        context = local_context(self.chain, signer, self._http, self.config, reservations=self.reservations)
        adapter = SolanaAdapter(context)
        await adapter.start()
        return adapter

    async def unreachable(self, signer: Signer) -> SolanaAdapter:
        """An adapter whose node is behind a port where nobody listens."""
        config = {**self.config, "rpc_url": "http://127.0.0.1:9/", "ws_url": "ws://127.0.0.1:9/"}
        context = local_context(self.chain, signer, self._http, config, reservations=self.reservations)
        return SolanaAdapter(context)

    async def fund(self, address: str, amount: int) -> None:
        """Coins from the faucet."""
        await self._rpc("requestAirdrop", address, amount)
        await self.advance()

    async def advance(self) -> None:
        """One slot."""
        await self._rpc.advance()

    async def expire(self) -> None:
        """More blocks than a blockhash lives."""
        await self._rpc.advance(160)
