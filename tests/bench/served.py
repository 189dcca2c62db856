"""What callers of a whole stack wait for: the one that ``make run`` starts, on a real disk, over REST and over gRPC."""

import asyncio
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from opentelemetry.trace import NoOpTracer

from bench import protocols
from bench.rows import Row, latency, throughput
from keyquorum_devnet.engines import ENGINES
from keyquorum_devnet.layout import COORDINATOR, GATEWAY, TENANT
from keyquorum_devnet.ports import HOST
from keyquorum_devnet.solana.genesis import CHAIN_ID
from keyquorum_gateway.ceremonies import CeremonyState
from keyquorum_gateway.config import read_hex_secret, read_secret
from keyquorum_gateway.identity import InitiatorKey
from keyquorum_gateway.intents import IntentComposer, KeyOrder, KeyPolicy, authorize
from keyquorum_gateway.roster import Roster
from keyquorum_gateway.signer_client import Command, SignerClient, open_channel
from support.stack import Customer, RunningStack

SIGNATURES = 300
CONCURRENT_CALLERS = 16
CONCURRENT_SIGNATURES = 320
KEYS = 60
TRANSFERS = 10
READS = 2000
KEY_S_MAX = 15.0
PLACEHOLDER = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"


async def timed(n: int, action: Callable[[], Awaitable[object]], warm_up: int = 10) -> list[float]:
    """Seconds of each of ``n`` calls, one after the other, after a few that do not count."""
    for _ in range(warm_up):
        await action()
    taken = []
    for _ in range(n):
        began = time.perf_counter()
        await action()
        taken.append(time.perf_counter() - began)
    return taken


async def signatures(customer: Customer, account_id: str, kind: str, scale: float) -> list[Row]:
    """``POST /v1/signatures`` with a message: alone, then from many callers at once. ``kind`` is one of FROST's."""

    async def sign() -> None:
        body = {"account_id": account_id, "message": f"log in {secrets.token_hex(8)}"}
        answer = await customer.gateway.call("POST", "/v1/signatures", body)
        if answer.status not in {200, 201}:
            raise RuntimeError(f"a signature was not answered inline: {answer}")

    cost = protocols.signing(kind, 2, 3)(0)
    figures = {"rounds": cost.rounds, "bytes_per_party": cost.bytes_sent}
    name = f"frost_{kind}_2of3_rest"
    found = [latency(name, await timed(max(20, int(SIGNATURES * scale)), sign), **figures)]
    each = max(2, int(CONCURRENT_SIGNATURES * scale) // CONCURRENT_CALLERS)

    async def caller() -> None:
        for _ in range(each):
            await sign()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CONCURRENT_CALLERS)))
    taken = time.perf_counter() - began
    found.append(throughput(f"{name}_{CONCURRENT_CALLERS}_callers", each * CONCURRENT_CALLERS, taken, **figures))
    return found


@asynccontextmanager
async def coordinator_client(
    stack: RunningStack, address: str
) -> AsyncIterator[tuple[SignerClient, Roster, InitiatorKey]]:
    """What the gateway reaches the coordinator with: its own certificate, key and client."""
    folder = stack.layout.node(GATEWAY)
    roster = Roster.load(folder / "roster.toml")
    channel = open_channel(
        address,
        COORDINATOR,
        roster.coordinator_certificate(COORDINATOR),
        (folder / f"{GATEWAY}.transport.pem").read_bytes(),
        read_secret(folder / f"{GATEWAY}.transport.key"),
    )
    client = SignerClient(channel, NoOpTracer())
    try:
        yield client, roster, InitiatorKey.from_seed(read_hex_secret(folder / f"{GATEWAY}.identity.seed", 32))
    finally:
        await client.close()


