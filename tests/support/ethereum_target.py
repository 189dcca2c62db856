"""Ethereum for the conformance suites: the codec alone, and with anvil behind the adapter."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import web
from eth_keys import keys

from keyquorum_eth.adapter import EthereumAdapter
from keyquorum_eth.codec import EthereumCodec, transaction_id
from keyquorum_eth.limits import GAS_LIMIT_MAX
from keyquorum_eth.transactions import DynamicFeeTransaction
from keyquorum_plugin_api.chain import Clock
from keyquorum_plugin_api.codec import SignedTransaction, SignerAccount, SigningRequest
from keyquorum_plugin_api.signer import Signer
from keyquorum_plugin_api.testing import LocalAccount, MemoryReservations, SystemClock, local_context
from support.anvil import CHAIN, CHAIN_ID, ETHER, Anvil, AnvilCaller
from support.ethereum_hostile import GWEI, OTHER_SPELLINGS, hostile_documents, hostile_payloads, permit

CONFIRMATIONS, FINAL_CONFIRMATIONS = 2, 4
BODY_AT = 29  # of a payload: kind, chain id, signer come first


def ethereum_key(seed: bytes, index: int) -> keys.PrivateKey:
    """A key that eth_keys holds: another library than the codec's verifies what it signs, and the other way round."""
    return keys.PrivateKey(hashlib.sha256(b"%s/%d" % (seed, index)).digest())


def ethereum_account(seed: bytes, index: int) -> LocalAccount:
    """An account and its signatures, r ‖ s ‖ recovery id."""
    key = ethereum_key(seed, index)

    def sign(request: SigningRequest) -> bytes:
        return key.sign_msg_hash(request.message).to_bytes()

    account = SignerAccount(key.public_key.to_checksum_address(), key.public_key.to_compressed_bytes(), (index,))
    return LocalAccount(account, sign)


def bare(document: dict[str, Any]) -> dict[str, Any]:
    """The same permit under the shortest domain: the suite flips every bit of it."""
    types = {**document["types"], "EIP712Domain": document["types"]["EIP712Domain"][2:]}
    domain = {name: document["domain"][name] for name in ("chainId", "verifyingContract")}
    return {**document, "types": types, "domain": domain}


class EthereumCodecTarget:
    """The codec, offline."""

    codec = EthereumCodec()
    chain = CHAIN
    other_chain = "eip155:1"
    asset = f"{CHAIN}/slip44:60"
    amount = ETHER // 1000
    memo = ""
    metadata: Mapping[str, str] = {
        "nonce": "7",
        "gas_limit": "21000",
        "max_fee_per_gas": "30000000000",
        "max_priority_fee_per_gas": "1000000000",
    }
    invalid_addresses = (
        "0x0000000000000000000000000000000000000000",
        "0x0000000000000000000000000000000000000001",
        "0x0000000000000000000000000000000000000100",
        "0x000000000000000000000000000000000000dEaD",
        "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE",
        "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",  # one letter's case is wrong
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
        "0X5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "vitalik.eth",
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    )

    def __init__(self, seed: bytes = b"codec") -> None:
        self._seed = seed
        us, friend = (self.account(index).account.address for index in (0, 1))
        self.hostile_payloads = hostile_payloads(us, friend)
        self.document = json.dumps(bare(permit(us, friend)))
        self.hostile_documents = {
            name: payload[BODY_AT:].decode()
            for name, payload in hostile_documents(us, friend).items()
            if name not in OTHER_SPELLINGS
        }

    def account(self, index: int) -> LocalAccount:
        """The same account for the same index."""
        return ethereum_account(self._seed, index)


