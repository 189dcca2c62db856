"""A cell of real parties: identities, rosters, configurations, and one process per party.

The test is the coordinator: it holds the coordinator's TLS key and speaks to the parties over gRPC.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import distribution
from pathlib import Path

from keyquorum_core_signer.config.files import write_identity, write_secret
from keyquorum_core_signer.hsm.soft import create_soft_kek
from keyquorum_core_signer.intents.roster import Coordinator, Gateway, Node, Roster, Tenant
from keyquorum_core_signer.wire.certificates import Credentials, identity_certificate, transport_credentials
from keyquorum_core_signer.wire.identity import IdentityKey

START_S_MAX = 60.0
_RUN = "from keyquorum_core_signer.cli import main; main()"  # what the installed command does


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class PartyProcess:
    """One party: where its files are, and its process while it runs."""

    node_id: str
    identity: IdentityKey
    folder: Path
    address: str
    process: asyncio.subprocess.Process | None = None
    environment: Mapping[str, str] = field(default_factory=dict)  # beyond ours

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.folder / "party.toml"

    async def start(self) -> None:
        """Start the process and wait until it listens."""
        log = (self.folder / "party.log").open("ab")
        with log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _RUN, "party", "--config", str(self.config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={name: value for name, value in os.environ.items() if not name.startswith("KEYQUORUM_")}
                | dict(self.environment),
            )
        host, port = self.address.rsplit(":", 1)
        async with asyncio.timeout(START_S_MAX):
            while True:
                if self.process.returncode is not None:
                    raise AssertionError(f"{self.node_id} ended: {self.log()[-2000:]}")
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(host, int(port))
                    writer.close()
                    await writer.wait_closed()
                    return
                await asyncio.sleep(0.05)

    def log(self) -> str:
        """What it has written."""
        path = self.folder / "party.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process by its id; its exit status."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(20):
            return await self.process.wait()


@dataclass
class Cell:
    """Parties, the coordinator's credentials, and the tenant's initiator keys."""

    folder: Path
    roster: Roster
    parties: Mapping[str, PartyProcess]
    coordinator: Credentials
    stranger: Credentials  # a certificate that no roster names
    root: IdentityKey  # the tenant's root key
    initiator: IdentityKey  # named in the keys' policies, no root key
    codec_ref: tuple[str, str, bytes]
    nodes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = tuple(node.node_id for node in self.roster.nodes)

    async def start(self) -> None:
        """Start every party."""
        await asyncio.gather(*(party.start() for party in self.parties.values()))

    async def stop(self) -> None:
        """End every party that runs."""
        await asyncio.gather(*(party.stop() for party in self.parties.values() if party.process is not None))


def installed_hash(name: str) -> bytes:
    """The artifact hash of a distribution as an isolated interpreter finds it: so does a codec's own process."""
    program = (
        "from importlib.metadata import distribution; from keyquorum_plugin_api.artifact import artifact_hash; "
        f"print(artifact_hash(distribution({name!r})).hex())"
    )
    found = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    return bytes.fromhex(found.stdout.strip())


def make_cell(folder: Path, count: int = 3) -> Cell:
    """Write everything that ``count`` parties need below ``folder``."""
    now = datetime.now(UTC)
    coordinator = transport_credentials(["coordinator-1"], now)
    gateway = transport_credentials(["gateway-1"], now)
    root, initiator = IdentityKey.generate(), IdentityKey.generate()
    codec_ref = ("solana", distribution("keyquorum-sol").version, installed_hash("keyquorum-sol"))
    parties: dict[str, PartyProcess] = {}
    nodes: list[Node] = []
    for index in range(1, count + 1):
        node_id = f"party-{index}"
        home = folder / node_id
        home.mkdir(mode=0o700)
        identity = IdentityKey.generate()
        transport = transport_credentials([node_id], now)
        write_identity(home / "identity.key", identity)
        write_secret(home / "transport.key", transport.private_key)
        (home / "transport.pem").write_text(transport.certificate)
        passphrase = secrets.token_hex(16).encode()
        write_secret(home / "passphrase", passphrase)
        create_soft_kek(home / "salt", passphrase)
        address = f"127.0.0.1:{free_port()}"
        certificate = identity_certificate(identity, node_id, now)
        nodes.append(Node(node_id, index, identity.public, certificate, transport.certificate, address))
        parties[node_id] = PartyProcess(node_id, identity, home, address)
    roster = Roster(
        cell_id="cell-test",
        nodes=tuple(nodes),
        coordinators=(Coordinator("coordinator-1", coordinator.certificate),),
        gateways=(Gateway("gateway-1", gateway.certificate),),
        tenants=(Tenant("tenant-1", (root.public,)),),
    )
    for party in parties.values():
        (party.folder / "roster.toml").write_text(roster.dump())
        party.config.write_text(_config(party, codec_ref))
    return Cell(
        folder=folder,
        roster=roster,
        parties=parties,
        coordinator=coordinator,
        stranger=transport_credentials(["coordinator-1"], now),
        root=root,
        initiator=initiator,
        codec_ref=codec_ref,
    )


def _config(party: PartyProcess, codec: tuple[str, str, bytes]) -> str:
    return f"""
node_id = "{party.node_id}"
roster = "roster.toml"
identity_key = "identity.key"
listen = "{party.address}"
reflection = true

[transport]
certificate = "transport.pem"
key = "transport.key"

[store]
path = "shares.db"

[kek]
kind = "soft"
passphrase_file = "passphrase"
salt_file = "salt"

[[codecs]]
name = "{codec[0]}"
version = "{codec[1]}"
sha256 = "{codec[2].hex()}"
"""
