"""Brings anvil, a whole Ethereum node in one process, and contracts to deploy on it, for tests and demonstrations.

    python scripts/anvil.py binary                   prints the path of the anvil binary
    python scripts/anvil.py artifact erc20           prints the path of a JSON with "abi" and "bytecode": OpenZeppelin's
                                                     ERC20PresetFixedSupply(name, symbol, initialSupply, owner)
    python scripts/anvil.py artifact erc20-permit    the same of Uniswap's test token with ERC-2612 permits, ERC20(supply)

An installed anvil is used as it is. Otherwise the npm packages below are downloaded, compared with the integrity that is
pinned here before anything is unpacked, and unpacked below build/tools/. The binary is run by itself, so that its process
id is that of the node:

    anvil --host 127.0.0.1 --port 8545 --chain-id 31337 --accounts 0 --slots-in-an-epoch 1 --no-cors --silent

``--slots-in-an-epoch 1`` lets the "finalized" block follow the head (two blocks behind it). A block is made for each
transaction, or with ``--block-time 1`` every second. It answers JSON-RPC over HTTP and websocket on one port, from 0.1 s
after its start; ``anvil_setBalance`` funds an address and ``evm_mine`` makes a block. It has no state to keep: ending the
process ends it.
"""

import argparse
import base64
import hashlib
import hmac
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / "build" / "tools" / "anvil"
COMMAND_S_MAX = 300
INSTALL_LINE = "curl -L https://foundry.paradigm.xyz | bash && foundryup   (or: brew install foundry)"
NPM_LINE = "sudo apt-get install npm   (Fedora: sudo dnf install npm; macOS: brew install node)"


@dataclass(frozen=True)
class Package:
    """One file of one npm package. ``integrity`` is as in npm's lock files: the SHA-512 of the archive in base64."""

    name: str
    version: str
    integrity: str
    member: str

    @property
    def path(self) -> Path:
        """Where the file is kept, once it was fetched."""
        return CACHE / f"{self.name.rpartition('/')[2]}-{self.version}" / Path(self.member).name


ANVIL = Package(
    "@foundry-rs/anvil-linux-amd64",
    "1.7.1",
    "sha512-+XmShybEaxfCrr0OUUZwYEy2OnYZt5pHH9TzBtLv3+VrK0O/ANuNSVEahqNhKHlgX7GRJ59383ofNhxkRWIYTg==",
    "package/bin/anvil",
)
ARTIFACTS = {
    "erc20": Package(
        "@openzeppelin/contracts",
        "4.9.6",
        "sha512-xSmezSupL+y9VkHZJGDoCBpmnB2ogM13ccaYDWqJTfS3dbuHkgjuwDFUmaFauBCboQMGB/S5UqUl2y54X99BmA==",
        "package/build/contracts/ERC20PresetFixedSupply.json",
    ),
    "erc20-permit": Package(
        "@uniswap/v2-core",
        "1.0.1",
        "sha512-MtybtkUPSyysqLY2U210NBDeCHX+ltHt3oADGdjqoThZaFRDKwM6k1Nb3F0A3hk5hwuQvytFWhrWHOEq6nVJ8Q==",
        "package/build/ERC20.json",
    ),
}


class AnvilError(Exception):
    """Anvil, or a contract, cannot be had here; the text says what to install."""


def find_anvil() -> Path:
    """An installed anvil, else the unpacked one, downloading it the first time; raises AnvilError."""
    installed = shutil.which("anvil")
    if installed is not None:
        return Path(installed)
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise AnvilError(f"no anvil, and none is fetched for {sys.platform} on {platform.machine()}: {INSTALL_LINE}")
    return fetch(ANVIL)


def find_artifact(name: str) -> Path:
    """The JSON of a compiled contract, downloading it the first time; raises AnvilError."""
    return fetch(ARTIFACTS[name])


def fetch(package: Package) -> Path:
    """The package's file; downloaded, verified and unpacked unless it is there already."""
    if package.path.exists():
        return package.path
    if shutil.which("npm") is None:
        raise AnvilError(f"no npm to fetch {package.name} with: {NPM_LINE}")
    package.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=CACHE) as work:
        archive = _download(package, Path(work))
        verify(archive, package)
        unpacked = _unpack(archive, package)
        unpacked.replace(package.path)  # at once: whoever else is looking finds all of it or nothing
    return package.path


def verify(archive: Path, package: Package) -> None:
    """Raise AnvilError unless the archive is, to the bit, what is pinned."""
    with archive.open("rb") as file:
        found = "sha512-" + base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
    if not hmac.compare_digest(found, package.integrity):
        raise AnvilError(f"{package.name}@{package.version} is not the archive that is pinned: {found}")


def _download(package: Package, folder: Path) -> Path:
    command = ["npm", "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=COMMAND_S_MAX)
    except (OSError, subprocess.SubprocessError) as error:
        lines = (getattr(error, "stderr", "") or type(error).__name__).strip().splitlines()
        raise AnvilError(f"npm cannot fetch {package.name}: {lines[-1]}\ninstall Foundry: {INSTALL_LINE}") from None
    archives = sorted(folder.glob("*.tgz"))
    if len(archives) != 1:
        raise AnvilError(f"npm left {len(archives)} archives of {package.name} instead of one")
    return archives[0]


def _unpack(archive: Path, package: Package) -> Path:
    """The one file that is wanted, beside its archive; nothing else of the archive is written anywhere."""
    target = archive.with_suffix(".file")
    with tarfile.open(archive, "r:gz") as tar:
        members = {member.name: member for member in tar.getmembers() if member.isreg()}
        source = tar.extractfile(members[package.member]) if package.member in members else None
        if source is None:
            raise AnvilError(f"{package.name}: there is no file {package.member}")
        with source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    target.chmod(0o755 if package is ANVIL else 0o644)
    return target


def main() -> int:
    """The command line; 0, or 1 with one readable error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("binary", help="print the path of the anvil binary")
    artifact = commands.add_parser("artifact", help="print the path of a compiled contract")
    artifact.add_argument("name", choices=sorted(ARTIFACTS))
    arguments = parser.parse_args()
    try:
        print(find_anvil() if arguments.command == "binary" else find_artifact(arguments.name))
    except AnvilError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
