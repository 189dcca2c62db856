"""A party's process, from its configuration to its last breath.

The order matters: harden, then spawn workers (before any HSM login, because a forked login is undefined), then open the
key-encryption key and the store, and only then listen.
"""

import asyncio
import importlib.metadata
import signal
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from keyquorum_core_signer.codecs.answers import Description
from keyquorum_core_signer.codecs.errors import CodecError
from keyquorum_core_signer.codecs.pool import CodecPool
from keyquorum_core_signer.codecs.worker import WorkerLimits
from keyquorum_core_signer.config import PartyConfig, SecretFileError, read_identity, read_secret
from keyquorum_core_signer.config.sections import split_address
from keyquorum_core_signer.hsm.open import open_kek
from keyquorum_core_signer.hsm.ports import KekError
from keyquorum_core_signer.intents.errors import RosterError
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.party import jobs
from keyquorum_core_signer.party.admission import Admission
from keyquorum_core_signer.party.attestation import Attestor
from keyquorum_core_signer.party.custody import Custody
from keyquorum_core_signer.party.demand import Demand
from keyquorum_core_signer.party.keyring import Keyring
from keyquorum_core_signer.party.link import LinkLimits, LinkServices
from keyquorum_core_signer.party.pairing import PairingServices
from keyquorum_core_signer.party.pairs import Pairs
from keyquorum_core_signer.party.presignatures import Presignatures
from keyquorum_core_signer.party.presigning import PresigningServices, PresigningTerms
from keyquorum_core_signer.party.reservations import Reservations
from keyquorum_core_signer.party.service import PartyService
from keyquorum_core_signer.party.session import SessionServices
from keyquorum_core_signer.runtime.hardening import harden
from keyquorum_core_signer.runtime.worker import WorkerPool
from keyquorum_core_signer.runtime.worker_session import PoolError
from keyquorum_core_signer.store.ports import StoreError
from keyquorum_core_signer.store.sqlite import SqliteShareStore
from keyquorum_core_signer.telemetry import start_telemetry
from keyquorum_protos.party.v1 import party_pb2, party_pb2_grpc

JOB_FACTORY: Final = "keyquorum_core_signer.party.ceremonies:make_jobs"
SERVICE: Final = party_pb2.DESCRIPTOR.services_by_name["PartyService"].full_name
FRAME_BYTES_MAX: Final = 4 * 1024 * 1024  # an intent at its largest, or a relayed envelope, and what surrounds it
OUTGOING_FRAMES_MAX: Final = 4096  # a committee of 16 at full load; more means that nobody reads
EXIT_SETUP: Final = 78  # EX_CONFIG: the operator has to act

_log = structlog.get_logger("party")


def run(config: PartyConfig) -> int:
    """Serve until SIGTERM or SIGINT; the process's exit code."""
    harden(dumpable=config.hardening.allow_memory_inspection)
    try:
        return asyncio.run(_serve(config))
    except (KekError, StoreError, RosterError, SecretFileError, CodecError, PoolError, OSError) as error:
        _log.error("party cannot start", error=type(error).__name__, reason=str(error))
        return EXIT_SETUP


