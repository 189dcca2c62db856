"""``keyquorum-gateway --config FILE``: serves REST until it is told to stop."""

import argparse
import asyncio
import signal
import ssl
import sys
from pathlib import Path
from typing import Any, Final

import structlog
import uvloop
from aiohttp import web

from keyquorum_gateway.app import create_app
from keyquorum_gateway.authentication import read_pepper
from keyquorum_gateway.config import ConfigError, GatewayConfig, ServerConfig, load_config, read_hex_secret, read_secret
from keyquorum_gateway.flags.document import FlagsInvalid, parse, read
from keyquorum_gateway.identity import SEED_BYTES
from keyquorum_gateway.logging import configure_logging
from keyquorum_gateway.roster import Roster, RosterError
from keyquorum_gateway.state.database import StateLocked

KEEPALIVE_S: Final = 75.0
_BACKLOG: Final = 1024


def main() -> None:
    """The command's entry point; exit status 2 for a configuration that cannot be used."""
    parser = argparse.ArgumentParser(prog="keyquorum-gateway", description="Keyquorum's REST gateway.")
    parser.add_argument("--config", type=Path, required=True, help="the gateway's TOML file")
    parser.add_argument(
        "--check", action="store_true", help="check the configuration and the files it names, then stop"
    )
    arguments = parser.parse_args()
    try:
        config = load_config(arguments.config)
        check(config)
        if arguments.check:
            _check_flags(config.flags.file)
    except (ConfigError, RosterError) as error:
        sys.exit(_refuse(str(error)))
    if arguments.check:
        print(f"{arguments.config}: can be used")  # noqa: T201 - the answer of a command
        return
    configure_logging(config.log)
    try:
        uvloop.run(serve(config))
    except StateLocked as error:
        sys.exit(_refuse(str(error)))


def check(config: GatewayConfig) -> None:
    """Open every file that the configuration names; ``ConfigError`` or ``RosterError`` for the first that is wrong."""
    roster = Roster.load(config.roster.file)
    roster.coordinator_certificate(config.coordinator.coordinator_id)
    read_hex_secret(config.identity.initiator_key_file, SEED_BYTES)
    read_pepper(config.auth.pepper_file)
    read_secret(config.identity.tls_key_file)
    if not config.identity.tls_certificate_file.is_file():
        raise ConfigError(f"{config.identity.tls_certificate_file}: no such file")
    threshold = config.wallets.threshold
    if threshold is not None and threshold > len(roster.nodes):
        raise ConfigError(f"wallets.threshold: {threshold}, but the roster has {len(roster.nodes)} nodes")
    _tls(config.server)


async def serve(config: GatewayConfig) -> None:
    """Serve until SIGTERM or SIGINT, then let what runs end."""
    log: Any = structlog.get_logger("keyquorum_gateway")
    runner = web.AppRunner(
        create_app(config),
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=config.server.shutdown_s,
        handle_signals=False,
    )
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        await runner.setup()
        site = web.TCPSite(
            runner, config.server.host, config.server.port, ssl_context=_tls(config.server), backlog=_BACKLOG
        )
        await site.start()
        log.info("gateway.listening", listen=[f"{host}:{port}" for host, port, *_ in runner.addresses])
        await stopping.wait()
        log.info("gateway.stopping")
    finally:
        await runner.cleanup()


def _check_flags(path: Path | None) -> None:
    """For ``--check`` alone: a gateway that is started serves, and holds every chain until the file can be read."""
    if path is None:
        return
    try:
        parse(read(path))
    except FlagsInvalid as problem:
        raise ConfigError(f"{path}: {problem}") from None


def _tls(server: ServerConfig) -> ssl.SSLContext | None:
    if server.tls_certificate_file is None or server.tls_key_file is None:
        return None
    read_secret(server.tls_key_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(server.tls_certificate_file, server.tls_key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{server.tls_certificate_file}: {error}") from None
    return context


def _refuse(text: str) -> int:
    print(f"keyquorum-gateway: {text}", file=sys.stderr)  # noqa: T201 - before logging exists
    return 2


if __name__ == "__main__":
    main()
