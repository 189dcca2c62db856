"""Child keys are the ones that the BIP and our own definition give, and only non-hardened ones exist."""

import pytest

from keyquorum_core_signer.groups.derivation import UnusableIndex
from keyquorum_core_signer.groups.suites import BIP340, ECDSA, FROST_ED25519, FROST_SECP256K1, suite_for
from support.curves import Edwards
from support.vectors import load


@pytest.mark.parametrize("suite", [BIP340, ECDSA, FROST_SECP256K1], ids=lambda suite: suite.scheme)
@pytest.mark.parametrize("case", load("bip32_public_derivation")["cases"], ids=lambda case: case["comment"])
def test_bip32(suite, case):
    """BIP-32's own extended public keys, step by step."""
    key = suite.group.decode_point(bytes.fromhex(case["parent"]["public_key"]))
    chain_code = bytes.fromhex(case["parent"]["chain_code"])
    for child in case["children"]:
        tweak, chain_code = suite.child(key, chain_code, child["index"])
        key = key + suite.group.base_multiply(tweak)
        assert (key.to_bytes().hex(), chain_code.hex()) == (child["public_key"], child["chain_code"])


@pytest.mark.parametrize("case", load("ed25519_additive_derivation")["cases"])
def test_ed25519(case):
    """The figures that clients check themselves against, with the point added by unrelated arithmetic."""
    group = FROST_ED25519.group
    G = Edwards.decode(group.generator.to_bytes())
    key = group.decode_point(bytes.fromhex(case["parent"]["public_key"]))
    chain_code = bytes.fromhex(case["parent"]["chain_code"])
    for child in case["children"]:
        tweak, chain_code = FROST_ED25519.child(key, chain_code, child["index"])
        expected = (Edwards.decode(key.to_bytes()) + tweak.value * G).encode()
        key = key + group.base_multiply(tweak)
        assert key.to_bytes() == expected == bytes.fromhex(child["public_key"])
        assert (tweak.to_bytes().hex(), chain_code.hex()) == (child["tweak"], child["chain_code"])


@pytest.mark.parametrize("scheme", ["eddsa_ed25519", "schnorr_bip340", "ecdsa_secp256k1"])
@pytest.mark.parametrize("index", [-1, 2**31, 2**32])
def test_hardened_indices_are_refused(scheme, index):
    """A hardened child needs the private key, which is nowhere."""
    suite = suite_for(scheme)
    with pytest.raises(UnusableIndex):
        suite.child(suite.group.generator, bytes(32), index)


def test_a_tweak_beyond_the_order_is_refused(monkeypatch):
    """BIP-32: where I_L is not below n there is no child; it is not reduced."""
    monkeypatch.setattr("hmac.digest", lambda *_: b"\xff" * 64)
    with pytest.raises(UnusableIndex):
        BIP340.child(BIP340.group.generator, bytes(32), 0)
