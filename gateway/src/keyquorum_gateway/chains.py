"""The configured chains: an adapter each, brought up on its own, so that one dead node never keeps the others down."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import aiohttp
import structlog

from keyquorum_gateway.bounds import CHAIN_RETRY_S
from keyquorum_gateway.config import ChainConfig
from keyquorum_gateway.flags.chain_flags import ChainFlags
from keyquorum_gateway.flags.rollout import At
from keyquorum_gateway.plugins import LoadedCodec, NoPlugin, Plugins
from keyquorum_gateway.problems import Problem
from keyquorum_plugin_api.chain import ChainAdapter, ChainContext, ChainInfo, Reservations
from keyquorum_plugin_api.errors import ChainUnavailable
from keyquorum_plugin_api.signer import Signer


class SystemClock:
    """Real time, for adapters."""

    def now(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class ChainState(StrEnum):
    """Whether a chain can be used."""

    READY = "ready"
    STARTING = "starting"
    FAILED = "failed"
    DISABLED = "disabled"


@dataclass(slots=True)
class Chain:
    """One configured chain and what became of it."""

    chain: str
    config: ChainConfig
    state: ChainState
    detail: str = ""
    adapter: ChainAdapter | None = None
    info: ChainInfo | None = None
    codec: LoadedCodec | None = None
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_ready(self, patience_s: float) -> "ReadyChain":
        """The chain's parts, waiting for its node where that is not there yet."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self.is_ready.wait()
        return self.ready()

    def ready(self) -> "ReadyChain":
        """The chain's parts, or a 503 problem that says why they are not there."""
        if self.state is not ChainState.READY or not (self.adapter and self.info and self.codec):
            raise Problem("chain-unavailable", f"{self.chain} is {self.state.value}: {self.detail or 'not there yet'}")
        return ReadyChain(self.chain, self.config, self.adapter, self.info, self.codec)

    def described(self) -> "DescribedChain":
        """What is known without the node: which codec, which assets. A 503 problem where the adapter did not load."""
        if not (self.info and self.codec):
            raise Problem("chain-unavailable", f"{self.chain} is {self.state.value}: {self.detail or 'not there yet'}")
        return DescribedChain(self.chain, self.config, self.info, self.codec)


@dataclass(frozen=True, slots=True)
class DescribedChain:
    """A chain whose adapter is loaded, whether or not its node answers."""

    chain: str
    config: ChainConfig
    info: ChainInfo
    codec: LoadedCodec


@dataclass(frozen=True, slots=True)
class ReadyChain:
    """A chain that can be used."""

    chain: str
    config: ChainConfig
    adapter: ChainAdapter
    info: ChainInfo
    codec: LoadedCodec


