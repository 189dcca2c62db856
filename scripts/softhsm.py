"""Brings SoftHSM 2, for tests and demonstrations of the PKCS#11 key-encryption key, without root.

    python scripts/softhsm.py module                        prints the path of libsofthsm2.so
    python scripts/softhsm.py token --dir DIR --label NAME  makes a token below DIR, once; prints JSON:
                                                            module, config, token, pin_file

An installed SoftHSM is used as it is. Otherwise Debian's packages are downloaded (apt checks them against its signed
lists) and unpacked below build/tools/. A process that uses the token needs SOFTHSM2_CONF set to "config".

SoftHSM keeps keys in files that its user can read, and its tool takes PINs as arguments: nothing made here protects money.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / "build" / "tools" / "softhsm"
PACKAGES = ("softhsm2", "libsofthsm2", "softhsm2-common")
MODULE = "libsofthsm2.so"
INSTALLED = (
    "/usr/lib/softhsm",
    "/usr/lib/*/softhsm",
    "/usr/lib64/softhsm",
    "/usr/lib64/pkcs11",
    "/usr/local/lib/softhsm",
    "/opt/homebrew/lib/softhsm",
)
INSTALL_LINE = "sudo apt-get install softhsm2   (Fedora: sudo dnf install softhsm; macOS: brew install softhsm)"
COMMAND_S_MAX = 120


class SoftHsmError(Exception):
    """SoftHSM cannot be had here; the text says what to install."""


@dataclass(frozen=True)
class SoftHsm:
    """The PKCS#11 module and its tool."""

    module: Path
    util: Path


def find_softhsm() -> SoftHsm:
    """An installed SoftHSM, else the unpacked one, downloading it the first time; raises SoftHsmError."""
    return _installed() or _unpacked(CACHE) or _download()


def make_token(folder: Path, label: str, softhsm: SoftHsm) -> dict[str, str]:
    """The token ``label`` below ``folder``, made with a random PIN unless it is there already."""
    config, tokens, pin_file = folder / "softhsm2.conf", folder / "tokens", folder / "pin"
    description = {"module": str(softhsm.module), "config": str(config), "token": label, "pin_file": str(pin_file)}
    done = folder / "token.json"
    if done.exists():
        if json.loads(done.read_text()).get("token") != label:
            raise SoftHsmError(f"{folder}: holds another token")
        done.write_text(json.dumps(description))
        return description
    if tokens.exists():
        raise SoftHsmError(f"{folder}: holds a token that was not finished; remove it")
    tokens.mkdir(parents=True, mode=0o700)
    config.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    )
    pin, so_pin = secrets.token_hex(8), secrets.token_hex(8)
    pin_file.touch(mode=0o600)
    pin_file.write_text(pin + "\n")
    init = [str(softhsm.util), "--module", str(softhsm.module), "--init-token", "--free"]
    names = ["--label", label, "--so-pin", so_pin, "--pin", pin]
    _run([*init, *names], env={**os.environ, "SOFTHSM2_CONF": str(config)})
    done.write_text(json.dumps(description))
    return description


def _installed() -> SoftHsm | None:
    util = shutil.which("softhsm2-util")
    for pattern in INSTALLED:
        for module in sorted(Path("/").glob(f"{pattern.lstrip('/')}/{MODULE}")):
            if util:
                return SoftHsm(module, Path(util))
    return None


def _unpacked(root: Path) -> SoftHsm | None:
    modules, util = sorted(root.glob(f"usr/lib/**/{MODULE}")), root / "usr" / "bin" / "softhsm2-util"
    return SoftHsm(modules[0], util) if modules and util.exists() else None


def _download() -> SoftHsm:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise SoftHsmError(f"no SoftHSM 2 and no {tool} to fetch it with; install it: {INSTALL_LINE}")
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="softhsm-", dir=CACHE.parent) as work:
        _fetch(Path(work))
        root = Path(work) / "root"
        for package in sorted(Path(work).glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(root)])
        found = _unpacked(root)
        if found is None:
            raise SoftHsmError(f"the packages hold no {MODULE}; install it: {INSTALL_LINE}")
        _run([str(found.util), "--version"])  # its libraries are there
        try:
            root.rename(CACHE)
        except OSError:  # somebody else was faster, or left half of it
            if _unpacked(CACHE) is None:
                raise SoftHsmError(f"{CACHE}: in the way; remove it") from None
    return find_softhsm()


def _fetch(folder: Path) -> None:
    command = ["apt-get", "download", "--quiet", *PACKAGES]
    try:
        _run(command, cwd=folder)
    except SoftHsmError:
        if os.geteuid() != 0:
            raise
        _run(["apt-get", "update", "--quiet"])  # a bare container has no package lists yet
        _run(command, cwd=folder)


def _run(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a tool; its error output never quotes its arguments, which may hold a PIN."""
    try:
        subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, text=True, timeout=COMMAND_S_MAX)
    except (OSError, subprocess.SubprocessError) as error:
        lines = (getattr(error, "stderr", "") or type(error).__name__).strip().splitlines()
        raise SoftHsmError(f"{Path(command[0]).name} failed: {lines[-1]}\ninstall SoftHSM 2: {INSTALL_LINE}") from None


def main() -> int:
    """The command line; 0, or 1 with one readable error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("module", help="print the path of the PKCS#11 module")
    token = commands.add_parser("token", help="make a token, once")
    token.add_argument("--dir", type=Path, required=True)
    token.add_argument("--label", required=True)
    arguments = parser.parse_args()
    try:
        softhsm = find_softhsm()
        if arguments.command == "module":
            print(softhsm.module)
        else:
            print(json.dumps(make_token(arguments.dir.resolve(), arguments.label, softhsm)))
    except SoftHsmError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
