"""A gateway under test, with all its files, in front of a coordinator double: everything real but the parties."""

import asyncio
import base64
import json
import secrets
import uuid
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from aiohttp import web
from toychain.ledger import LEDGERS, Ledger

from keyquorum_core_signer.intents.effects import CodecRef
from keyquorum_core_signer.intents.roster import Coordinator, Gateway, Node, Roster, Tenant
from keyquorum_core_signer.wire.certificates import Credentials, identity_certificate, transport_credentials
from keyquorum_core_signer.wire.identity import IdentityKey
from keyquorum_gateway.app import create_app
from keyquorum_gateway.authentication import read_pepper
from keyquorum_gateway.config import load_config
from keyquorum_gateway.plugins import Installed, Plugins, installed_plugins
from keyquorum_gateway.services import SERVICES, Services
from keyquorum_gateway.state import api_keys
from keyquorum_gateway.state.api_keys import Scope
from keyquorum_gateway.state.database import connect
from keyquorum_gateway.state.schema import migrate
from keyquorum_protos.signer.v1 import signer_pb2_grpc
from keyquorum_protos.wallet.v1 import wallet_pb2_grpc
from support.coordinator_double import CoordinatorDouble, new_key, public_bytes

CHAIN = "toy:main"
ASSET = "toy:main/slip44:1"
RECIPIENT = "toy1" + "ab" * 20
EVERY_SCOPE = tuple(Scope)


@dataclass
class Reply:
    """One response."""

    status: int
    headers: Mapping[str, str]
    body: Any
    raw: bytes = field(repr=False, default=b"")


@dataclass
class Client:
    """A REST client with one API key."""

    session: aiohttp.ClientSession
    url: str
    key: str

    async def get(self, path: str, **headers: str) -> Reply:
        """GET."""
        return await self.request("GET", path, headers=headers)

    async def post(self, path: str, body: Any, *, key: str | None = None, **headers: str) -> Reply:
        """POST JSON under an idempotency key, a new one unless it is given; an empty one is not sent."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key != "":
            named["Idempotency-Key"] = key or str(uuid.uuid4())
        return await self.request("POST", path, json=body, headers=named)

    async def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **rest: Any) -> Reply:
        """Anything."""
        sent = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        async with self.session.request(
            method, self.url + path, headers={**sent, **(headers or {})}, **rest
        ) as response:
            raw = await response.read()
            is_json = response.content_type.endswith("json")
            return Reply(response.status, response.headers.copy(), json.loads(raw) if is_json else None, raw)

    async def wallet(self, **body: Any) -> Any:
        """A gateway-initiated wallet on the toy chain."""
        reply = await self.post("/v1/wallets", {"user_id": "alice", "chains": [CHAIN], **body})
        assert reply.status == 201, reply.body
        return reply.body


@dataclass
class Running:
    """A gateway that serves."""

    app: web.Application
    url: str

    @property
    def services(self) -> Services:
        """Its inside."""
        return self.app[SERVICES]


@dataclass
class GatewayCell:
    """The files of one gateway, its coordinator double, and the toy ledger."""

    folder: Path
    roster: Roster
    identities: dict[str, IdentityKey]
    root: Any  # the tenant's client key, Ed25519PrivateKey
    coordinator: Credentials
    installed: tuple[Installed, ...]
    double: CoordinatorDouble
    ledger: Ledger
    port: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    server: grpc.aio.Server | None = None

    @property
    def config_file(self) -> Path:
        """The gateway's configuration."""
        return self.folder / "gateway.toml"

    def api_key(self, tenant: str = "default", scopes: tuple[Scope, ...] = EVERY_SCOPE) -> str:
        """A new key, as ``keyquorum keys create`` makes it."""
        key = api_keys.new_api_key()
        connection = connect(self.folder / "gateway.db")
        migrate(connection)
        with connection:
            pepper = read_pepper(self.folder / "pepper")
            digest = api_keys.digest(pepper, key)
            api_keys.add(connection, tenant_id=tenant, name="", scopes=scopes, key_digest=digest)
        connection.close()
        return key

    async def start_coordinator(self) -> None:
        """Serve the double, on the port it had before if it had one."""
        self.server = grpc.aio.server()
        signer_pb2_grpc.add_SignerServiceServicer_to_server(self.double, self.server)
        wallet_pb2_grpc.add_WalletServiceServicer_to_server(self.double, self.server)
        gateway = self.roster.gateways[0].transport_certificate.encode()
        credentials = grpc.ssl_server_credentials(
            [(self.coordinator.private_key, self.coordinator.certificate.encode())], gateway, require_client_auth=True
        )
        self.port = self.server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        await self.server.start()

    async def stop_coordinator(self) -> None:
        """Stop it at once."""
        if self.server is not None:
            await self.server.stop(None)
            self.server = None

    @asynccontextmanager
    async def running(self, **overrides: str):
        """The gateway, serving; ``overrides`` are KEYQUORUM_GATEWAY__… variables without the prefix."""
        environ = {f"KEYQUORUM_GATEWAY__{name}": value for name, value in {**self.settings, **overrides}.items()}
        environ.setdefault("KEYQUORUM_GATEWAY__COORDINATOR__ADDRESS", f"127.0.0.1:{self.port}")
        app = create_app(load_config(self.config_file, environ), self.installed)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            yield Running(app, f"http://{host}:{port}")
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def client(self, running: Running, *, tenant: str = "default", scopes: tuple[Scope, ...] = EVERY_SCOPE):
        """A client with a key of its own."""
        async with aiohttp.ClientSession() as session:
            yield Client(session, running.url, self.api_key(tenant, scopes))


