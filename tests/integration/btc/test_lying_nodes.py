"""A node that lies about coins can make a transaction invalid, and nothing worse: what is signed commits to every amount and
script. Each lie is told by a proxy before the real node, which then judges what was signed."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from keyquorum_btc.adapter import BitcoinAdapter
from keyquorum_plugin_api.codec import TransferIntent
from keyquorum_plugin_api.effects import require_transfer
from keyquorum_plugin_api.errors import (
    ChainError,
    ChainUnavailable,
    FeeTooHigh,
    InsufficientFunds,
    NonceConflict,
    SignatureInvalid,
)
from support.bitcoin_node import BitcoinNode
from support.bitcoin_target import BitcoinChainTarget

pytestmark = pytest.mark.asyncio(loop_scope="module")

Lie = Callable[[str, Any], Any]
HONEST = 100_000


@pytest.fixture
def client() -> str:
    return "esplora"


@asynccontextmanager
async def lied_to(target: BitcoinChainTarget, http: aiohttp.ClientSession, lie: Lie) -> AsyncIterator[BitcoinAdapter]:
    """An adapter behind a proxy that changes JSON answers."""

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        async with http.request(request.method, target.bitcoin.url + request.path, data=body) as answer:
            data = await answer.read()
            if answer.status == 200 and answer.content_type == "application/json":
                data = json.dumps(lie(request.path, json.loads(data))).encode()
            return web.Response(body=data, status=answer.status, content_type=answer.content_type)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    adapter = await target.configured(target.local(0), {"esplora_url": f"http://127.0.0.1:{runner.addresses[0][1]}"})
    try:
        yield adapter
    finally:
        await adapter.close()
        await runner.cleanup()


@pytest.fixture
def intent(target: BitcoinChainTarget, bitcoin: BitcoinNode) -> TransferIntent:
    source, destination = (target.account(index).account for index in (0, 1))
    bitcoin.fund(source.address, HONEST)
    return TransferIntent(target.chain, source, destination.address, target.asset, 50_000)


def amounts(change: Callable[[int], int]) -> Lie:
    """Other amounts of coins."""

    def lie(path: str, answer: Any) -> Any:
        if path.endswith("/utxo"):
            return [{**coin, "value": change(coin["value"])} for coin in answer]
        return answer

    return lie


@pytest.mark.parametrize("change", [lambda value: value + 1, lambda value: value - 1, lambda value: 50 * value])
async def test_wrong_amounts_make_signatures_worthless(
    target: BitcoinChainTarget,
    http: aiohttp.ClientSession,
    bitcoin: BitcoinNode,
    intent: TransferIntent,
    change: Callable[[int], int],
) -> None:
    """Neither more nor less than was shown to the parties can leave, in fees or otherwise."""
    async with lied_to(target, http, amounts(change)) as adapter:
        unsigned = await adapter.build_transfer(intent, {"fee_rate": "2"})
        assert require_transfer(intent, unsigned.effects) < 400
        with pytest.raises(ChainError) as caught:
            await adapter.submit(await adapter.sign(unsigned))
        assert type(caught.value) in (SignatureInvalid, NonceConflict) or "in-belowout" in caught.value.detail
    honest = await target.adapter(target.local(0))
    try:
        bitcoin.mine()
        (balance,) = await honest.get_balances(intent.source.address)
        assert balance.amount == HONEST
    finally:
        await honest.close()


async def test_coins_of_other_scripts_cannot_be_spent(
    target: BitcoinChainTarget, http: aiohttp.ClientSession, bitcoin: BitcoinNode, intent: TransferIntent
) -> None:
    """A listing with somebody else's coin in it."""
    (foreign,) = bitcoin.fund(target.account(2).account.address, 70_000)

    def lie(path: str, answer: Any) -> Any:
        if path.endswith("/utxo"):
            return [{**coin, "txid": foreign.txid, "vout": foreign.vout, "value": 70_000} for coin in answer]
        return answer

    async with lied_to(target, http, lie) as adapter:
        unsigned = await adapter.build_transfer(intent, {})
        with pytest.raises(SignatureInvalid):
            await adapter.submit(await adapter.sign(unsigned))


async def test_coins_that_are_not_there(
    target: BitcoinChainTarget, http: aiohttp.ClientSession, intent: TransferIntent
) -> None:
    """A node that invents coins costs a ceremony, and a node that hides them says that there are no funds."""

    def invented(path: str, answer: Any) -> Any:
        return [{**coin, "txid": "ab" * 32} for coin in answer] if path.endswith("/utxo") else answer

    async with lied_to(target, http, invented) as adapter:
        unsigned = await adapter.build_transfer(intent, {})
        with pytest.raises(NonceConflict):
            await adapter.submit(await adapter.sign(unsigned))

    async with lied_to(target, http, lambda path, answer: [] if path.endswith("/utxo") else answer) as adapter:
        with pytest.raises(InsufficientFunds):
            await adapter.build_transfer(intent, {})


async def test_estimates_cannot_exceed_the_ceiling(
    target: BitcoinChainTarget, http: aiohttp.ClientSession, intent: TransferIntent
) -> None:
    """Up to the ceiling a node is believed, and not a satoshi further."""

    def lie(path: str, answer: Any) -> Any:
        return {"1": 10_000} if path == "/fee-estimates" else answer

    async with lied_to(target, http, lie) as adapter:
        with pytest.raises(FeeTooHigh):
            await adapter.build_transfer(intent, {})
        assert not await target.reservations.held(target.chain, intent.source.address)


async def test_odd_listings_stop_a_build_and_reserve_nothing(
    target: BitcoinChainTarget, http: aiohttp.ClientSession, intent: TransferIntent
) -> None:
    """The same coin twice, and one that cannot exist."""
    for lie in (
        lambda path, answer: answer * 2 if path.endswith("/utxo") else answer,
        lambda path, answer: [{**each, "txid": "0" * 64} for each in answer] if path.endswith("/utxo") else answer,
    ):
        async with lied_to(target, http, lie) as adapter:
            with pytest.raises(ChainUnavailable):
                await adapter.build_transfer(intent, {})
    assert not await target.reservations.held(target.chain, intent.source.address)
