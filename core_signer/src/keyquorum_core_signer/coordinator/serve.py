"""A coordinator process: everything it is made of, in the order in which it starts and stops."""

import asyncio
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw
import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from keyquorum_core_signer.config import CoordinatorConfig, SecretFileError, read_secret
from keyquorum_core_signer.config.sections import split_address
from keyquorum_core_signer.coordinator.attestations import Attestor
from keyquorum_core_signer.coordinator.breaker import BreakerPolicy
from keyquorum_core_signer.coordinator.ceremony import CeremonySetting
from keyquorum_core_signer.coordinator.committee import Committee
from keyquorum_core_signer.coordinator.database import Database, DatabaseUnusable, OwnedElsewhere
from keyquorum_core_signer.coordinator.limits import PRUNE_EVERY_S, RPCS_MAX
from keyquorum_core_signer.coordinator.links import LinkTerms
from keyquorum_core_signer.coordinator.log import OperationLog
from keyquorum_core_signer.coordinator.metrics import Metrics, MetricsServer
from keyquorum_core_signer.coordinator.operation import OperationClock
from keyquorum_core_signer.coordinator.operations import Operations
from keyquorum_core_signer.coordinator.plans import Planner
from keyquorum_core_signer.coordinator.registry import KeyRegistry
from keyquorum_core_signer.coordinator.service import Edge, SignerEdge, WalletEdge
from keyquorum_core_signer.coordinator.transport import SERVER_OPTIONS, GatewayPins, dialer, server_credentials
from keyquorum_core_signer.intents.errors import RosterError
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.intents.tables import normalize_certificate
from keyquorum_core_signer.telemetry import Telemetry, start_telemetry
from keyquorum_protos.party.v1 import party_pb2
from keyquorum_protos.signer.v1 import signer_pb2, signer_pb2_grpc
from keyquorum_protos.wallet.v1 import wallet_pb2, wallet_pb2_grpc

_log = structlog.get_logger(__name__)

SERVICES: Final = (
    signer_pb2.DESCRIPTOR.services_by_name["SignerService"].full_name,
    wallet_pb2.DESCRIPTOR.services_by_name["WalletService"].full_name,
)
_STREAMS_END_S: Final = 0.5  # for answers that are written already


class CannotStart(Exception):
    """Says why a coordinator does not start, for the operator."""


@dataclass(frozen=True, slots=True)
class Coordinator:
    """A running coordinator; :meth:`stop` ends it in order."""

    config: CoordinatorConfig
    port: int
    committee: Committee
    operations: Operations
    database: Database
    log: OperationLog
    health: "health.aio.HealthServicer"
    server: grpc.aio.Server
    metrics_server: MetricsServer | None
    pruner: "asyncio.Task[None]"
    fenced: asyncio.Event

    async def stop(self) -> None:
        """Take nothing new, let operations end within the configured time, hang up, and close the log."""
        await self.health.enter_graceful_shutdown()
        self.pruner.cancel()
        await self.operations.drain(self.config.deadlines.shutdown_ms / 1000)
        await self.server.stop(_STREAMS_END_S)
        await self.committee.stop()
        await asyncio.to_thread(self.database.close)
        if self.metrics_server is not None:
            await asyncio.to_thread(self.metrics_server.stop)