class Chains:
    """All configured chains, by CAIP-2 id and by alias."""

    def __init__(self, config: Mapping[str, ChainConfig], flags: ChainFlags) -> None:
        self._flags = flags
        self._chains: Final = {
            chain: Chain(chain, each, ChainState.STARTING if each.enabled else ChainState.DISABLED)
            for chain, each in config.items()
        }
        self._aliases: dict[str, str] = {}
        self._starting: list[asyncio.Task[None]] = []
        self._log: Any = structlog.get_logger("keyquorum_gateway.chains")

    def __iter__(self) -> Any:
        return iter(self._chains.values())

    def find(self, name: str, tenant_id: str, *, wallet_id: str = "", at: At = "build", status: int = 422) -> Chain:
        """The chain of a CAIP-2 id or alias; a problem where it is unknown (``status``) or its flag is against it (403)."""
        chain = self.configured(name, status=status)
        self._flags.require(chain.chain, tenant_id=tenant_id, wallet_id=wallet_id, at=at)
        return chain

    def configured(self, name: str, *, status: int = 422) -> Chain:
        """The chain of a CAIP-2 id or alias, whomever it is open for; a problem where it is unknown (``status``)."""
        chain = self._chains.get(self._aliases.get(name, name))
        if chain is None:
            raise Problem("unknown-chain", f"no chain {name[:64]!r} is configured here", status=status)
        return chain

    def visible(self, tenant_id: str) -> tuple[Chain, ...]:
        """The chains that a tenant may know of: those that it may use, and those that have a flag, which may open them."""
        return tuple(chain for chain in self._chains.values() if self._is_visible(chain, tenant_id))

    def shown(self, name: str, tenant_id: str, *, status: int = 422) -> Chain:
        """One of :meth:`visible`, or the problem that :meth:`find` would raise."""
        chain = self.configured(name, status=status)
        if not self._is_visible(chain, tenant_id):
            raise Problem("chain-not-enabled", f"{chain.chain} is not enabled for the tenant")
        return chain

    async def open(
        self, plugins: Plugins, signer: Signer, reservations: Reservations, http: aiohttp.ClientSession
    ) -> None:
        """Make the adapters and begin to start them; returns once each was tried once."""
        attempts = []
        for chain in self._chains.values():
            if chain.state is ChainState.DISABLED:
                continue
            context = ChainContext(
                chain=chain.chain,
                signer=signer,
                http=http,
                clock=SystemClock(),
                log=structlog.get_logger("keyquorum_gateway.adapter").bind(chain=chain.chain),
                reservations=reservations,
                config=chain.config.settings,
            )
            tried = asyncio.Event()
            self._starting.append(asyncio.create_task(self._bring_up(chain, plugins, context, tried)))
            attempts.append(tried.wait())
        await asyncio.gather(*attempts)

    def _is_visible(self, chain: Chain, tenant_id: str) -> bool:
        if chain.state is ChainState.DISABLED:
            return False
        only = chain.config.tenants
        return not only or tenant_id in only or self._flags.rollout(chain.chain) is not None

    async def close(self) -> None:
        """Close every adapter; one that fails to close is logged."""
        for task in self._starting:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for chain in self._chains.values():
            await self._close(chain)

    async def _bring_up(self, chain: Chain, plugins: Plugins, context: ChainContext, tried: asyncio.Event) -> None:
        """Make and start the chain's adapter; again, with a new one, while its node is not there."""
        pause = CHAIN_RETRY_S[0]
        while chain.state is ChainState.STARTING:
            try:
                adapter = self._make(chain, plugins, context)
                await adapter.start()
            except ChainUnavailable as error:
                chain.detail = error.detail
                tried.set()
                await self._close(chain)
                await asyncio.sleep(pause)
                pause = min(pause * 2, CHAIN_RETRY_S[1])
            except Exception as error:  # noqa: BLE001 - one chain's adapter must not keep the others down
                chain.state, chain.detail = ChainState.FAILED, f"{type(error).__name__}: {error}"[:500]
                self._log.warning("chain.failed", chain=chain.chain, reason=chain.detail)
            else:
                chain.state, chain.detail = ChainState.READY, ""
                chain.is_ready.set()
                self._log.info("chain.ready", chain=chain.chain)
        tried.set()

    def _make(self, chain: Chain, plugins: Plugins, context: ChainContext) -> ChainAdapter:
        adapter = plugins.adapter(context)
        info = adapter.info()
        if info.chain != chain.chain:
            raise NoPlugin(f"the adapter serves {info.chain}")
        codec = plugins.codec(adapter.codec.name)
        if type(codec.codec) is not adapter.codec:
            raise NoPlugin(f"the adapter uses another codec than the loaded {codec.ref.name}")
        for alias in info.aliases:
            if alias in self._chains or self._aliases.get(alias, chain.chain) != chain.chain:
                raise NoPlugin(f"the alias {alias} is taken")
        self._aliases.update(dict.fromkeys(info.aliases, chain.chain))
        chain.adapter, chain.info, chain.codec = adapter, info, codec
        return adapter

    async def _close(self, chain: Chain) -> None:
        if chain.adapter is None:
            return
        try:
            await chain.adapter.close()
        except Exception as error:  # noqa: BLE001 - the others are closed all the same
            self._log.warning("chain.close_failed", chain=chain.chain, reason=type(error).__name__)
        chain.adapter = None
