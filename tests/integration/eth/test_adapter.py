"""What the Ethereum adapter does beyond what every adapter does, on a real node."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from web3 import Web3

from keyquorum_eth.adapter import EthereumAdapter
from keyquorum_eth.codec import transaction_of
from keyquorum_plugin_api.chain import ChainEvent, TransactionState
from keyquorum_plugin_api.codec import EffectKind, TransferIntent
from keyquorum_plugin_api.effects import require_transfer
from keyquorum_plugin_api.errors import (
    Expired,
    FeeTooHigh,
    FeeTooLow,
    InsufficientFunds,
    InvalidAddress,
    TransactionRejected,
    Unsupported,
    UnsupportedAsset,
)
from keyquorum_plugin_api.testing import LocalSigner, refused
from keyquorum_plugin_api.testing.codec_conformance import transfer_intent
from keyquorum_plugin_api.testing.scenes import collected, confirmed
from support.anvil import CHAIN, ETHER, Anvil, AnvilCaller
from support.ethereum_hostile import GWEI, permit
from support.ethereum_target import FINAL_CONFIRMATIONS, EthereumChainTarget

SUPPLY = 10**24
PATIENCE_S = 20


@pytest.fixture
async def target(anvil: Anvil, http: aiohttp.ClientSession, request: pytest.FixtureRequest) -> EthereumChainTarget:
    target = EthereumChainTarget(request.node.name.encode(), anvil, http)
    await target.fund(target.account(0).account.address, 10 * ETHER)
    return target


@pytest.fixture
async def adapter(target: EthereumChainTarget) -> AsyncIterator[EthereumAdapter]:
    adapter = await target.adapter(LocalSigner(target.codec, [target.account(0)]))
    yield adapter
    await adapter.close()


@pytest.fixture
async def token(target: EthereumChainTarget, rpc: AnvilCaller) -> str:
    """A token of which account 0 has everything."""
    owner = target.account(0).account.address
    address, _ = await rpc.deploy("erc20", "Gold Coin", "GOLD", SUPPLY, owner)
    return address


def of_token(intent: TransferIntent, token: str, amount: int) -> TransferIntent:
    return replace(intent, asset=f"{CHAIN}/erc20:{token.lower()}", amount=amount)


async def test_token_transfer(target: EthereumChainTarget, adapter: EthereumAdapter, token: str) -> None:
    """Exactly the tokens arrive, and the fee alone is paid in coins."""
    intent = of_token(transfer_intent(target), token, 7 * 10**18)
    unsigned = await adapter.build_transfer(intent, {})
    fee = require_transfer(intent, unsigned.effects)
    assert [effect.asset for effect in unsigned.effects] == [intent.asset, f"{CHAIN}/slip44:60"]
    signed = await adapter.sign(unsigned)
    await adapter.submit(signed)
    assert (await confirmed(target, adapter, signed, unsigned)).state is TransactionState.CONFIRMED
    assets = [f"{CHAIN}/slip44:60", f"{CHAIN}/erc20:{token}"]
    coins, tokens = await adapter.get_balances(intent.source.address, assets)
    assert 10 * ETHER - fee <= coins.amount < 10 * ETHER
    assert (tokens.asset, tokens.amount, tokens.decimals, tokens.symbol) == (
        intent.asset, SUPPLY - intent.amount, 18, "GOLD",
    )  # fmt: skip
    (received,) = await adapter.get_balances(intent.destination, [intent.asset])
    assert received.amount == intent.amount


async def test_tokens_are_spent_once(target: EthereumChainTarget, adapter: EthereumAdapter, token: str) -> None:
    """More than is there, or than waiting transfers leave, is refused before anything is signed."""
    intent = transfer_intent(target)
    with refused(InsufficientFunds):
        await adapter.build_transfer(of_token(intent, token, SUPPLY + 1), {})
    first = await adapter.build_transfer(of_token(intent, token, SUPPLY - 1), {})
    with refused(InsufficientFunds):
        await adapter.build_transfer(of_token(intent, token, 2), {})
    await adapter.discard(first)
    assert await adapter.build_transfer(of_token(intent, token, 2), {})


async def test_configured_tokens_are_offered(target: EthereumChainTarget, token: str) -> None:
    """Beside the coins, with no asset named; a contract that is no token is not."""
    adapter = await target.configured(LocalSigner(target.codec, []), {"tokens": [token]})
    coins, tokens = await adapter.get_balances(target.account(0).account.address)
    assert (coins.amount, tokens.amount) == (10 * ETHER, SUPPLY)
    nobody = target.account(5).account.address
    for asset in (
        f"{CHAIN}/erc20:{nobody.lower()}",
        f"{CHAIN}/erc20:0x12",
        "eip155:1/slip44:60",
        f"{CHAIN}/erc721:{token}",
    ):
        with refused(UnsupportedAsset, what=asset):
            await adapter.get_balances(nobody, [asset])
    await adapter.close()


async def test_transfers_that_would_fail_are_refused(
    target: EthereumChainTarget, adapter: EthereumAdapter, token: str
) -> None:
    """A contract that takes no coins, and a token's own contract; nothing stays reserved."""
    intent = transfer_intent(target)
    with refused(TransactionRejected):
        await adapter.build_transfer(replace(intent, destination=token), {})
    with refused(InvalidAddress):
        await adapter.build_transfer(replace(of_token(intent, token, 1), destination=token), {})
    assert not await target.reservations.held(target.chain, intent.source.address)


