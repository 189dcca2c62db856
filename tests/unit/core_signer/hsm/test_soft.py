"""The soft key-encryption key: wraps, tells blobs apart, and refuses to open on anything doubtful."""

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from keyquorum_core_signer.hsm.ports import (
    WRAPPED_DEK_BYTES,
    HsmUnavailable,
    KekSetupError,
    TamperedBlob,
    WrongKek,
)
from keyquorum_core_signer.hsm.soft import SCRYPT_N_MIN, SoftKek, create_soft_kek, rotate_soft_kek

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def salt_file(tmp_path: Path) -> Path:
    path = tmp_path / "kek.salt"
    create_soft_kek(path, PASSPHRASE, scrypt_n=SCRYPT_N_MIN)
    return path


def first_generation(salt_file: Path) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(salt_file.read_text())["generations"][0]
    return entry


def change_first_generation(salt_file: Path, field: str, value: object) -> None:
    document = json.loads(salt_file.read_text())
    document["generations"][0][field] = value
    salt_file.write_text(json.dumps(document))


async def opened(salt_file: Path) -> SoftKek:
    return await SoftKek.open(salt_file, lambda: PASSPHRASE)


async def test_unwraps_what_it_wrapped(salt_file: Path) -> None:
    """A wrapped DEK comes back, also from a KEK opened anew."""
    dek = secrets.token_bytes(32)
    first = await opened(salt_file)
    wrapped = await first.wrap(dek)
    kek_id = first.kek_id
    await first.close()
    second = await opened(salt_file)
    assert len(wrapped) == WRAPPED_DEK_BYTES
    assert await second.unwrap(kek_id, wrapped) == dek
    await second.close()


async def test_is_rfc_3394_under_an_scrypt_key(salt_file: Path) -> None:
    """Another implementation of the two published algorithms, given the file and the passphrase, opens the blob."""
    kek = await opened(salt_file)
    dek = secrets.token_bytes(32)
    wrapped = await kek.wrap(dek)
    await kek.close()
    entry = first_generation(salt_file)
    key = Scrypt(bytes.fromhex(entry["salt"]), 32, n=entry["n"], r=entry["r"], p=entry["p"]).derive(PASSPHRASE)
    assert aes_key_unwrap(key, wrapped) == dek


async def test_every_changed_bit_is_a_tampered_blob(salt_file: Path) -> None:
    """A wrapped DEK with one bit flipped, cut or extended is never opened."""
    kek = await opened(salt_file)
    wrapped = await kek.wrap(secrets.token_bytes(32))
    flipped = [
        bytes(b ^ (1 << bit) if i == at else b for i, b in enumerate(wrapped)) for at in range(40) for bit in (0, 7)
    ]
    for blob in (*flipped, wrapped[:-1], wrapped[:-8], wrapped + bytes(8), b""):
        with pytest.raises(TamperedBlob):
            await kek.unwrap(kek.kek_id, blob)
    await kek.close()


async def test_blob_of_another_party_or_generation_is_told_apart(salt_file: Path, tmp_path: Path) -> None:
    """A KEK id that is not in the salt file is WrongKek, whatever the blob."""
    other_file = tmp_path / "other.salt"
    create_soft_kek(other_file, PASSPHRASE, scrypt_n=SCRYPT_N_MIN)
    kek, other = await opened(salt_file), await opened(other_file)
    wrapped = await other.wrap(secrets.token_bytes(32))
    for kek_id in (other.kek_id, kek.kek_id.replace(":1", ":2"), kek.kek_id.replace(":1", ":01"), "pkcs11:x:1", ""):
        with pytest.raises(WrongKek):
            await kek.unwrap(kek_id, wrapped)
    with pytest.raises(TamperedBlob):
        await kek.unwrap(kek.kek_id, wrapped)
    await kek.close()
    await other.close()


