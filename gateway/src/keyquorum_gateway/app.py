"""The composition root: what the gateway is made of, in the order in which it is put together."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import aiohttp
import grpc
import structlog
from aiohttp import web
from opentelemetry.sdk.trace import TracerProvider

from keyquorum_gateway import telemetry
from keyquorum_gateway.accounts import AccountBook
from keyquorum_gateway.authentication import ApiKeys, read_pepper
from keyquorum_gateway.chain_signer import OperationSigner
from keyquorum_gateway.chains import Chains
from keyquorum_gateway.config import GatewayConfig, read_hex_secret, read_secret
from keyquorum_gateway.flags.chain_flags import ChainFlags
from keyquorum_gateway.identity import SEED_BYTES, InitiatorKey
from keyquorum_gateway.intents import IntentComposer
from keyquorum_gateway.maintenance import maintenance
from keyquorum_gateway.middleware.auth import auth
from keyquorum_gateway.middleware.idempotency import idempotency
from keyquorum_gateway.middleware.limits import limits
from keyquorum_gateway.middleware.problems import problems
from keyquorum_gateway.middleware.ratelimit import rate_limit
from keyquorum_gateway.middleware.tracing import tracing
from keyquorum_gateway.operations.ceremony_runner import CeremonyRunner
from keyquorum_gateway.operations.engine import OperationEngine, Program
from keyquorum_gateway.operations.issuing import IntentIssuer
from keyquorum_gateway.operations.message_signing import MessageSigning
from keyquorum_gateway.operations.record import OperationKind
from keyquorum_gateway.operations.tracking import TransactionTracker
from keyquorum_gateway.operations.transfers import Transfers
from keyquorum_gateway.operations.wallet_creation import WalletCreation
from keyquorum_gateway.plugins import Installed, Plugins, installed_plugins
from keyquorum_gateway.rates import RateLimits
from keyquorum_gateway.readiness import Readiness
from keyquorum_gateway.roster import Roster
from keyquorum_gateway.routes import (
    account_events,
    accounts,
    chains,
    health,
    operations,
    parties,
    signatures,
    transactions,
    wallets,
)
from keyquorum_gateway.routes.docs import docs_endpoints
from keyquorum_gateway.routes.endpoint import ENDPOINTS
from keyquorum_gateway.services import METRICS, SERVICES, Services
from keyquorum_gateway.signer_client import SignerClient, open_channel
from keyquorum_gateway.state.database import Database
from keyquorum_gateway.state.idempotency import Idempotency
from keyquorum_gateway.state.operations import StoredOperations
from keyquorum_gateway.state.reservations import StoredReservations
from keyquorum_gateway.state.transactions import Transactions
from keyquorum_gateway.state.wallets import Wallets
from keyquorum_gateway.streams import EventStreams
from keyquorum_gateway.telemetry import Metrics, tracer_provider

ROUTES: Final = (
    *wallets.ENDPOINTS,
    *accounts.ENDPOINTS,
    *account_events.ENDPOINTS,
    *transactions.ENDPOINTS,
    *signatures.ENDPOINTS,
    *operations.ENDPOINTS,
    *chains.ENDPOINTS,
    *parties.ENDPOINTS,
    *health.ENDPOINTS,
)


def create_app(config: GatewayConfig, installed: Sequence[Installed] | None = None) -> web.Application:
    """The application. ``installed`` are the plugins to choose from, by default all of this environment."""
    metrics = Metrics()
    provider = tracer_provider(config.telemetry, config.identity.gateway_id)
    app = web.Application(
        client_max_size=config.server.body_bytes_max,
        middlewares=[
            tracing(provider.get_tracer(telemetry.TRACER_NAME), metrics),
            problems(),
            auth(),
            rate_limit(metrics),
            limits(),
            idempotency(),
        ],
    )
    routes = (*ROUTES, *docs_endpoints(ROUTES))
    for route in routes:
        app.router.add_route(route.method, route.path, route.handler)
    app[ENDPOINTS] = {route.handler: route for route in routes}
    app[METRICS] = metrics
    composition = Composition(config, metrics, provider, installed_plugins() if installed is None else installed)
    app.cleanup_ctx.append(composition.run)
    app.on_shutdown.append(_drain)
    return app


class Composition:
    """Opens what the process needs, from the bottom up, and closes it from the top down."""

    def __init__(
        self, config: GatewayConfig, metrics: Metrics, provider: TracerProvider, installed: Sequence[Installed]
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._provider = provider
        self._installed = installed

    async def run(self, app: web.Application) -> AsyncIterator[None]:
        """The application's one clean-up context."""
        config, metrics = self._config, self._metrics
        roster = Roster.load(config.roster.file)
        key = InitiatorKey.from_seed(read_hex_secret(config.identity.initiator_key_file, SEED_BYTES))
        pepper = read_pepper(config.auth.pepper_file)
        async with AsyncExitStack() as stack:
            stack.callback(self._provider.shutdown)
            database = Database(config.state.file)
            stack.push_async_callback(database.close)
            http = await stack.enter_async_context(aiohttp.ClientSession())
            client = SignerClient(_channel(config, roster), self._provider.get_tracer(telemetry.TRACER_NAME))
            stack.push_async_callback(client.close)
            flags = ChainFlags(config.flags, config.chains, metrics)
            stack.push_async_callback(flags.close)
            await flags.open()
            chain_set = Chains(config.chains, flags)
            stack.push_async_callback(chain_set.close)
            tracker = TransactionTracker(database, Transactions(database), chain_set, flags, metrics)
            stack.push_async_callback(tracker.close)
            engine = OperationEngine(database, metrics, self._provider.get_tracer(telemetry.TRACER_NAME))
            stack.push_async_callback(engine.close, config.server.shutdown_s)
            stored = Wallets(database)
            services = Services(
                config=config,
                roster=roster,
                key=key,
                database=database,
                api_keys=ApiKeys(database, pepper),
                rates=RateLimits(config.rate_limits),
                idempotency=Idempotency(database),
                plugins=Plugins(config.plugins.allow, self._installed),
                chains=chain_set,
                flags=flags,
                client=client,
                readiness=Readiness(client, roster, metrics),
                engine=engine,
                wallets=stored,
                accounts=AccountBook(database, stored, client, roster, metrics),
                transactions=Transactions(database),
                operations=StoredOperations(database),
                streams=EventStreams(metrics),
            )
            engine.register(_programs(services, tracker, metrics))
            await chain_set.open(services.plugins, OperationSigner(), StoredReservations(database), http)
            app[SERVICES] = services
            log: Any = structlog.get_logger("keyquorum_gateway")
            log.info("gateway.ready", operations_resumed=engine.recover(), transactions_followed=tracker.recover())
            await stack.enter_async_context(maintenance(services))
            yield