async def test_a_reverted_transaction_failed(target: EthereumChainTarget, adapter: EthereumAdapter, token: str) -> None:
    """It is included, its fee is gone, and it is reversible until it is deep."""
    intent = transfer_intent(target)
    unsigned = await adapter.build_transfer(replace(intent, destination=token), {"gas_limit": "60000"})
    signed = await adapter.sign(unsigned)
    await adapter.submit(signed)
    status = await adapter.get_status(signed.txid, unsigned)
    assert (status.state, bool(status.detail)) == (TransactionState.INCLUDED, True)
    await target.advance()
    status = await adapter.get_status(signed.txid, unsigned)
    assert (status.state, status.reversible) == (TransactionState.FAILED, True)
    await target.rpc.mine(FINAL_CONFIRMATIONS)
    status = await adapter.get_status(signed.txid, unsigned)
    assert (status.state, status.reversible) == (TransactionState.FAILED, False)


async def test_options_are_bounded(target: EthereumChainTarget, adapter: EthereumAdapter) -> None:
    """They are taken exactly, or refused."""
    intent = transfer_intent(target)
    options = {"gas_limit": "30000", "max_fee_per_gas": str(50 * GWEI), "max_priority_fee_per_gas": str(2 * GWEI)}
    built, _ = transaction_of(await adapter.build_transfer(intent, options))
    assert (built.gas_limit, built.max_fee_per_gas, built.max_priority_fee_per_gas) == (30_000, 50 * GWEI, 2 * GWEI)
    for wrong, kind in (
        ({"max_fee_per_gas": str(301 * GWEI)}, FeeTooHigh),
        ({"max_priority_fee_per_gas": str(21 * GWEI)}, FeeTooHigh),
        ({"max_fee_per_gas": "1"}, FeeTooLow),
        ({"max_fee_per_gas": str(GWEI), "max_priority_fee_per_gas": str(2 * GWEI)}, FeeTooLow),
        ({"gas_limit": "20999"}, Unsupported),
        ({"gas_limit": "16777217"}, Unsupported),
        ({"gas_limit": "0x5208"}, Unsupported),
        ({"nonce": "0"}, Unsupported),
    ):
        with refused(kind, what=str(wrong)):
            await adapter.build_transfer(intent, wrong)


async def test_dropped_blocks_lead_back_and_forward(target: EthereumChainTarget, adapter: EthereumAdapter) -> None:
    """One stream sees a confirmed payment disappear, sends the same bytes again, and sees it settle."""
    intent = transfer_intent(target)
    unsigned = await adapter.build_transfer(intent, {})
    signed = await adapter.sign(unsigned)
    await adapter.submit(signed)
    await target.advance()
    seen = []

    async def follow() -> None:
        async for status in adapter.stream_status(signed.txid, unsigned):
            seen.append((status.state, status.reversible))  # noqa: PERF401 read while it grows

    async with asyncio.timeout(PATIENCE_S):
        follower = asyncio.create_task(follow())
        while not seen:
            await asyncio.sleep(0.01)
        assert seen == [(TransactionState.CONFIRMED, True)]
        await target.rpc("anvil_reorg", 2, [])
        while (TransactionState.INCLUDED, False) not in seen:
            await asyncio.sleep(0.01)
        while not follower.done():
            await target.advance()
            await asyncio.wait([follower], timeout=0.05)
    assert seen[-1] == (TransactionState.CONFIRMED, False)
    assert TransactionState.UNKNOWN in {state for state, _ in seen}
    assert await target.rpc.balance(intent.destination) == intent.amount


async def test_finality_by_the_nodes_own_word(target: EthereumChainTarget) -> None:
    """Without a configured depth, the node's finalized block decides."""
    adapter = await target.configured(
        LocalSigner(target.codec, [target.account(0)]), {"final_confirmations": None, "confirmations": 1}
    )
    unsigned = await adapter.build_transfer(transfer_intent(target), {})
    signed = await adapter.sign(unsigned)
    await adapter.submit(signed)
    assert (await adapter.get_status(signed.txid, unsigned)).reversible
    finalized = -1
    block = int((await adapter.get_status(signed.txid, unsigned)).block)
    while finalized < block:
        status = await adapter.get_status(signed.txid, unsigned)
        assert (status.state, status.reversible) == (TransactionState.CONFIRMED, True)
        await target.advance()
        finalized = int((await target.rpc("eth_getBlockByNumber", "finalized", False))["number"], 16)
    assert not (await adapter.get_status(signed.txid, unsigned)).reversible
    await adapter.close()