async def _serve(config: PartyConfig) -> int:
    telemetry = start_telemetry(
        "keyquorum-party",
        config.node_id,
        otlp_endpoint=config.telemetry.otlp_endpoint,
        span_file=config.telemetry.span_file,
        log_level=config.log.level,
        log_format=config.log.format,
    )
    roster = Roster.load(config.roster)
    identity = read_identity(config.identity_key)
    node = roster.find_node(config.node_id)
    if node is None or node.identity_key != identity.public:
        raise RosterError(f"the roster does not pin this party's identity key as {config.node_id}")
    setup = jobs.encode(jobs.WorkerSetup(config.node_id, identity.expose_seed(), roster.dump()))
    async with AsyncExitStack() as stack:
        stack.callback(telemetry.shutdown)
        pool = await stack.enter_async_context(
            WorkerPool(
                JOB_FACTORY,
                setup,
                workers=config.workers.count,
                dumpable=config.hardening.allow_memory_inspection,
                on_lost=lambda pid, reason: _log.error("worker lost", pid=pid, reason=reason),
            )
        )
        _report_hardening(config, pool)
        codecs = CodecPool(config.codecs, WorkerLimits(answer_s=config.deadlines.codec_ms / 1000))
        stack.push_async_callback(codecs.close)
        _report_confinement(await codecs.start())
        kek = await open_kek(config.kek, read_secret)
        stack.push_async_callback(kek.close)
        store = await SqliteShareStore.open(config.store.path, config.node_id)
        stack.push_async_callback(store.close)
        keyring = Keyring(store, roster)
        custody = Custody(store, kek)
        pairs = Pairs(config.node_id, roster, store, kek, now_ms)
        presignatures = Presignatures(store, now_ms)
        await pairs.open()
        await presignatures.open()
        pairs.listen(presignatures.reload)
        stock = config.presignatures
        demand = Demand(1000 * stock.idle_s, now_ms)
        sessions = SessionServices(
            node_id=config.node_id,
            roster=roster,
            admission=Admission(config.node_id, roster, store, keyring=keyring, codecs=codecs, now_ms=now_ms),
            custody=custody,
            store=store,
            pool=pool,
            reservations=Reservations(),
            pairs=pairs,
            presignatures=presignatures,
            demand=demand,
            telemetry=telemetry,
            now_ms=now_ms,
        )
        links = LinkServices(
            session=sessions,
            identity=identity,
            codecs=codecs,
            attestor=Attestor(config.node_id, identity, keyring, codecs),
            pairing=PairingServices(config.node_id, roster, pairs, pool, now_ms),
            presigning=PresigningServices(
                node_id=config.node_id,
                roster=roster,
                terms=PresigningTerms(stock.depth, stock.pools_per_peer, stock.cpu_share),
                pairs=pairs,
                presignatures=presignatures,
                demand=demand,
                keyring=keyring,
                custody=custody,
                pool=pool,
                filling=asyncio.Lock(),
            ),
            limits=LinkLimits(
                sessions=config.limits.sessions,
                nonces=config.limits.nonces,
                outgoing_frames=OUTGOING_FRAMES_MAX,
                session_s_max=config.deadlines.session_ms / 1000,
            ),
            version=importlib.metadata.version("keyquorum-core-signer"),
        )
        if config.telemetry.metrics_listen is not None:
            host, port = split_address(config.telemetry.metrics_listen)
            server, thread = start_http_server(port, host)
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        await _listen(config, roster, PartyService(links))
    return 0


async def _listen(config: PartyConfig, roster: Roster, service: PartyService) -> None:
    """Serve mutual TLS to the roster's coordinators until a signal comes, then drain."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", FRAME_BYTES_MAX),
            ("grpc.max_send_message_length", FRAME_BYTES_MAX),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.so_reuseport", 0),
        ]
    )
    party_pb2_grpc.add_PartyServiceServicer_to_server(service, server)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    if config.reflection:
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    credentials = grpc.ssl_server_credentials(
        [(read_secret(config.transport.key), config.transport.certificate.read_bytes())],
        root_certificates="".join(entry.transport_certificate for entry in roster.coordinators).encode(),
        require_client_auth=True,
    )
    if server.add_secure_port(config.listen, credentials) == 0:
        raise OSError(f"{config.listen} cannot be listened on")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start()
    for name in ("", SERVICE):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    _log.info("party serves", listen=config.listen, roster=roster.roster_hash.hex())
    await stop.wait()
    _log.info("party stops")
    await health_servicer.enter_graceful_shutdown()
    await service.close()
    await server.stop(config.deadlines.shutdown_ms / 1000)


def now_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def _report_confinement(codecs: Iterable[Description]) -> None:
    """Say which walls each codec has; one that is open lets the codec read what this party's own user can."""
    for codec in codecs:
        missing = sorted(wall for wall, state in codec.confinement.items() if state in {"open", "kept"})
        log = _log.warning if missing else _log.info
        log("codec loaded", codec=codec.ref.name, version=codec.ref.version, walls_missing=", ".join(missing) or "none")


def _report_hardening(config: PartyConfig, pool: WorkerPool) -> None:
    for hardening in pool.hardening:
        for missing in hardening.missing():
            _log.warning("memory is less protected than it could be", missing=missing)
    if config.hardening.allow_memory_inspection:
        _log.warning("memory inspection is allowed: use this in tests alone")
