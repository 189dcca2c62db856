"""Loopback ports for a stack: chosen once, kept in its state, and chosen again only where somebody else took them."""

import json
import random
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
_RANGE: Final = range(20_000, 32_000)  # below the ports that systems lend to outgoing connections
_TRIES_MAX: Final = 500


class NoFreePort(Exception):
    """Proves that every port tried was taken."""


def is_free(port: int) -> bool:
    """Whether a server could listen on a loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a closed connection is no obstacle
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def assign(file: Path, names: Iterable[str]) -> dict[str, int]:
    """A port per name: the ones in ``file`` where they are still free, else new ones, written back."""
    kept: dict[str, int] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    ports: dict[str, int] = {}
    for name in names:
        port = kept.get(name)
        ports[name] = port if port is not None and is_free(port) else _choose(set(ports.values()) | set(kept.values()))
    file.write_text(json.dumps(ports, indent=2) + "\n", encoding="utf-8")
    return ports


def _choose(taken: set[int]) -> int:
    for _ in range(_TRIES_MAX):
        port = random.choice(_RANGE)  # noqa: S311  two stacks that start at once should not try the same ports
        if port not in taken and is_free(port):
            return port
    raise NoFreePort(f"no free loopback port among {_TRIES_MAX} tried between {_RANGE.start} and {_RANGE.stop}")
