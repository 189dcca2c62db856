"""The demonstration: real coins move on Solana's runtime by threshold signatures, and nobody's word is taken for it.

Two wallets, one initiated by the gateway and one by the client's own key. For each: the key certificate and the address
are verified against the pinned roster by a command of their own, the account is funded by the chain, lamports go to an
address that has never been used, and then the chain, not the gateway, is asked what happened.
"""

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp
from solders.keypair import Keypair

from keyquorum_devnet import operators
from keyquorum_devnet.chain_client import ChainClient, ChainSays, OnChain
from keyquorum_devnet.configuration import FEE_CEILING, LAMPORTS_PER_SOL
from keyquorum_devnet.initiator import Initiator, WantedKey, WantedTransfer
from keyquorum_devnet.layout import GATEWAY, PARTIES, Layout, command
from keyquorum_devnet.rest import Gateway
from keyquorum_devnet.solana.genesis import CHAIN_ID, NATIVE_ASSET
from keyquorum_devnet.stack import Stack

FUNDING: Final = 2 * LAMPORTS_PER_SOL
SCHEME: Final = "eddsa_ed25519"
THRESHOLD: Final = 2
CREATED_S_MAX: Final = 30.0
CONFIRMED_S_MAX: Final = 30.0

Initiation = Literal["gateway", "client"]


class DemoFailed(Exception):
    """Something that was claimed is not so; the text says what."""


@dataclass(frozen=True, slots=True)
class Report:
    """One row of build/demo.json."""

    chain: str
    scheme: str
    initiation: Initiation
    wallet: str
    address: str
    recipient: str
    txid: str
    amount: str
    fee: str
    slot: int
    confirmed: bool
    key_ms: float
    signing_ms: float
    trace_id: str