async def start_coordinator(config: CoordinatorConfig, telemetry: Telemetry) -> Coordinator:
    """Start a coordinator in the running event loop; raises :class:`CannotStart`."""
    roster = _load_roster(config)
    certificate, private_key = _read_transport(config)
    clock = asyncio.get_running_loop().time
    fenced = asyncio.Event()
    database = _open_database(config.operations.path, fenced)
    try:
        log = OperationLog(database)
        registry = KeyRegistry(database)
        interrupted = await log.interrupt_unfinished(_now_ms())
        metrics = Metrics()
        committee = Committee(
            roster,
            LinkTerms(
                hello=party_pb2.LinkHello(
                    coordinator_id=config.coordinator_id, cell_id=roster.cell_id, roster_hash=roster.roster_hash
                ),
                node_ids=frozenset(node.node_id for node in roster.nodes),
                dial=dialer(certificate, private_key),
                dial_s=config.deadlines.dial_ms / 1000,
                clock=clock,
                now_ms=_now_ms,
                rng=random.random,
            ),
            BreakerPolicy(
                failures_max=config.breaker.failures,
                reset_s=config.breaker.reset_ms / 1000,
                reset_s_max=config.breaker.reset_ms_max / 1000,
            ),
            registry,
            metrics,
        )
        planner = Planner(
            registry,
            roster,
            sign_s=config.deadlines.sign_ms / 1000,
            create_key_s=config.deadlines.create_key_ms / 1000,
        )
        operations = Operations(
            CeremonySetting(committee, planner, metrics, telemetry, clock),
            log,
            roster,
            OperationClock(clock, _now_ms),
            operation_s=config.deadlines.operation_ms / 1000,
            running_max=config.limits.operations,
        )
        attestor = Attestor(committee, registry, roster, attest_s=config.deadlines.attest_ms / 1000)
        edge = Edge(GatewayPins(roster.gateways), config.limits.followers)
        health_servicer = health.aio.HealthServicer()
        server = grpc.aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=RPCS_MAX)
        signer_pb2_grpc.add_SignerServiceServicer_to_server(SignerEdge(edge, operations, committee, roster), server)
        wallet_pb2_grpc.add_WalletServiceServicer_to_server(WalletEdge(edge, registry, attestor), server)
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
        if config.reflection:
            reflection.enable_server_reflection([*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        port = _bind(server, config.listen, server_credentials(roster.gateways, certificate, private_key))
        metrics_server = _serve_metrics(config, metrics)
    except BaseException:
        await asyncio.to_thread(database.close)
        raise
    committee.start()
    await server.start()
    for name in ("", *SERVICES):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    pruner = asyncio.get_running_loop().create_task(_prune(log), name="prune")
    _log.info(
        "the coordinator serves", listen=config.listen, port=port, cell_id=roster.cell_id, interrupted=interrupted
    )
    return Coordinator(
        config,
        port,
        committee,
        operations,
        database,
        log,
        health_servicer,
        server,
        metrics_server,
        pruner,
        fenced,
    )


def run(config: CoordinatorConfig) -> int:
    """Serve until SIGTERM or SIGINT, or until another process takes over; the exit status of the process."""
    telemetry = start_telemetry(
        "keyquorum-coordinator",
        config.coordinator_id,
        otlp_endpoint=config.telemetry.otlp_endpoint,
        span_file=config.telemetry.span_file,
        log_level=config.log.level,
        log_format=config.log.format,
    )
    try:
        return asyncio.run(_serve(config, telemetry))
    finally:
        telemetry.shutdown()


async def _serve(config: CoordinatorConfig, telemetry: Telemetry) -> int:
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    try:
        coordinator = await start_coordinator(config, telemetry)
    except CannotStart as error:
        _log.error("the coordinator cannot start", reason=str(error))
        return 1
    waits = [asyncio.create_task(event.wait()) for event in (asked, coordinator.fenced)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    if coordinator.fenced.is_set():
        _log.error("another coordinator has taken over the operation log")
    await coordinator.stop()
    _log.info("the coordinator has stopped")
    return 1 if coordinator.fenced.is_set() else 0


async def _prune(log: OperationLog) -> None:
    while True:
        log.prune(_now_ms())
        await asyncio.sleep(PRUNE_EVERY_S)


def _load_roster(config: CoordinatorConfig) -> Roster:
    try:
        roster = Roster.load(config.roster)
        entry = roster.find_coordinator(config.coordinator_id)
        if entry is None:
            raise CannotStart(f"{config.roster}: has no coordinator {config.coordinator_id}")
        own = normalize_certificate(_read(config.transport.certificate).decode(), str(config.transport.certificate))
    except RosterError as error:
        raise CannotStart(error.detail) from None
    if own != entry.transport_certificate:
        raise CannotStart(f"{config.roster}: pins another transport certificate for {config.coordinator_id}")
    return roster


def _read_transport(config: CoordinatorConfig) -> tuple[bytes, bytes]:
    try:
        return _read(config.transport.certificate), read_secret(config.transport.key)
    except SecretFileError as error:
        raise CannotStart(str(error)) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotStart(f"{path}: {error.strerror}") from None


def _open_database(path: Path, fenced: asyncio.Event) -> Database:
    try:
        return Database.open(path, now_ms=_now_ms(), on_fenced=fenced.set)
    except (OwnedElsewhere, DatabaseUnusable) as error:
        raise CannotStart(str(error)) from None
    except (apsw.Error, OSError) as error:
        raise CannotStart(f"{path}: {error}") from None


def _bind(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials) -> int:
    try:
        return server.add_secure_port(listen, credentials)
    except RuntimeError:
        raise CannotStart(f"{listen}: cannot be listened on") from None


def _serve_metrics(config: CoordinatorConfig, metrics: Metrics) -> MetricsServer | None:
    if config.telemetry.metrics_listen is None:
        return None
    host, port = split_address(config.telemetry.metrics_listen)
    try:
        return MetricsServer(metrics, host, port)
    except OSError as error:
        raise CannotStart(f"{config.telemetry.metrics_listen}: {error.strerror}") from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
