"""The demonstration: real coins move on real chains by threshold signatures, and nobody's word is taken for it.

On each chain a wallet is made, initiated by the gateway; where the client can read the chain's payloads, a second one that
its own key initiates. For each: the key certificate and the address are verified against the pinned roster by a command of
their own, the account is funded by the chain, coins go to an address that has never been used, and then the chain, not
the gateway, is asked what happened. On a chain whose scheme the parties cannot sign yet, the refusal is shown.
"""

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp

from keyquorum_devnet import operators
from keyquorum_devnet.engines import ChainClient, ChainSays, Engine, Judged, TokenClient
from keyquorum_devnet.initiator import Initiator, WantedKey, WantedTransfer
from keyquorum_devnet.layout import GATEWAY, PARTIES, Layout, command
from keyquorum_devnet.rest import Gateway
from keyquorum_devnet.stack import Stack

THRESHOLD: Final = 2
WINDOW_S: Final = 24 * 3600
CREATED_S_MAX: Final = 30.0
CONFIRMED_S_MAX: Final = 30.0

Initiation = Literal["gateway", "client"]


class DemoFailed(Exception):
    """Something that was claimed is not so; the text says what."""


@dataclass(frozen=True, slots=True)
class Report:
    """One row of build/demo.json: a transfer that its chain confirmed."""

    chain: str
    asset: str
    scheme: str
    initiation: Initiation
    wallet: str
    address: str
    recipient: str
    txid: str
    amount: str
    fee: str
    block: str
    confirmed: bool
    key_ms: float
    signing_ms: float
    trace_id: str