class Demo:
    """A customer of a stack that is up."""

    def __init__(
        self, layout: Layout, base_url: str, chain_url: str, session: aiohttp.ClientSession, say: Callable[[str], None]
    ) -> None:
        self._layout = layout
        self._base_url = base_url
        self._gateway = Gateway(session, base_url, layout.api_key.read_text(encoding="ascii").strip())
        self._chain = ChainClient(session, chain_url)
        self._client = Initiator(bytes.fromhex(layout.root_key.read_text(encoding="ascii")))
        self._say = say

    async def run(self, initiation: Initiation) -> Report:
        """The whole path once; :class:`DemoFailed` where a claim does not hold."""
        began = time.perf_counter()
        wallet = await self._create_wallet(initiation)
        key_ms = 1000 * (time.perf_counter() - began)
        account = wallet["accounts"][0]
        self._say(
            f"{initiation}-initiated wallet {wallet['id']}, key made by {len(PARTIES)} parties in {key_ms:.0f} ms"
        )
        await self._verify(wallet["id"], account["address"])
        await self._chain.airdrop(account["address"], FUNDING)
        await self._chain.until_balance(account["address"], FUNDING, within_s=CONFIRMED_S_MAX)
        recipient, amount = str(Keypair().pubkey()), 100_000_000 + secrets.randbelow(LAMPORTS_PER_SOL)
        transaction, operation = await self._transfer(initiation, account, recipient, amount)
        found = await self._judge(transaction, account["address"], recipient, amount)
        self._say(
            f"{amount} lamports reached {recipient}: confirmed in slot {found.slot}, signature verified by OpenSSL"
        )
        return Report(
            chain=CHAIN_ID,
            scheme=SCHEME,
            initiation=initiation,
            wallet=wallet["id"],
            address=account["address"],
            recipient=recipient,
            txid=found.txid,
            amount=str(amount),
            fee=str(found.fee),
            slot=found.slot,
            confirmed=True,
            key_ms=round(key_ms, 1),
            signing_ms=operation["signing_ms"],
            trace_id=operation["trace_id"],
        )

    async def _create_wallet(self, initiation: Initiation) -> Any:
        user_id = f"demo-{secrets.token_hex(4)}"
        body: dict[str, Any] = {"user_id": user_id, "name": f"{initiation}-initiated", "chains": [CHAIN_ID]}
        if initiation == "client":
            body["initiation"] = {"type": "client", "public_key": self._client.public.hex()}
        ordered = await self._gateway.order("/v1/wallets", body)
        if initiation == "client":
            await self._authorize(ordered.operation_id, WantedKey(user_id, SCHEME, THRESHOLD, PARTIES))
        await self._gateway.operation(ordered.operation_id, within_s=CREATED_S_MAX)
        return await self._gateway.get(f"/v1/wallets/{ordered.made_id}")

    async def _authorize(self, operation_id: str, wanted: WantedKey | WantedTransfer) -> None:
        """Read what waits for the client's signature, check it, sign it."""
        waiting = await self._gateway.operation(
            operation_id, within_s=CREATED_S_MAX, also=frozenset({"awaiting_initiator"})
        )
        body = self._client.authorize(waiting["awaiting"], wanted)
        await self._gateway.post(f"/v1/operations/{operation_id}/authorization", body)
        self._say("  the client read the intent, found what it had asked for, and signed it")

    async def _verify(self, wallet_id: str, address: str) -> None:
        """``keyquorum verify wallet``, against a roster that the gateway did not serve."""
        layout = self._layout
        answer = json.loads(
            await operators.run(
                command("keyquorum"), "verify", "wallet", wallet_id, "--json",
                "--roster", str(layout.node(GATEWAY) / "roster.toml"),
                "--url", self._base_url, "--api-key-file", str(layout.api_key),
            )
        )  # fmt: skip
        if address not in json.dumps(answer):
            raise DemoFailed(f"the verified wallet {wallet_id} does not have the address {address}")
        self._say(f"  certificate and address {address} verified against the pinned roster")

    async def _transfer(self, initiation: Initiation, account: Any, recipient: str, amount: int) -> tuple[Any, Any]:
        body = {"account_id": account["id"], "destination": recipient, "amount": str(amount)}
        ordered = await self._gateway.order("/v1/transactions", body)
        if initiation == "client":
            wanted = WantedTransfer(CHAIN_ID, NATIVE_ASSET, account["address"], recipient, amount, FEE_CEILING)
            await self._authorize(ordered.operation_id, wanted)
        ended = frozenset({"confirmed", "failed", "expired"})
        path = f"/v1/transactions/{ordered.made_id}"
        transaction = await self._gateway.until(path, ended, within_s=CONFIRMED_S_MAX)
        if transaction["state"] != "confirmed":
            raise DemoFailed(f"transaction {ordered.made_id} is {transaction['state']}: {transaction['detail']}")
        return transaction, await self._gateway.get(f"/v1/operations/{ordered.operation_id}")

    async def _judge(self, transaction: Any, source: str, recipient: str, amount: int) -> OnChain:
        """Ask the chain itself."""
        try:
            found = await self._chain.transaction(transaction["txid"])
            received, left = await self._chain.balance(recipient), await self._chain.balance(source)
        except ChainSays as error:
            raise DemoFailed(str(error)) from None
        if not found.succeeded or found.payer != source:
            raise DemoFailed(f"{found.txid} did not succeed, or somebody else paid for it")
        if not found.signature_verifies():
            raise DemoFailed(f"OpenSSL does not accept the signature of {found.txid}")
        if received != amount or left != FUNDING - amount - found.fee:
            raise DemoFailed(f"balances after {found.txid}: {received} arrived and {left} are left")
        return found


async def demonstrate(stack: Stack, say: Callable[[str], None]) -> list[Report]:
    """Both initiations, one after the other."""
    async with aiohttp.ClientSession() as session:
        demo = Demo(stack.layout, stack.base_url, stack.chain_url, session, say)
        return [await demo.run("gateway"), await demo.run("client")]


def write_report(rows: list[Report], file: Path) -> None:
    """Write build/demo.json."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
