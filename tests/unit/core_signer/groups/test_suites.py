"""Each suite verifies exactly the signatures of its scheme."""

import hashlib

import pytest
from coincurve import PrivateKey
from nacl.signing import SigningKey

from keyquorum_core_signer.groups.ciphersuite import InvalidEncoding
from keyquorum_core_signer.groups.secp256k1 import ORDER
from keyquorum_core_signer.groups.suites import (
    BIP340,
    ECDSA,
    FROST_ED25519,
    FROST_SECP256K1,
    suite_for,
)
from support.curves import L_ED, torsion

MESSAGE = hashlib.sha256(b"pay").digest()
SECP_KEY = PrivateKey(b"\x05" * 32)
ED_KEY = SigningKey(b"\x05" * 32)


def ecdsa_signature():
    """Compact r || s, low s, from libsecp256k1."""
    return SECP_KEY.sign_recoverable(MESSAGE, hasher=None)[:64]


def frost_secp_signature():
    """RFC 9591 appendix B's prime-order Schnorr signature with one key."""
    suite = FROST_SECP256K1
    x, k = suite.group.scalar(5), suite.group.scalar(2**222)
    Y, R = suite.group.base_multiply(x), suite.group.base_multiply(k)
    c = suite.h2(R.to_bytes() + Y.to_bytes() + MESSAGE)
    return Y.to_bytes(), suite.encode_signature(R, k + x * c)


def signed(suite):
    """A public key and its signature on MESSAGE."""
    if suite is FROST_ED25519:
        return ED_KEY.verify_key.encode(), ED_KEY.sign(MESSAGE).signature
    if suite is FROST_SECP256K1:
        return frost_secp_signature()
    signature = SECP_KEY.sign_schnorr(MESSAGE) if suite is BIP340 else ecdsa_signature()
    return SECP_KEY.public_key.format(), signature


SUITES = [FROST_ED25519, FROST_SECP256K1, BIP340, ECDSA]
each_suite = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.scheme)


def test_schemes():
    """Wallets hold keys of three schemes."""
    for scheme in ("eddsa_ed25519", "schnorr_bip340", "ecdsa_secp256k1"):
        assert suite_for(scheme).scheme == scheme
    for unknown in ("", "EDDSA_ED25519", FROST_SECP256K1.scheme):
        with pytest.raises(KeyError):
            suite_for(unknown)


def test_suites_are_told_apart():
    """No two suites share a context string or a scheme."""
    assert len({suite.context_string for suite in SUITES}) == len({suite.scheme for suite in SUITES}) == len(SUITES)


@each_suite
def test_the_right_signature_verifies(suite):
    """Made by a library that is not ours, or by the textbook equation."""
    key, signature = signed(suite)
    assert suite.verify(key, MESSAGE, signature)


@each_suite
def test_every_bit_of_a_signature_counts(suite):
    """No flipped bit, cut, addition, other message or other key verifies, and none raises."""
    key, signature = signed(suite)
    for i in range(8 * len(signature)):
        flipped = bytearray(signature)
        flipped[i // 8] ^= 1 << i % 8
        assert not suite.verify(key, MESSAGE, bytes(flipped))
    for forged in (b"", signature[:-1], signature + b"\x00", bytes(len(signature)), b"\xff" * len(signature)):
        assert not suite.verify(key, MESSAGE, forged)
    other = suite.group.base_multiply(suite.group.scalar(9)).to_bytes()
    for wrong in (b"", other, key[:-1], key + b"\x00", bytes(len(key)), b"\xff" * len(key)):
        assert not suite.verify(wrong, MESSAGE, signature)
    for message in (b"", MESSAGE[:-1], MESSAGE + b"\x00", MESSAGE[::-1]):
        assert not suite.verify(key, message, signature)


def test_ed25519_signatures_are_not_malleable():
    """s + L, and a small-order key for which (R = identity, s = 0) would pass everywhere, are refused."""
    key, signature = signed(FROST_ED25519)
    s = int.from_bytes(signature[32:], "little") + L_ED
    assert not FROST_ED25519.verify(key, MESSAGE, signature[:32] + s.to_bytes(32, "little"))
    for point in torsion():
        assert not FROST_ED25519.verify(point.encode(), MESSAGE, (1).to_bytes(32, "little") + bytes(32))


def test_ecdsa_takes_no_high_s():
    """The other s of the same signature is refused."""
    key, signature = signed(ECDSA)
    high = ORDER - int.from_bytes(signature[32:], "big")
    assert not ECDSA.verify(key, MESSAGE, signature[:32] + high.to_bytes(32, "big"))


def test_bip340_ignores_the_parity_of_the_key():
    """BIP-340 keys are x coordinates."""
    key, signature = signed(BIP340)
    assert BIP340.verify(bytes([key[0] ^ 1]) + key[1:], MESSAGE, signature)


def test_bip340_vector_0():
    """BIP-340, test vector 0."""
    key = bytes.fromhex("02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9")
    signature = bytes.fromhex(
        "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215"
        "25f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0"
    )
    assert BIP340.verify(key, bytes(32), signature)


def test_rfc9591_hashes_are_separated():
    """H1 to H5 give unrelated values; H2 of Ed25519 is the plain SHA-512 of RFC 8032."""
    for suite in (FROST_ED25519, FROST_SECP256K1):
        scalars = [h(b"m").value for h in (suite.h1, suite.h2, suite.h3)]
        assert len(set(scalars)) == 3
        assert suite.h4(b"m") != suite.h5(b"m")
    plain = int.from_bytes(hashlib.sha512(b"m").digest(), "little") % L_ED
    assert FROST_ED25519.h2(b"m").value == plain


def test_scalars_are_reduced_from_enough_bytes():
    """A challenge from 32 bytes would be biased; the groups do not reduce fewer than 48."""
    for suite in SUITES:
        with pytest.raises(ValueError):
            suite.group.reduce_wide(bytes(32))
        with pytest.raises(InvalidEncoding):
            suite.group.decode_scalar(b"\xff" * 32)