class EthereumChainTarget(EthereumCodecTarget):
    """The codec, the adapter, and anvil. Another seed means other accounts: tests on one node do not meet."""

    fee_too_high: Mapping[str, str] = {"max_fee_per_gas": str(301 * GWEI)}
    fee_too_low: Mapping[str, str] = {"max_fee_per_gas": "1", "max_priority_fee_per_gas": "1"}

    def __init__(self, seed: bytes, anvil: Anvil, http: aiohttp.ClientSession, **config: Any) -> None:
        super().__init__(seed)
        self.reservations = MemoryReservations(SystemClock())
        self.config: dict[str, Any] = {
            "rpc_url": anvil.rpc_url,
            "ws_url": anvil.ws_url,
            "confirmations": CONFIRMATIONS,
            "final_confirmations": FINAL_CONFIRMATIONS,
            "poll_interval_s": 0.1,
            **config,
        }
        self.rpc = AnvilCaller(http, anvil.rpc_url)
        self._http = http

    async def adapter(self, signer: Signer) -> EthereumAdapter:
        """An adapter with the configuration of this target."""
        return await self.configured(signer, {})

    async def configured(
        self, signer: Signer, changes: Mapping[str, Any], *, clock: Clock | None = None
    ) -> EthereumAdapter:
        """An adapter with some settings changed."""
        config = {**self.config, **changes}
        context = local_context(self.chain, signer, self._http, config, reservations=self.reservations, clock=clock)
        adapter = EthereumAdapter(context)
        await adapter.start()
        return adapter

    async def unreachable(self, signer: Signer) -> EthereumAdapter:
        """An adapter whose node is behind a port where nobody listens."""
        return await self.configured(signer, {"rpc_url": "http://127.0.0.1:9/", "ws_url": None})

    async def forgetful(self, signer: Signer) -> EthereumAdapter:
        """An adapter whose node hangs up on whoever has given it a transaction, and on everything after that."""
        proxy = ForgetfulNode(self._http, self.config["rpc_url"])
        await proxy.start()
        adapter = await self.configured(signer, {"rpc_url": proxy.url, "ws_url": None})
        close = adapter.close

        async def close_both() -> None:
            await close()
            await proxy.close()

        adapter.close = close_both  # type: ignore[method-assign]
        return adapter

    async def rejected(self) -> SignedTransaction:
        """More gas than a block of this node has: 16 million."""
        account = self.account(0)
        nonce = await self.rpc.count(account.account.address)
        signer = bytes.fromhex(account.account.address[2:])
        made = DynamicFeeTransaction(CHAIN_ID, nonce, GWEI, 10 * GWEI, GAS_LIMIT_MAX, signer, 0)
        raw = made.signed(account.sign(SigningRequest("ecdsa_secp256k1", made.digest(), account.account.address)))
        return SignedTransaction(self.chain, raw, transaction_id(raw))

    async def reorganise(self) -> None:
        """Drop the latest blocks, and make as many empty ones."""
        await self.rpc("anvil_reorg", min(FINAL_CONFIRMATIONS - 1, await self.rpc.head()), [])

    async def fund(self, address: str, amount: int) -> None:
        """Coins, too deep to be dropped."""
        await self.rpc.pay(address, amount)
        await self.rpc.mine(FINAL_CONFIRMATIONS)

    async def advance(self) -> None:
        """One block."""
        await self.rpc.mine()

    async def expire(self) -> None:
        """Nothing expires by time; many blocks go by."""
        await self.rpc.mine(8)


class ForgetfulNode:
    """Stands before a node, hands on what it is asked, and hangs up for good once it was given a transaction."""

    def __init__(self, http: aiohttp.ClientSession, upstream: str) -> None:
        self._http = http
        self._upstream = upstream
        self._runner: web.AppRunner | None = None
        self._gone = False
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not self._gone:
            async with self._http.post(
                self._upstream, data=body, headers={"content-type": "application/json"}
            ) as answer:
                said = await answer.read()
            self._gone = b"eth_sendRawTransaction" in body
        if self._gone:
            request.transport.abort()
            raise asyncio.CancelledError
        return web.Response(body=said, content_type="application/json")