class Demo:
    """A customer of a stack that is up, on one chain."""

    def __init__(
        self,
        stack: Stack,
        engine: Engine,
        session: aiohttp.ClientSession,
        say: Callable[[str], None],
    ) -> None:
        self._layout: Layout = stack.layout
        self._base_url = stack.base_url
        self._engine = engine
        self._gateway = Gateway(session, stack.base_url, stack.api_key)
        self._chain: ChainClient = stack.chain_client(engine, session)
        self._tokens: TokenClient | None = engine.tokens(self._chain) if engine.tokens else None
        self._client = Initiator(bytes.fromhex(stack.layout.root_key.read_text(encoding="ascii")))
        self._funding = 2 * engine.coin
        self._say = say

    async def run(self, initiation: Initiation, *, token: bool = False) -> Report:
        """The whole path once, with coins or with a token; :class:`DemoFailed` where a claim does not hold."""
        engine = self._engine
        asset = await self._tokens.create() if token and self._tokens else engine.asset
        wallet, key_ms = await self._funded_wallet(initiation, asset)
        account = wallet["accounts"][0]
        recipient, amount = self._chain.stranger(), engine.coin // 10 + secrets.randbelow(engine.coin)
        transaction, operation = await self._transfer(initiation, account, asset, recipient, amount)
        found = await self._judge(transaction["txid"], account["address"], asset, recipient, amount)
        what = engine.unit if asset == engine.asset else f"of {asset.rpartition('/')[2]}"
        self._say(
            f"  {amount} {what} reached {recipient}: confirmed in {found.place}, signature verified by {found.verifier}"
        )
        return Report(
            chain=engine.chain,
            asset=asset,
            scheme=engine.scheme,
            initiation=initiation,
            wallet=wallet["id"],
            address=account["address"],
            recipient=recipient,
            txid=found.txid,
            amount=str(amount),
            fee=str(found.fee),
            block=found.place,
            confirmed=True,
            key_ms=round(key_ms, 1),
            signing_ms=operation["signing_ms"],
            trace_id=operation["trace_id"],
        )

    async def _funded_wallet(self, initiation: Initiation, asset: str) -> tuple[Any, float]:
        """A wallet whose address was verified before coins went there; milliseconds that its key took."""
        began = time.perf_counter()
        wallet = await self._create_wallet(initiation, asset)
        key_ms = 1000 * (time.perf_counter() - began)
        account = wallet["accounts"][0]
        self._say(
            f"{self._engine.name}: {initiation}-initiated wallet {wallet['id']}, "
            f"{self._engine.scheme} key made by {len(PARTIES)} parties in {key_ms:.0f} ms"
        )
        await self._verify(wallet["id"], account["address"])
        await self._chain.fund(account["address"], self._funding)
        if self._tokens is not None and asset != self._engine.asset:
            await self._tokens.give(asset, account["address"], self._funding)
        return wallet, key_ms

    async def _create_wallet(self, initiation: Initiation, asset: str) -> Any:
        user_id = f"demo-{secrets.token_hex(4)}"
        body: dict[str, Any] = {"user_id": user_id, "name": f"{initiation}-initiated", "chains": [self._engine.chain]}
        if initiation == "client":
            body["initiation"] = {"type": "client", "public_key": self._client.public.hex()}
        if asset != self._engine.asset:  # what no limit names, no party lets go
            body["policy"] = {"limits": [self._limit(each) for each in (self._engine.asset, asset)]}
        ordered = await self._gateway.order("/v1/wallets", body)
        if initiation == "client":
            await self._authorize(ordered.operation_id, WantedKey(user_id, self._engine.scheme, THRESHOLD, PARTIES))
        await self._gateway.operation(ordered.operation_id, within_s=CREATED_S_MAX)
        return await self._gateway.get(f"/v1/wallets/{ordered.made_id}")

    def _limit(self, asset: str) -> dict[str, Any]:
        engine = self._engine
        amounts = {"per_transaction": engine.limit_per_transaction, "per_window": engine.limit_per_window}
        return {"asset": asset, "window_s": WINDOW_S, **{name: str(amount) for name, amount in amounts.items()}}

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

    async def _transfer(
        self, initiation: Initiation, account: Any, asset: str, recipient: str, amount: int
    ) -> tuple[Any, Any]:
        body = {"account_id": account["id"], "asset": asset, "destination": recipient, "amount": str(amount)}
        ordered = await self._gateway.order("/v1/transactions", body)
        if initiation == "client":
            chain, fee_max = self._engine.chain, self._engine.fee_ceiling
            wanted = WantedTransfer(chain, asset, account["address"], recipient, amount, fee_max)
            await self._authorize(ordered.operation_id, wanted)
        ended = frozenset({"confirmed", "failed", "expired"})
        path = f"/v1/transactions/{ordered.made_id}"
        transaction = await self._gateway.until(path, ended, within_s=CONFIRMED_S_MAX)
        if transaction["state"] != "confirmed":
            raise DemoFailed(f"transaction {ordered.made_id} is {transaction['state']}: {transaction['detail']}")
        return transaction, await self._gateway.get(f"/v1/operations/{ordered.operation_id}")

    async def _judge(self, txid: str, source: str, asset: str, recipient: str, amount: int) -> Judged:
        """Ask the chain itself."""
        try:
            found = await self._chain.judge(txid, source)
            received, left = await self._holds(recipient, asset), await self._holds(source, asset)
        except ChainSays as error:
            raise DemoFailed(str(error)) from None
        fee = found.fee if asset == self._engine.asset else 0
        if received != amount or left != self._funding - amount - fee:
            raise DemoFailed(f"balances after {txid}: {received} arrived and {left} are left")
        return found

    async def _holds(self, address: str, asset: str) -> int:
        if self._tokens is not None and asset != self._engine.asset:
            return await self._tokens.balance(asset, address)
        return await self._chain.balance(address)


async def demonstrate(stack: Stack, say: Callable[[str], None]) -> list[Report]:
    """Every chain, one after the other."""
    rows: list[Report] = []
    async with aiohttp.ClientSession() as session:
        for engine in stack.engines.values():
            demo = Demo(stack, engine, session, say)
            rows.append(await demo.run("gateway"))
            if engine.client_initiates:
                rows.append(await demo.run("client"))
            if engine.tokens:
                rows.append(await demo.run("gateway", token=True))
    return rows


def write_report(rows: list[Report], file: Path) -> None:
    """Write build/demo.json."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