def write_secret(path: Path, text: str | bytes) -> None:
    """A file for its owner alone."""
    path.touch(mode=0o600)
    path.write_bytes(text.encode() if isinstance(text, str) else text)


def make_gateway_cell(folder: Path, site: Path) -> GatewayCell:
    """Write everything below ``folder``; ``site`` is where the toy chain is installed."""
    now = datetime.now(UTC)
    names = [f"party-{index}" for index in (1, 2, 3)]
    identities = {name: IdentityKey.generate() for name in names}
    coordinator = transport_credentials(["coordinator-1"], now)
    gateway = transport_credentials(["gateway-1"], now)
    seed = secrets.token_bytes(32)
    root = new_key()
    initiator = IdentityKey.from_seed(seed).public
    roster = Roster(
        cell_id="cell-test",
        nodes=tuple(
            Node(
                name,
                index,
                identity.public,
                identity_certificate(identity, name, now),
                transport_credentials([name], now).certificate,
                f"127.0.0.1:{7000 + index}",
            )
            for index, (name, identity) in enumerate(identities.items(), start=1)
        ),
        coordinators=(Coordinator("coordinator-1", coordinator.certificate),),
        gateways=(Gateway("gateway-1", gateway.certificate),),
        tenants=(
            Tenant("default", (initiator, public_bytes(root))),
            Tenant("other", (initiator,)),
        ),
    )
    (folder / "roster.toml").write_text(roster.dump())
    write_secret(folder / "initiator.key", seed.hex() + "\n")
    write_secret(folder / "transport.key", gateway.private_key)
    (folder / "transport.pem").write_text(gateway.certificate)
    write_secret(folder / "pepper", secrets.token_hex(32))
    ledger_name = secrets.token_hex(8)
    ledger = LEDGERS[ledger_name] = Ledger()
    (folder / "gateway.toml").write_text(_config(ledger_name))
    installed = installed_plugins(site)
    ref = Plugins(["keyquorum-toychain"], installed).codec("toy").ref
    double = CoordinatorDouble(roster, identities, CodecRef(ref.name, ref.version, ref.sha256))
    return GatewayCell(folder, roster, identities, root, coordinator, installed, double, ledger)


def _config(ledger: str) -> str:
    return f"""
[server]
listen = "127.0.0.1:0"
shutdown_s = 0

[identity]
gateway_id = "gateway-1"
initiator_key_file = "initiator.key"
tls_certificate_file = "transport.pem"
tls_key_file = "transport.key"

[roster]
file = "roster.toml"

[coordinator]
address = "127.0.0.1:1"
coordinator_id = "coordinator-1"

[state]
file = "gateway.db"

[auth]
pepper_file = "pepper"

[wallets]
allow_raw = true

[plugins]
allow = ["keyquorum-toychain"]

[log]
level = "warning"

[chains."{CHAIN}"]
fee_ceiling = "100"
limits = [{{ asset = "{ASSET}", per_transaction = "1000000", per_window = "10000000" }}]
settings = {{ ledger = "{ledger}" }}
"""


def authorization(awaiting, key):
    """What a client sends after it has read the intent."""
    data = awaiting["tag"].encode() + b"\x00" + base64.b64decode(awaiting["intent"])
    return {"public_key": public_bytes(key).hex(), "signature": key.sign(data).hex()}


async def order_wallet(cell, client, **headers):
    """A wallet that waits for the tenant's root key."""
    initiation = {"type": "client", "public_key": public_bytes(cell.root).hex()}
    reply = await client.post(
        "/v1/wallets", {"user_id": "carol", "chains": [CHAIN], "initiation": initiation}, **headers
    )
    assert reply.status == 202, reply.body
    return reply.body


async def authorize(client, operation, initiator, **rest):
    """Send the signature."""
    body = authorization(operation["awaiting"], initiator)
    return await client.post(f"/v1/operations/{operation['id']}/authorization", body, **rest)


async def eventually(condition, seconds: float = 5.0):
    """Wait until ``condition`` (a function, maybe async) is true; what it returned."""
    async with asyncio.timeout(seconds):
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.01)
