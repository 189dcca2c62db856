"""Secret files: written for their owner alone, and not read if anybody else could have."""

import os
import stat
from pathlib import Path

from keyquorum_core_signer.wire.identity import SEED_BYTES, IdentityKey

_SECRET_BYTES_MAX = 64 * 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SecretFileError(Exception):
    """Proves that a secret file is missing, exposed or malformed. Its text never shows the content."""


def read_secret(path: Path) -> bytes:
    """The content of a secret file, without trailing line ends; raises SecretFileError.

    The file is judged by the descriptor that is read, so that it cannot be exchanged in between.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a named pipe must not make us wait
    except OSError as error:
        raise SecretFileError(f"{path}: {error.strerror}") from None
    try:
        _check_secret(path, os.fstat(descriptor))
        content = os.read(descriptor, _SECRET_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(content) > _SECRET_BYTES_MAX:
        raise SecretFileError(f"{path}: larger than {_SECRET_BYTES_MAX} bytes")
    content = content.rstrip(b"\r\n")
    if not content:
        raise SecretFileError(f"{path}: empty")
    return content


def write_secret(path: Path, content: bytes) -> None:
    """Make a secret file, mode 0600; raises SecretFileError if there is one already."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SecretFileError(f"{path}: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _check_secret(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SecretFileError(f"{path}: not a regular file")
    if status.st_mode & _OTHERS:
        raise SecretFileError(f"{path}: others can access it; run: chmod 600 {path}")
    if status.st_uid not in (os.geteuid(), 0):
        raise SecretFileError(f"{path}: belongs to another user")


def read_identity(path: Path) -> IdentityKey:
    """The identity key whose 32-byte seed ``path`` holds in hexadecimal; raises SecretFileError."""
    try:
        seed = bytes.fromhex(read_secret(path).decode("ascii"))
    except ValueError:  # it quotes the content
        seed = b""
    if len(seed) != SEED_BYTES:
        raise SecretFileError(f"{path}: not an identity seed ({SEED_BYTES} bytes in hexadecimal)")
    return IdentityKey.from_seed(seed)


def write_identity(path: Path, identity: IdentityKey) -> None:
    """Write an identity key's seed in hexadecimal; raises SecretFileError if there is a file already."""
    write_secret(path, identity.expose_seed().hex().encode() + b"\n")
