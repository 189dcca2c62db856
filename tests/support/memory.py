"""Look for secrets in the memory of running processes, in every spelling that software gives a number.

The scan reads ``/proc/<pid>/mem`` of everything that a process can have written: heaps, stacks, shared and mapped
writable files.
"""

import base64
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

CHUNK_BYTES = 8 * 1024 * 1024
_UNREADABLE = ("[vvar]", "[vsyscall]", "[vvar_vclock]")


@dataclass(frozen=True)
class Sighting:
    """A secret that a process holds."""

    secret: str
    spelling: str
    pid: int


def spellings(secret: bytes) -> dict[str, bytes]:
    """A secret number of 32 bytes, big-endian, in every spelling that the scan looks for."""
    number = int.from_bytes(secret, "big")
    little = secret[::-1]
    found = {"raw big-endian": secret, "raw little-endian": little, "decimal": str(number).encode()}
    for order, data in (("big", secret), ("little", little)):
        found[f"hex {order}"] = data.hex().encode()
        found[f"HEX {order}"] = data.hex().upper().encode()
        for shift in range(3):
            # Base64 of a longer text spells three bytes in four characters: cut what depends on the neighbours.
            first = -shift % 3
            inner = data[first : first + (len(data) - first) // 3 * 3]
            found[f"base64 {order} shift {shift}"] = base64.b64encode(inner)
            found[f"base64url {order} shift {shift}"] = base64.urlsafe_b64encode(inner)
    limbs = [(number >> (30 * index)) & (2**30 - 1) for index in range((number.bit_length() + 29) // 30)]
    found["Python integer"] = b"".join(limb.to_bytes(4, "little") for limb in limbs)  # CPython's own digits
    return found


def processes_below(pid: int) -> list[int]:
    """A process and all that it started, directly or not."""
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def regions(pid: int) -> Iterator[tuple[int, int]]:
    """Readable address ranges of a process, but for files mapped read-only: programs and libraries hold what is on disk."""
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
        span, permissions, _, _, inode, *name = line.split(maxsplit=5)
        from_disk = inode != "0" and "w" not in permissions
        if permissions.startswith("r") and not from_disk and not (name and name[0] in _UNREADABLE):
            start, _, end = span.partition("-")
            yield int(start, 16), int(end, 16)


def contents(pid: int, overlap: int) -> Iterator[bytes]:
    """The memory of a process in chunks; each begins with the end of the one before it."""
    descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for start, end in regions(pid):
            tail = b""
            for address in range(start, end, CHUNK_BYTES):
                try:
                    data = os.pread(descriptor, min(CHUNK_BYTES, end - address), address)
                except OSError:  # a guard page, or a device
                    tail = b""
                    continue
                yield tail + data
                tail = data[-overlap:]
    finally:
        os.close(descriptor)


def scan(pids: Iterable[int], secrets: Mapping[str, bytes]) -> set[Sighting]:
    """Who holds what: every secret that is found in any spelling in any of the processes."""
    needles: dict[bytes, tuple[str, str]] = {}
    for name, secret in secrets.items():
        for spelling, text in spellings(secret).items():
            needles.setdefault(text, (name, spelling))  # without "+" and "/", both alphabets of base64 write the same
    overlap = max(map(len, needles)) - 1
    found: set[Sighting] = set()
    for pid in pids:
        for data in contents(pid, overlap):
            found |= {Sighting(*needles[text], pid) for text in needles if text in data}
    return found