async def test_permit_is_accepted_by_a_contract(
    target: EthereumChainTarget, adapter: EthereumAdapter, rpc: AnvilCaller
) -> None:
    """A signed ERC-2612 document gives a spender the allowance that its effect names, on a deployed token."""
    owner, spender = (target.account(index).account for index in (0, 1))
    address, contract = await rpc.deploy("erc20-permit", SUPPLY)
    document = permit(owner.address, spender.address, value=12345, deadline=2**40)
    document["domain"].update(name="Uniswap V2", verifyingContract=address)
    unsigned = target.codec.build_typed_data(owner, target.chain, json.dumps(document))
    (effect,) = unsigned.effects
    assert (effect.kind, effect.asset, effect.amount, effect.source, effect.destination) == (
        EffectKind.PERMIT, f"{CHAIN}/erc20:{address.lower()}", 12345, owner.address, spender.address,
    )  # fmt: skip
    raw = (await adapter.sign(unsigned)).raw
    token = contract(address=Web3.to_checksum_address(address))
    arguments = [owner.address, spender.address, 12345, 2**40, raw[64], raw[:32], raw[32:64]]
    (sender,) = await rpc("eth_accounts")
    call = {"from": sender, "to": address, "data": token.encode_abi("permit", arguments)}
    await rpc("eth_sendTransaction", call)
    await rpc.mine()
    allowed = await rpc("eth_call", {"to": address, "data": token.encode_abi("allowance", arguments[:2])}, "latest")
    assert int(allowed, 16) == 12345


async def test_token_events(target: EthereumChainTarget, token: str) -> None:
    """Tokens that were configured are told with both sides; others, whatever they claim, are not."""
    other, _ = await target.rpc.deploy("erc20", "Phish", "GOLD", SUPPLY, target.account(0).account.address)
    adapter = await target.configured(LocalSigner(target.codec, [target.account(0)]), {"tokens": [token]})
    source, destination = (target.account(index).account.address for index in (0, 1))
    head = await target.rpc("eth_getBlockByNumber", "latest", False)
    cursor = f"{int(head['number'], 16)}:{head['hash']}:0"
    for contract in (other, token):
        await adapter.submit(
            await adapter.sign(await adapter.build_transfer(of_token(transfer_intent(target), contract, 5), {}))
        )
    asset = f"{CHAIN}/erc20:{token.lower()}"
    seen: list[ChainEvent] = []
    async with asyncio.timeout(PATIENCE_S):
        async for event in adapter.stream_events([source, destination], cursor):
            seen.append(event)
            if event.asset == asset and event.amount > 0:
                break
    assert [(event.address, event.amount) for event in seen if event.asset == asset] == [(source, -5), (destination, 5)]
    assert {event.asset for event in seen} == {asset, f"{CHAIN}/slip44:60"}
    await adapter.close()


async def test_a_dropped_cursor_is_refused(target: EthereumChainTarget, adapter: EthereumAdapter) -> None:
    """Nothing is told behind a block that is no longer there, as nobody knows what else is missing."""
    await target.advance()
    head = await target.rpc("eth_getBlockByNumber", "latest", False)
    cursor = f"{int(head['number'], 16)}:{head['hash']}:0"
    await target.rpc("anvil_reorg", 1, [])
    with refused(Expired):
        async for _ in adapter.stream_events([target.account(0).account.address], cursor):
            break


class FlakyFeed:
    """Hands a websocket on to the node, and can drop everybody."""

    def __init__(self, http: aiohttp.ClientSession, upstream: str) -> None:
        self._http = http
        self._upstream = upstream
        self.sockets: list[web.WebSocketResponse] = []
        self.served = 0

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        self.served += 1
        async with self._http.ws_connect(self._upstream) as upstream:
            forward = asyncio.create_task(self._forward(socket, upstream))
            async for message in upstream:
                if socket.closed:
                    break
                await socket.send_str(message.data)
            forward.cancel()
        return socket

    async def _forward(self, socket: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            await upstream.send_str(message.data)
        await upstream.close()

    async def drop(self) -> None:
        sockets, self.sockets = self.sockets, []
        for socket in sockets:
            await socket.close()


async def test_a_dropped_websocket_is_made_again(
    anvil: Anvil, target: EthereumChainTarget, http: aiohttp.ClientSession
) -> None:
    """With polling so slow that only notifications can be in time: before the break, and after it."""
    feed = FlakyFeed(http, anvil.ws_url)
    app = web.Application()
    app.router.add_get("/", feed.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    adapter = await target.configured(
        LocalSigner(target.codec, [target.account(0)]), {"ws_url": url.replace("http", "ws"), "poll_interval_s": 100}
    )
    unsigned = await adapter.build_transfer(transfer_intent(target), {})
    signed = await adapter.sign(unsigned)
    async with asyncio.timeout(PATIENCE_S):
        follower = asyncio.create_task(collected(adapter.stream_status(signed.txid, unsigned)))
        while not adapter._heads.connected:
            await asyncio.sleep(0.01)
        await adapter.submit(signed)
        await feed.drop()
        while feed.served < 2 or not adapter._heads.connected:
            await asyncio.sleep(0.01)
        while not follower.done():
            await target.advance()
            await asyncio.wait([follower], timeout=0.05)
    assert follower.result()[-1].state is TransactionState.CONFIRMED
    await adapter.close()
    await runner.cleanup()
