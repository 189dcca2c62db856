"""Secret files are for their owner alone."""

import os
import stat

import pytest

from keyquorum_core_signer.config.files import (
    SecretFileError,
    read_identity,
    read_secret,
    write_identity,
    write_secret,
)
from keyquorum_core_signer.wire.identity import IdentityKey


def test_a_secret_is_written_for_its_owner_alone(tmp_path):
    """Mode 0600, whatever the umask, and never over another file."""
    path = tmp_path / "secret"
    before = os.umask(0)
    try:
        write_secret(path, b"one\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_secret(path) == b"one"
    with pytest.raises(SecretFileError, match="File exists"):
        write_secret(path, b"two")
    assert read_secret(path) == b"one"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644, 0o777])
def test_an_exposed_secret_is_not_read(tmp_path, mode):
    """Any permission of group or others is too much; the remedy is told."""
    path = tmp_path / "secret"
    write_secret(path, b"x")
    path.chmod(mode)
    with pytest.raises(SecretFileError, match=f"chmod 600 {path}"):
        read_secret(path)


def test_a_secret_is_a_file_with_something_in_it(tmp_path):
    """Missing, a folder, empty, huge: refused."""
    (tmp_path / "folder").mkdir(mode=0o700)
    write_secret(tmp_path / "empty", b"\n\n")
    write_secret(tmp_path / "huge", b"x" * (64 * 1024 + 1))
    for name in ("missing", "folder", "empty", "huge"):
        with pytest.raises(SecretFileError, match=name):
            read_secret(tmp_path / name)


def test_a_pipe_in_place_of_a_secret_does_not_block(tmp_path):
    """Opening a named pipe would wait for a writer for ever."""
    os.mkfifo(tmp_path / "pipe", mode=0o600)
    with pytest.raises(SecretFileError, match="not a regular file"):
        read_secret(tmp_path / "pipe")


def test_an_identity_survives_its_file(tmp_path):
    """The key that is read is the key that was written."""
    identity = IdentityKey.generate()
    write_identity(tmp_path / "seed", identity)
    assert read_identity(tmp_path / "seed").public == identity.public


@pytest.mark.parametrize("content", [b"zz" * 32, b"ab" * 31, b"ab" * 33, b"\xff" * 64, "é".encode() * 32])
def test_a_damaged_identity_is_refused_without_showing_it(tmp_path, content):
    """The error names the file and never its content."""
    write_secret(tmp_path / "seed", content)
    with pytest.raises(SecretFileError) as caught:
        read_identity(tmp_path / "seed")
    assert content[:8].decode(errors="replace") not in str(caught.value)
