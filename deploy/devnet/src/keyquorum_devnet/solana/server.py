"""The HTTP and websocket server: ``POST /`` is JSON-RPC, ``GET /`` upgrades to a websocket, both on one port."""

import asyncio
import ipaddress
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from keyquorum_devnet.solana import histories, queries, transactions
from keyquorum_devnet.solana.faults import INTERNAL_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, RpcFault
from keyquorum_devnet.solana.ledger import Ledger
from keyquorum_devnet.solana.params import Params
from keyquorum_devnet.solana.subscriptions import serve_websocket

REQUEST_BYTES_MAX = 50 * 1024  # the validator's own limit
BATCH_MAX = 100  # calls in one request

Method = Callable[[Ledger, Params], Any]

METHODS: dict[str, Method] = {
    "getAccountInfo": queries.get_account_info,
    "getBalance": queries.get_balance,
    "getBlockHeight": queries.get_block_height,
    "getEpochInfo": queries.get_epoch_info,
    "getFeeForMessage": queries.get_fee_for_message,
    "getFirstAvailableBlock": histories.get_first_available_block,
    "getGenesisHash": queries.get_genesis_hash,
    "getHealth": queries.get_health,
    "getLatestBlockhash": queries.get_latest_blockhash,
    "getMinimumBalanceForRentExemption": queries.get_minimum_balance_for_rent_exemption,
    "getMultipleAccounts": queries.get_multiple_accounts,
    "getRecentPrioritizationFees": queries.get_recent_prioritization_fees,
    "getSignatureStatuses": queries.get_signature_statuses,
    "getSignaturesForAddress": histories.get_signatures_for_address,
    "getSlot": queries.get_slot,
    "getTokenAccountBalance": histories.get_token_account_balance,
    "getTokenAccountsByOwner": histories.get_token_accounts_by_owner,
    "getTokenSupply": histories.get_token_supply,
    "getTransaction": queries.get_transaction,
    "getVersion": queries.get_version,
    "isBlockhashValid": queries.is_blockhash_valid,
    "requestAirdrop": transactions.request_airdrop,
    "sendTransaction": transactions.send_transaction,
    "simulateTransaction": transactions.simulate_transaction,
    "devnet_advanceSlots": transactions.advance_slots,
    "devnet_createMint": transactions.create_mint,
    "devnet_dropTransactions": transactions.drop_transactions,
    "devnet_mintTokens": transactions.mint_tokens,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How the chain runs. ``slot_ms`` 0: slots advance only when ``devnet_advanceSlots`` says so."""

    slot_ms: int = 400
    confirmed_after: int = 1  # slots
    finalized_after: int = 31  # slots

    def __post_init__(self) -> None:
        if self.slot_ms < 0:
            raise ValueError("slot_ms is not negative")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a running server listens."""

    rpc_url: str
    ws_url: str


LEDGER = web.AppKey("ledger", Ledger)
_SOCKETS = web.AppKey("sockets", set[asyncio.Task[Any]])


def create_app(settings: Settings | None = None) -> web.Application:
    """The server as an aiohttp application, with a fresh chain of its own."""
    settings = settings or Settings()
    app = web.Application(client_max_size=REQUEST_BYTES_MAX)
    app[LEDGER] = Ledger(
        os.urandom(32),
        time.time,
        confirmed_after=settings.confirmed_after,
        finalized_after=settings.finalized_after,
    )
    app[_SOCKETS] = set()
    app.router.add_post("/", _post)
    app.router.add_get("/", _get)
    app.router.add_get("/health", _health)
    app.on_shutdown.append(_close_sockets)
    if settings.slot_ms:

        async def slots(app: web.Application) -> AsyncIterator[None]:
            timer = asyncio.create_task(_advance(app[LEDGER], settings.slot_ms / 1000))
            yield
            timer.cancel()
            await asyncio.gather(timer, return_exceptions=True)

        app.cleanup_ctx.append(slots)
    return app


@asynccontextmanager
async def running(host: str = "127.0.0.1", port: int = 0, settings: Settings | None = None) -> AsyncIterator[Endpoint]:
    """A server for as long as the context is open; port 0 takes a free one. Refuses to bind off loopback."""
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise ValueError("the development chain hands out coins and listens on loopback only")
    runner = web.AppRunner(create_app(settings), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0][1]
        authority = f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"
        yield Endpoint(f"http://{authority}/", f"ws://{authority}/")
    finally:
        await runner.cleanup()


async def serve(
    host: str = "127.0.0.1",
    port: int = 8899,
    settings: Settings | None = None,
    ready: Callable[[Endpoint], None] | None = None,
) -> None:
    """Serve until cancelled; ``ready`` is called once connections are accepted."""
    async with running(host, port, settings) as endpoint:
        if ready is not None:
            ready(endpoint)
        await asyncio.Event().wait()


def call(ledger: Ledger, request: Any) -> dict[str, Any]:
    """Answer one JSON-RPC call."""
    request_id = request.get("id") if isinstance(request, dict) else None
    try:
        result = _method(request)(ledger, Params(request.get("params")))
    except RpcFault as fault:
        return {"jsonrpc": "2.0", "id": request_id, "error": fault.to_json()}
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what Rust code under solders raises; not an Exception
            raise
        return {"jsonrpc": "2.0", "id": request_id, "error": RpcFault(INTERNAL_ERROR, "Internal error").to_json()}
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def _method(request: Any) -> Method:
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        raise RpcFault(INVALID_REQUEST, "Invalid request")
    method = METHODS.get(request["method"])
    if method is None:
        raise RpcFault(METHOD_NOT_FOUND, "Method not found")
    return method


async def _post(request: web.Request) -> web.Response:
    ledger = request.app[LEDGER]
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        fault = RpcFault(PARSE_ERROR, "Parse error")
        return web.json_response({"jsonrpc": "2.0", "id": None, "error": fault.to_json()})
    if isinstance(body, list) and 0 < len(body) <= BATCH_MAX:
        return web.json_response([call(ledger, item) for item in body])
    return web.json_response(call(ledger, body))


async def _get(request: web.Request) -> web.StreamResponse:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("handlers run in a task")
    request.app[_SOCKETS].add(task)
    try:
        return await serve_websocket(request, request.app[LEDGER])
    finally:
        request.app[_SOCKETS].discard(task)


async def _health(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _close_sockets(app: web.Application) -> None:
    sockets = app[_SOCKETS]
    for task in list(sockets):
        task.cancel()


async def _advance(ledger: Ledger, slot_s: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += slot_s
        await asyncio.sleep(max(0.0, due - loop.time()))
        ledger.advance()
