"""Where a stack keeps its files. Each node has a folder of its own, as if it were a machine of its own."""

import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyquorum_devnet.engines import ENGINES

CELL: Final = "cell-local"
TENANT: Final = "default"
PARTIES: Final = ("party-1", "party-2", "party-3")
COORDINATOR: Final = "coordinator-1"
GATEWAY: Final = "gateway-1"
ROLES: Final = dict.fromkeys(PARTIES, "party") | {COORDINATOR: "coordinator", GATEWAY: "gateway"}
NODES: Final = (*PARTIES, COORDINATOR, GATEWAY)
PROCESSES: Final = (*(engine.name for engine in ENGINES), *NODES)


@dataclass(frozen=True, slots=True)
class Layout:
    """The state folder of one stack; absolute."""

    state: Path

    @property
    def logs(self) -> Path:
        """One file per process."""
        return self.state / "logs"

    @property
    def ports(self) -> Path:
        """Which port each process listens on."""
        return self.state / "ports.json"

    @property
    def api_key(self) -> Path:
        """The key that the printed commands use."""
        return self.state / "clients" / "api-key"

    @property
    def root_key(self) -> Path:
        """Seed of the tenant's root key, in hexadecimal: what a client initiates its own wallets with."""
        return self.state / "clients" / "tenant-root.seed"

    @property
    def flags(self) -> Path:
        """For whom the gateway opens each chain: what ``keyquorum chains`` edits."""
        return self.node(GATEWAY) / "flags.json"

    def node(self, name: str) -> Path:
        """A node's own folder."""
        return self.state / name

    def file(self, name: str, suffix: str) -> Path:
        """A file that ``keyquorum-signer init`` made for a node."""
        return self.node(name) / f"{name}.{suffix}"

    def config(self, name: str) -> Path:
        """A node's configuration."""
        return self.node(name) / f"{ROLES[name]}.toml"

    def spans(self, name: str) -> Path:
        """Finished spans of a node, one JSON object per line."""
        return self.node(name) / "spans.jsonl"

    def make(self) -> None:
        """Make the folders, closed to other users."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.logs, self.api_key.parent, *map(self.node, ROLES)):
            folder.mkdir(mode=0o700, exist_ok=True)


def command(name: str) -> str:
    """The path of one of our commands: beside the interpreter that runs us, whatever PATH says."""
    return str(Path(sys.executable).parent / name)


def write_secret(path: Path, content: bytes) -> None:
    """Make a file that its owner alone can read; one that is there already stays as it is."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def new_secret(path: Path) -> None:
    """Make a secret of 32 random bytes in hexadecimal, unless there is one."""
    write_secret(path, secrets.token_hex(32).encode() + b"\n")