async def _drain(app: web.Application) -> None:
    """Let open requests and event streams go before the server waits for them."""
    app[SERVICES].streams.draining = True
    app[SERVICES].engine.drain()


def _channel(config: GatewayConfig, roster: Roster) -> grpc.aio.Channel:
    return open_channel(
        config.coordinator.address,
        config.coordinator.coordinator_id,
        roster.coordinator_certificate(config.coordinator.coordinator_id),
        config.identity.tls_certificate_file.read_bytes(),
        read_secret(config.identity.tls_key_file),
    )


def _programs(services: Services, tracker: TransactionTracker, metrics: Metrics) -> Mapping[OperationKind, Program]:
    """What operations do."""
    config, engine = services.config, services.engine
    composer = IntentComposer(services.roster)
    deadlines_s = {"create_key": config.coordinator.create_key_s, "sign": config.coordinator.sign_s}
    ceremonies = CeremonyRunner(engine, services.client, metrics, deadlines_s)
    issuer = IntentIssuer(composer, services.key, config.intents)
    return {
        OperationKind.WALLET: WalletCreation(
            engine=engine,
            ceremonies=ceremonies,
            issuer=issuer,
            roster=services.roster,
            wallets=services.wallets,
            accounts=services.accounts,
            chains=services.chains,
            metrics=metrics,
        ),
        OperationKind.TRANSACTION: Transfers(
            engine=engine,
            ceremonies=ceremonies,
            issuer=issuer,
            wallets=services.wallets,
            transactions=services.transactions,
            tracker=tracker,
            chains=services.chains,
            flags=services.flags,
            metrics=metrics,
        ),
        OperationKind.SIGNATURE: MessageSigning(
            engine=engine,
            ceremonies=ceremonies,
            issuer=issuer,
            wallets=services.wallets,
            plugins=services.plugins,
            flags=services.flags,
            metrics=metrics,
        ),
    }
