"""The last look: which report is taken, who is named, and when nothing is."""

from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyquorum_core_signer.coordinator.verification import judge_signatures
from keyquorum_core_signer.intents.effects import MessageToSign
from keyquorum_core_signer.intents.intent import Sign
from keyquorum_protos.party.v1 import party_pb2

KEY = Ed25519PrivateKey.generate()
CERTIFICATE = SimpleNamespace(scheme="eddsa_ed25519", public_key=KEY.public_key().public_bytes_raw())
ECDSA = SimpleNamespace(scheme="ecdsa_secp256k1", public_key=b"\x02" + bytes(32))
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