async def keys(stack: RunningStack, address: str, curve: str, scale: float) -> Row:
    """``CreateKey`` over gRPC, from the order to the certificate that all three parties signed."""
    async with coordinator_client(stack, address) as (client, roster, initiator):
        composer = IntentComposer(roster)

        async def create() -> None:
            order = KeyOrder(
                key_id=f"key_{secrets.token_hex(16)}",
                wallet_id=f"wal_{secrets.token_hex(16)}",
                user_id="bench",
                scheme=protocols.SCHEMES[curve],
                threshold=2,
                node_ids=tuple(node.node_id for node in roster.nodes),
                policy=KeyPolicy(initiator.public),
            )
            valid_until_ms = int((time.time() + KEY_S_MAX) * 1000)
            intent = composer.create_key(
                order, tenant_id=TENANT, initiator_key=initiator.public, valid_until_ms=valid_until_ms
            )
            last = None
            async for event in client.follow(Command.CREATE_KEY, intent, authorize(intent, initiator), KEY_S_MAX):
                last = event
            if last is None or last.state is not CeremonyState.COMPLETE:
                raise RuntimeError(f"no key was made: {last}")

        cost = protocols.generation(curve, 2, 3)(0)
        taken = await timed(max(10, int(KEYS * scale)), create, warm_up=3)
        return latency(f"dkg_{curve}_2of3_grpc", taken, rounds=cost.rounds, bytes_per_party=cost.bytes_sent)


async def transfers(customer: Customer, account: dict[str, str], scale: float) -> Row:
    """A transfer over REST until the chain has confirmed it: mostly the chain's own time between slots."""

    async def transfer() -> None:
        await customer.transfer(account, PLACEHOLDER, 1_000_000)

    return latency(
        "solana_transfer_rest_to_confirmed", await timed(max(3, int(TRANSFERS * scale)), transfer, warm_up=1)
    )


async def gateway_overhead(customer: Customer, wallet_id: str, scale: float) -> Row:
    """A cached read through the gateway, less what the same answer costs from a handler that does nothing else."""
    session, n = customer.session, max(100, int(READS * scale))
    answer = await customer.gateway.get(f"/v1/wallets/{wallet_id}")

    async def bare(_: web.Request) -> web.Response:
        return web.json_response(answer)

    app = web.Application()
    app.router.add_get("/", bare)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    bare_url = f"http://{HOST}:{runner.addresses[0][1]}/"

    async def get(url: str) -> None:
        async with session.get(url, headers=customer.headers) as response:
            await response.read()
            response.raise_for_status()

    served = await timed(n, lambda: get(f"{customer.base_url}/v1/wallets/{wallet_id}"))
    floor = statistics.median(await timed(n, lambda: get(bare_url)))
    await runner.cleanup()
    return latency(
        "gateway_overhead", [max(0.0, value - floor) for value in served], bare_p50_ms=round(1000 * floor, 3)
    )


async def measure(state: Path, scale: float) -> list[Row]:
    """All rows of one stack, which is started and stopped here."""
    stack = RunningStack(state, "--no-rate-limits").start()  # a measurement would be a measurement of them
    try:
        status = await stack.status()
        address = f"{HOST}:{status['processes'][COORDINATOR]['port']}"
        async with stack.customer() as customer:
            account = await customer.funded_account(CHAIN_ID)
            found = [await gateway_overhead(customer, account["wallet_id"], scale)]
            found += await signatures(customer, account["id"], "ed25519", scale)
            for engine in ENGINES:
                if engine.scheme == protocols.FROST["bip340"]:
                    taproot = (await customer.wallet(engine.chain))["accounts"][0]
                    found += await signatures(customer, taproot["id"], "bip340", scale)
            found += [await keys(stack, address, curve, scale) for curve in protocols.SCHEMES]
            found.append(await transfers(customer, account, scale))
        return found
    finally:
        stack.stop()


def rows(state: Path, scale: float = 1.0) -> list[Row]:
    """Measure a stack whose state is kept in ``state``, which should be on the disk that would hold it."""
    return asyncio.run(measure(state, scale))
