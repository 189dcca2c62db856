"""Say what this machine lacks before anything else fails on it. Standard library only: it runs before the environment.

Exits 0 when nothing is missing, else 1 after naming each missing thing with the line that installs it.
"""

import argparse
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON_MIN, PYTHON_MAX = (3, 11), (3, 13)
DISK_FREE_MIB = {"setup": 1200, "demo": 200, "run": 200, "test": 500, "bench": 500}
PORTS_FREE = {"demo": 8, "run": 8, "test": 16, "bench": 11}  # parties, coordinator, gateway, chains


def missing_python() -> str | None:
    """The locks are resolved for a range of versions."""
    if PYTHON_MIN <= sys.version_info[:2] <= PYTHON_MAX:
        return None
    found = ".".join(map(str, sys.version_info[:3]))
    return f"Python 3.11 to 3.13 (this is {found})\n    apt-get install python3.11 python3.11-venv   # then: make PYTHON=python3.11"


def missing_venv() -> str | None:
    """Debian ships the venv module without its pip."""
    try:
        import ensurepip  # noqa: F401, PLC0415
        import venv  # noqa: F401, PLC0415
    except ImportError:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return f"the venv module with pip\n    apt-get install python{version}-venv"
    return None


def missing_make() -> str | None:
    """A test runs the two commands of the README."""
    return None if shutil.which("make") else "make\n    apt-get install make"


def missing_disk(purpose: str) -> Callable[[], str | None]:
    """The environment alone takes about 700 MiB."""

    def check() -> str | None:
        free_mib = shutil.disk_usage(ROOT).free // 2**20
        needed_mib = DISK_FREE_MIB[purpose]
        if free_mib >= needed_mib:
            return None
        return (
            f"disk space: {free_mib} MiB are free, {needed_mib} are needed\n    make clean   # or free some in {ROOT}"
        )

    return check


def missing_ports(purpose: str) -> Callable[[], str | None]:
    """Everything listens on loopback, on ports that the system chooses."""

    def check() -> str | None:
        wanted = PORTS_FREE[purpose]
        listeners: list[socket.socket] = []
        try:
            for _ in range(wanted):
                listener = socket.socket()
                listeners.append(listener)
                listener.bind(("127.0.0.1", 0))
        except OSError as error:
            return f"{wanted} free ports on loopback ({error.strerror})\n    ip link set lo up"
        finally:
            for listener in listeners:
                listener.close()
        return None

    return check


def missing_loopback() -> str | None:
    """A connection to ourselves must succeed: sandboxes without a loopback interface exist."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=2).close()
    except OSError as error:
        return f"a working loopback interface ({error.strerror})\n    ip link set lo up"
    return None


def missing_anvil() -> str | None:
    """Ethereum's engine: installed, or fetched before, or brought by npm with the script beside this one."""
    fetched = (ROOT / "build/tools/anvil").glob("anvil-*/anvil")
    if shutil.which("anvil") or shutil.which("npm") or any(fetched):
        return None
    return "npm, which brings anvil, the Ethereum node of the stack\n    apt-get install npm   # or install Foundry's anvil"


def missing_softhsm() -> str | None:
    """The module itself comes without root through the scripts beside this one."""
    if shutil.which("softhsm2-util") or (shutil.which("apt-get") and shutil.which("dpkg")):
        return None
    return "SoftHSM 2, asked for by HSM=softhsm\n    apt-get install softhsm2   # or run without HSM=softhsm"


def checks(purpose: str, hsm: str) -> list[Callable[[], str | None]]:
    """What each purpose needs."""
    if purpose == "setup":
        return [missing_python, missing_venv, missing_make, missing_disk(purpose)]
    found = [missing_disk(purpose), missing_loopback, missing_ports(purpose), missing_anvil]
    if hsm == "softhsm" or purpose == "test":
        found.append(missing_softhsm)
    return found


def main() -> int:
    """Run the checks of one purpose."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("purpose", choices=sorted(DISK_FREE_MIB))
    parser.add_argument("--hsm", choices=["soft", "softhsm"], default="soft")
    arguments = parser.parse_args()
    missing = [answer for check in checks(arguments.purpose, arguments.hsm) if (answer := check())]
    for answer in missing:
        print(f"missing: {answer}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
