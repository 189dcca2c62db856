"""Look for secrets in the memory of running processes, in every spelling that software gives a number.

The scan reads ``/proc/<pid>/mem`` of everything that a process can have written: heaps, stacks, shared and mapped
writable files.
"""

import base64
import errno
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

CHUNK_BYTES = 8 * 1024 * 1024
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ENTRY_BYTES = 8  # of /proc/<pid>/pagemap
_SWAPPED_BIT = 62
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
    found = {"decimal": str(number).encode(), "Python integer": _digits_of_cpython(number)}
    for order, data in (("big", secret), ("little", secret[::-1])):
        found[f"raw {order}"] = data
        found[f"hex {order}"] = data.hex().encode()
        found[f"HEX {order}"] = data.hex().upper().encode()
        for shift in range(3):
            found[f"base64 {order} shift {shift}"] = _in_base64(data, shift)
    return found


def _in_base64(data: bytes, shift: int) -> bytes:
    """What every longer text that holds ``data`` from a byte of this alignment has in common, in either alphabet."""
    first = -shift % 3  # base64 writes three bytes as four characters: what depends on the neighbours is left out
    inner = data[first : first + (len(data) - first) // 3 * 3]
    return max(re.split(rb"[+/]", base64.b64encode(inner)), key=len)


def _digits_of_cpython(number: int) -> bytes:
    """An ``int`` as CPython keeps it: digits of 30 bits in 4 bytes each, the lowest first."""
    digits = [(number >> (30 * index)) & (2**30 - 1) for index in range((number.bit_length() + 29) // 30)]
    return b"".join(digit.to_bytes(4, "little") for digit in digits)


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


def resident(pid: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of an address range that have pages: the rest was never written."""
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
        pagemap.seek(start // PAGE_BYTES * _ENTRY_BYTES)
        entries = pagemap.read((end - start) // PAGE_BYTES * _ENTRY_BYTES)
    run = None
    for index, (entry,) in enumerate(struct.iter_unpack("<Q", entries)):
        address = start + index * PAGE_BYTES
        if entry >> _SWAPPED_BIT and run is None:  # that bit or the one above it, which means: in memory
            run = address
        elif not entry >> _SWAPPED_BIT and run is not None:
            yield run, address
            run = None
    if run is not None:
        yield run, end


def contents(pid: int, overlap: int) -> Iterator[bytes]:
    """The memory of a process in chunks; each begins with the end of the one before it."""
    descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for region in regions(pid):
            for start, end in resident(pid, *region):
                tail = b""
                for address in range(start, end, CHUNK_BYTES):
                    try:
                        data = os.pread(descriptor, min(CHUNK_BYTES, end - address), address)
                    except OSError as error:
                        if error.errno != errno.EIO:
                            raise
                        break  # given back to the system since the map was read: nothing is there any more
                    yield tail + data
                    tail = data[-overlap:]
    finally:
        os.close(descriptor)


def scan(pids: Iterable[int], secrets: Mapping[str, bytes]) -> set[Sighting]:
    """Who holds what: every secret that is found in any spelling in any of the processes."""
    needles: dict[bytes, tuple[str, str]] = {}
    for name, secret in secrets.items():
        for spelling, text in spellings(secret).items():
            needles[text] = (name, spelling)
    overlap = max(map(len, needles)) - 1
    found: set[Sighting] = set()
    for pid in pids:
        for data in contents(pid, overlap):
            found |= {Sighting(*needles[text], pid) for text in needles if text in data}
    return found