async def test_older_generations_still_unwrap(salt_file: Path) -> None:
    """After a rotation new DEKs go under the new generation, and the old blobs stay readable."""
    before = await opened(salt_file)
    dek = secrets.token_bytes(32)
    old_id, wrapped = before.kek_id, await before.wrap(dek)
    await before.close()
    new_id = rotate_soft_kek(salt_file, PASSPHRASE, scrypt_n=SCRYPT_N_MIN)
    after = await opened(salt_file)
    assert after.kek_id == new_id != old_id
    assert await after.unwrap(old_id, wrapped) == dek
    with pytest.raises(TamperedBlob):
        await after.unwrap(new_id, wrapped)
    await after.close()


async def test_wrong_passphrase_is_refused_at_start(salt_file: Path) -> None:
    """A wrong passphrase is found out when opening and when rotating, and its text is not in the error."""
    with pytest.raises(KekSetupError) as caught:
        await SoftKek.open(salt_file, lambda: b"incorrect horse")
    assert "incorrect horse" not in str(caught.value)
    with pytest.raises(KekSetupError):
        rotate_soft_kek(salt_file, b"incorrect horse", scrypt_n=SCRYPT_N_MIN)


@pytest.mark.parametrize(
    ("field", "value"),
    [("n", 2**10), ("n", 2**30), ("r", 1), ("p", 0), ("n", "131072"), ("salt", "00"), ("check", ""), ("generation", 2)],
)
async def test_weakened_salt_file_is_refused(salt_file: Path, field: str, value: object) -> None:
    """Parameters outside their bounds are not derived with, so that nobody makes guessing cheap or starting impossible."""
    change_first_generation(salt_file, field, value)
    with pytest.raises(KekSetupError):
        await opened(salt_file)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff\xfe", b"x" * 600_000, b'{"format":"a","label":"b","generations":[]}']
)
async def test_malformed_salt_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever stands in the salt file, the operator gets a set-up error and no crash."""
    path = tmp_path / "kek.salt"
    path.write_bytes(content)
    with pytest.raises(KekSetupError):
        await opened(path)


def test_existing_salt_file_is_never_overwritten(salt_file: Path) -> None:
    """Making a KEK where there is one would lose every share under it."""
    before = salt_file.read_bytes()
    with pytest.raises(KekSetupError):
        create_soft_kek(salt_file, PASSPHRASE, scrypt_n=SCRYPT_N_MIN)
    assert salt_file.read_bytes() == before


def test_short_passphrase_is_refused(tmp_path: Path) -> None:
    """A passphrase that can be guessed in seconds makes no KEK."""
    with pytest.raises(KekSetupError):
        create_soft_kek(tmp_path / "kek.salt", b"short", scrypt_n=SCRYPT_N_MIN)
    assert list(tmp_path.iterdir()) == []


async def test_closed_kek_does_nothing(salt_file: Path) -> None:
    """After closing, calls fail in a typed way and the derived keys are gone."""
    kek = await opened(salt_file)
    wrapped = await kek.wrap(bytes(32))
    await kek.close()
    await kek.close()
    with pytest.raises(HsmUnavailable):
        await kek.unwrap(kek.kek_id, wrapped)
    with pytest.raises(HsmUnavailable):
        await kek.wrap(bytes(32))
    assert kek._keys == {}


async def test_dek_of_another_length_is_a_callers_mistake(salt_file: Path) -> None:
    """Only AES-256 keys are wrapped."""
    kek = await opened(salt_file)
    for length in (0, 16, 31, 33, 64):
        with pytest.raises(ValueError, match="32 bytes"):
            await kek.wrap(bytes(length))
    await kek.close()


async def test_nothing_shows_the_passphrase_or_the_key(salt_file: Path) -> None:
    """Neither the representation nor any public attribute holds a secret."""
    kek = await opened(salt_file)
    shown = repr(kek) + repr(kek._file) + kek.kek_id
    assert PASSPHRASE.decode() not in shown
    assert all(key.hex() not in shown and repr(key) not in shown for key in kek._keys.values())
    await kek.close()
