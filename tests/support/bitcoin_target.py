"""Bitcoin for the conformance suites: the codec, the adapter, and Bitcoin Core's consensus code behind its server."""

from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import web

from keyquorum_btc.adapter import BitcoinAdapter
from keyquorum_plugin_api.chain import Clock
from keyquorum_plugin_api.signer import Signer
from keyquorum_plugin_api.testing import LocalSigner, MemoryReservations, SystemClock, local_context
from support.bitcoin_codec_target import BitcoinCodecTarget
from support.bitcoin_node import BitcoinNode

COINS_PER_FUNDING = 8  # as change that waits is one coin only, an account with one coin makes one payment at a time
CONFIRMATIONS = 2
FINAL_CONFIRMATIONS = 4


class BitcoinChainTarget(BitcoinCodecTarget):
    """``client``: "esplora" or "bitcoind"."""

    fee_too_high: Mapping[str, str] = {"fee_rate": "200.001"}
    fee_too_low: Mapping[str, str] = {"fee_rate": "0.5"}

    def __init__(self, seed: bytes, bitcoin: BitcoinNode, http: aiohttp.ClientSession, client: str = "esplora") -> None:
        super().__init__(seed)
        self.bitcoin = bitcoin
        self.reservations = MemoryReservations(SystemClock())
        self.client = client
        self.config: dict[str, Any] = {
            f"{client}_url": bitcoin.url,
            "confirmations": CONFIRMATIONS,
            "final_confirmations": FINAL_CONFIRMATIONS,
            "poll_interval_s": 0.05,
            "rebroadcast_interval_s": 0.2,
        }
        self._http = http

    async def adapter(self, signer: Signer) -> BitcoinAdapter:
        """An adapter with the configuration of this target."""
        return await self.configured(signer, {})

    async def configured(
        self, signer: Signer, changes: Mapping[str, Any], clock: Clock | None = None
    ) -> BitcoinAdapter:
        """An adapter with some settings changed."""
        config = {**self.config, **changes}
        context = local_context(self.chain, signer, self._http, config, reservations=self.reservations, clock=clock)
        adapter = BitcoinAdapter(context)
        await adapter.start()
        return adapter

    async def unreachable(self, signer: Signer) -> BitcoinAdapter:
        """An adapter whose node is behind a port where nobody listens."""
        return await self.configured(signer, {f"{self.client}_url": "http://127.0.0.1:9"})

    async def forgetful(self, signer: Signer) -> BitcoinAdapter:
        """An adapter whose node hangs up on whoever has given it a transaction, and on everything after that."""
        proxy = _Forgetful(self.bitcoin.url, self._http)
        adapter = await self.configured(signer, {f"{self.client}_url": await proxy.start()})
        close = adapter.close

        async def close_both() -> None:
            await close()
            await proxy.stop()

        adapter.close = close_both  # type: ignore[method-assign]
        return adapter

    def local(self, *accounts: int) -> LocalSigner:
        """A signer for these accounts."""
        return LocalSigner(self.codec, [self.account(index) for index in accounts])

    async def fund(self, address: str, amount: int) -> None:
        """Confirmed coins from the faucet: one of an odd amount, so that a deposit shows as it was asked for, or several."""
        if amount < 100 * self.amount:
            self.bitcoin.fund(address, amount)
            return
        part = amount // COINS_PER_FUNDING
        self.bitcoin.fund(address, part, COINS_PER_FUNDING - 1, confirm=False)
        self.bitcoin.fund(address, amount - part * (COINS_PER_FUNDING - 1))

    async def advance(self) -> None:
        """One block."""
        self.bitcoin.mine()

    async def expire(self) -> None:
        """Nothing expires by time alone."""
        self.bitcoin.mine()

    async def reorganise(self) -> None:
        """Drop as many blocks as are not final."""
        self.bitcoin.reorg(FINAL_CONFIRMATIONS - 1)


class _Forgetful:
    """Passes requests on, until a transaction was given to the node."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http
        self._taken = False
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)

    async def start(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        sends = request.path == "/tx" or b"sendrawtransaction" in body
        if not self._taken:
            async with self._http.request(request.method, self._url + request.path, data=body) as answer:
                text = await answer.read()
            if not sends:
                return web.Response(body=text, status=answer.status, content_type=answer.content_type)
            self._taken = True
        assert request.transport is not None
        request.transport.abort()
        return web.Response()
