"""The last look: which report is taken, who is named, and when nothing is."""

import hashlib
import hmac
from types import SimpleNamespace

import pytest
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyquorum_core_signer.coordinator.taproot import signature_verifies
from keyquorum_core_signer.coordinator.verification import judge_signatures
from keyquorum_core_signer.intents.effects import MessageToSign
from keyquorum_core_signer.intents.intent import Sign
from keyquorum_protos.party.v1 import party_pb2

KEY = Ed25519PrivateKey.generate()
CERTIFICATE = SimpleNamespace(scheme="eddsa_ed25519", public_key=KEY.public_key().public_bytes_raw())
ECDSA = SimpleNamespace(scheme="ecdsa_secp256k1", public_key=b"\x02" + bytes(32))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
L = 2**252 + 27742317777372353535851937790883648493


def command(*paths):
    messages = tuple(MessageToSign(bytes([i]), path) for i, path in enumerate(paths))
    return Sign("key_1", "eddsa_ed25519", messages)


def reports(**by_node):
    return {node: party_pb2.SessionResult(signatures=signatures) for node, signatures in by_node.items()}


def good(order):
    return tuple(KEY.sign(m.message) if not m.path else b"derived" * 9 for m in order.messages)


@pytest.mark.parametrize("paths", [[()], [(), ()], [(0,)], [(), (1, 2)]])
def test_equal_reports_that_hold_are_taken(paths):
    """Whatever the paths, nobody is named."""
    order = command(*paths)
    verdict = judge_signatures(order, CERTIFICATE, reports(a=good(order), b=good(order), c=good(order)))
    assert (verdict.signatures, verdict.dissenters) == (good(order), ())


def malleable(signature):
    s = int.from_bytes(signature[32:], "little") + L
    return signature[:32] + s.to_bytes(32, "little")


@pytest.mark.parametrize(
    "bad",
    [
        (bytes(64),),
        (),
        (b"",),
        (KEY.sign(b"\x00"),) * 2,
        (KEY.sign(b"another message"),),
        (malleable(KEY.sign(b"\x00")),),
        (KEY.sign(b"\x00") + b"\x00",),
        (bytes(129),),
    ],
    ids=["zeros", "none", "empty", "two", "other message", "s + L", "trailing", "too long"],
)
def test_a_report_that_does_not_hold_names_its_party(bad):
    """One that holds is enough, in whatever order they came."""
    order = command(())
    for results in (reports(a=bad, b=good(order)), reports(b=good(order), a=bad)):
        verdict = judge_signatures(order, CERTIFICATE, results)
        assert (verdict.signatures, verdict.dissenters, verdict.proven) == (good(order), ("a",), True)


def test_when_none_holds_all_are_proven_wrong():
    """Nothing is taken."""
    order = command(())
    verdict = judge_signatures(order, CERTIFICATE, reports(a=(bytes(64),), b=(bytes(64),)))
    assert (verdict.signatures, verdict.dissenters, verdict.proven) == (None, ("a", "b"), True)


def test_below_a_path_any_difference_takes_nothing_and_proves_nothing():
    """The coordinator cannot tell who is right there."""
    order = command((7,))
    verdict = judge_signatures(order, CERTIFICATE, reports(a=(b"x" * 64,), b=(b"y" * 64,), c=(b"x" * 64,)))
    assert (verdict.signatures, verdict.dissenters, verdict.proven) == (None, ("a", "b", "c"), False)


def test_a_wrong_part_above_a_path_is_seen_even_if_all_agree():
    """Equality does not make an invalid signature valid."""
    order = command((), (1,))
    report = (bytes(64), b"z" * 64)
    verdict = judge_signatures(order, CERTIFICATE, reports(a=report, b=report))
    assert verdict.signatures is None


@pytest.mark.parametrize("agree", [True, False])
def test_other_schemes_are_taken_when_all_agree(agree):
    """Their signatures are for the parties and the gateway to verify."""
    order = Sign("key_1", "ecdsa_secp256k1", (MessageToSign(bytes(32)),))
    one, other = (b"s" * 65,), (b"s" * 65,) if agree else (b"t" * 65,)
    verdict = judge_signatures(order, ECDSA, reports(a=one, b=other))
    assert (verdict.signatures == one) is agree
    assert verdict.dissenters == (() if agree else ("a", "b"))


def test_a_certificate_whose_key_is_no_point_verifies_nothing():
    """It is treated as a signature that does not hold."""
    order = command(())
    broken = SimpleNamespace(scheme="eddsa_ed25519", public_key=b"\xff" * 32)
    assert judge_signatures(order, broken, reports(a=good(order))).signatures is None


TAPROOT_KEY = PrivateKey(bytes(31) + b"\x05")
TAPROOT = SimpleNamespace(
    scheme="schnorr_bip340", public_key=TAPROOT_KEY.public_key.format(), chain_code=bytes(range(32))
)
DIGESTS = (bytes([1]) * 32, bytes([2]) * 32)


def taproot_signature(path, message, *, tweaked=True):
    """By the secret key behind the output: BIP-32 and BIP-341 on secrets, as a single signer does them."""
    key, chain_code = TAPROOT_KEY, TAPROOT.chain_code
    for index in path:
        digest = hmac.digest(chain_code, key.public_key.format() + index.to_bytes(4, "big"), hashlib.sha512)
        key, chain_code = key.add(digest[:32]), digest[32:]
    internal = key.public_key.format()
    if tweaked:
        tag = hashlib.sha256(b"TapTweak").digest()
        even = key if internal[0] == 2 else PrivateKey.from_int(ORDER - key.to_int())
        key = even.add(hashlib.sha256(tag + tag + internal[1:]).digest())
    return key.sign_schnorr(message)


@pytest.mark.parametrize("paths", [[(), ()], [(), (0, 7)], [(1,), (2**31 - 1,)]])
def test_taproot_signatures_are_verified_at_every_path(paths):
    """One report that holds is enough, and who reported another is proven wrong: also below a path."""
    order = Sign("key_1", "schnorr_bip340", tuple(map(MessageToSign, DIGESTS, paths)))
    right = tuple(map(taproot_signature, paths, DIGESTS))
    wrong = [
        (right[1], right[0]),
        (right[0], taproot_signature(paths[1], DIGESTS[1], tweaked=False)),
        (right[0], bytes(64)),
        (right[0], b"short"),
        right[:1],
    ]
    for bad in wrong:
        verdict = judge_signatures(order, TAPROOT, reports(a=bad, b=right))
        assert (verdict.signatures, verdict.dissenters, verdict.proven) == (right, ("a",), True)
    assert judge_signatures(order, TAPROOT, reports(a=wrong[1], b=wrong[1])).signatures is None


@pytest.mark.parametrize(
    ("key", "path"), [(b"\x02" + bytes(32), ()), (b"", ()), (TAPROOT.public_key, (2**31,)), (TAPROOT.public_key, (-1,))]
)
def test_a_taproot_key_without_an_output_verifies_nothing(key, path):
    """A key that is no point, and a hardened index, give no output to verify for."""
    assert not signature_verifies(key, bytes(32), path, DIGESTS[0], bytes(64))
