"""The store's files: one owner at a time, nobody else's eyes.

``<path>`` is the database, ``<path>-wal`` and ``<path>-shm`` are SQLite's, ``<path>.lock`` says that a process has it
open, ``<path>.audit-key`` is the key of the audit rows' pseudonyms. SQLite's own locks do not do for ownership: it
takes them per transaction, so that two processes would take turns, each with its own memory of what may be emitted.
"""

import fcntl
import os
import secrets
import stat
from pathlib import Path

from keyquorum_core_signer.store.ports import StoreCorrupt, StoreOwned, StoreUnavailable

AUDIT_KEY_BYTES = 32
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Ownership:
    """An exclusive lock that lives as long as the process, or until :meth:`release`; the kernel drops it at kill -9."""

    def __init__(self, path: Path) -> None:
        """Take it; raises StoreOwned, StoreUnavailable."""
        self._descriptor = _open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise StoreOwned(f"{path}: another process has this store open") from None

    def release(self) -> None:
        """Let go; called once."""
        os.close(self._descriptor)


def prepare_file(path: Path) -> None:
    """Make an empty database file for its owner alone, or refuse one that others can access.

    SQLite gives its side files the mode of the database. Raises StoreCorrupt, StoreUnavailable.
    """
    descriptor = _open(path, os.O_RDWR | os.O_CREAT)
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise StoreCorrupt(f"{path}: not a regular file")
    for found in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if found.exists() and found.stat().st_mode & _OTHERS:
            raise StoreCorrupt(f"{found}: others can access it; run: chmod 600 {found}")
    sync_folder(path.parent)


def audit_key(path: Path, *, new: bool) -> bytes:
    """The key of the pseudonyms: made with a new store, required with an old one. Raises StoreCorrupt, StoreUnavailable."""
    file = path.with_name(f"{path.name}.audit-key")
    if new and not file.exists():
        key = secrets.token_bytes(AUDIT_KEY_BYTES)
        temporary = file.with_name(f"{file.name}.new")
        descriptor = _open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(key)
            stream.flush()
            os.fsync(descriptor)
        temporary.rename(file)
        sync_folder(path.parent)
        return key
    descriptor = _open(file, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as stream:
        if os.fstat(descriptor).st_mode & _OTHERS:
            raise StoreCorrupt(f"{file}: others can access it; run: chmod 600 {file}")
        key = stream.read(AUDIT_KEY_BYTES + 1)
    if len(key) != AUDIT_KEY_BYTES:
        raise StoreCorrupt(f"{file}: not a key of {AUDIT_KEY_BYTES} bytes")
    return key


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = _open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from None
