"""The share envelope opens for exactly the share, the place and the key it was sealed for."""

import secrets
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyquorum_core_signer.store.envelope import EnvelopeError, ShareContext, open_sealed, read_header, seal

CONTEXT = ShareContext("party-1", "usr_1", "key_1", "eddsa_ed25519", 1, 1, "soft:ab:1")
DEK = bytes(range(32))
WRAPPED = bytes(range(40))


@given(plaintext=st.binary(max_size=2000))
def test_opens_what_it_sealed(plaintext: bytes) -> None:
    """Any plaintext comes back, and the header tells which KEK to ask."""
    blob = seal(DEK, WRAPPED, CONTEXT, plaintext)
    header = read_header(blob)
    assert (header.context, header.wrapped_dek) == (CONTEXT, WRAPPED)
    assert open_sealed(DEK, CONTEXT, blob) == plaintext


@pytest.mark.parametrize("name", [f.name for f in fields(ShareContext)])
def test_any_other_context_does_not_open(name: str) -> None:
    """Party, user, key, scheme, epoch, version and KEK are all bound: the header's claim is compared, and the key differs."""
    value = getattr(CONTEXT, name)
    other = replace(CONTEXT, **{name: value + 1 if isinstance(value, int) else value + "x"})
    with pytest.raises(EnvelopeError, match="another share"):
        open_sealed(DEK, other, seal(DEK, WRAPPED, CONTEXT, b"share"))


@pytest.mark.parametrize("name", [f.name for f in fields(ShareContext)])
def test_swapped_rows_with_forged_headers_do_not_open(name: str) -> None:
    """An attacker who moves a row and rewrites its header to fit still fails, even where both rows have one DEK."""
    value = getattr(CONTEXT, name)
    other = replace(CONTEXT, **{name: value + 1 if isinstance(value, int) else value + "x"})
    mine, theirs = seal(DEK, WRAPPED, CONTEXT, b"mine"), seal(DEK, WRAPPED, other, b"theirs")
    ciphertext_at = -len(b"theirs") - 16 - 5 - 12 - 5
    forged = mine[: -len(b"mine") - 16 - 5 - 12 - 5] + theirs[ciphertext_at:]
    forged = forged[:1] + (len(forged) - 5).to_bytes(4, "big") + forged[5:]
    assert read_header(forged).context == CONTEXT
    with pytest.raises(EnvelopeError, match="does not open"):
        open_sealed(DEK, CONTEXT, forged)


def test_every_changed_byte_is_noticed() -> None:
    """No byte of the envelope, header included, can change unnoticed."""
    blob = seal(DEK, WRAPPED, CONTEXT, b"a share")
    for at in range(len(blob)):
        for mask in (0x01, 0x80):
            with pytest.raises(EnvelopeError):
                open_sealed(DEK, CONTEXT, blob[:at] + bytes([blob[at] ^ mask]) + blob[at + 1 :])


def test_truncated_extended_and_foreign_bytes_are_no_envelope() -> None:
    """Anything but the exact bytes is refused before a key is derived."""
    blob = seal(DEK, WRAPPED, CONTEXT, b"a share")
    for wrong in (b"", blob[:-1], blob + b"\x00", blob[5:], secrets.token_bytes(200)):
        with pytest.raises(EnvelopeError):
            read_header(wrong)


def test_other_dek_does_not_open() -> None:
    """A DEK that the KEK unwrapped from another row is of no use here."""
    with pytest.raises(EnvelopeError):
        open_sealed(bytes(32), CONTEXT, seal(DEK, WRAPPED, CONTEXT, b"a share"))


def test_sealing_twice_gives_unrelated_bytes() -> None:
    """The nonce is fresh, so equal shares do not show."""
    first, second = (seal(DEK, WRAPPED, CONTEXT, b"a share" * 4) for _ in range(2))
    assert first[-40:] != second[-40:]


def test_envelope_and_errors_show_no_plaintext() -> None:
    """Neither the blob nor an error holds any of the share."""
    share = secrets.token_bytes(32)
    blob = seal(DEK, WRAPPED, CONTEXT, share)
    with pytest.raises(EnvelopeError) as caught:
        open_sealed(bytes(32), CONTEXT, blob)
    assert share not in blob
    assert share.hex() not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_dek_of_another_length_is_a_callers_mistake(length: int) -> None:
    """Only AES-256 is used."""
    with pytest.raises(ValueError, match="32 bytes"):
        seal(bytes(length), WRAPPED, CONTEXT, b"")


def test_worker_loads_no_database_engine_and_no_hsm() -> None:
    """The process that opens shares imports this module and neither APSW nor PKCS#11."""
    code = (
        "import sys, keyquorum_core_signer.store.envelope;"
        "sys.exit(any(m in sys.modules for m in ('apsw', 'pkcs11', 'asyncio', 'grpc')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
