"""What holds for every suite and committee, written once."""

import hashlib
from itertools import combinations

import pytest
from coincurve import PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.signing import VerifyKey

from keyquorum_core_signer.groups.secp256k1 import ORDER
from keyquorum_core_signer.groups.suites import BIP340, ECDSA, FROST_ED25519, FROST_SECP256K1
from keyquorum_core_signer.protocols import context
from keyquorum_core_signer.protocols.errors import ProtocolAbort, ProtocolMisuse
from keyquorum_core_signer.protocols.frost import sign as frost
from keyquorum_core_signer.protocols.frost.bip340 import Bip445
from keyquorum_core_signer.protocols.keys import derive
from support.committee import COMMITTEES, dealt, generated, keygen_programs, reconstruct, run, shares_of, sign_programs
from support.committee import context as committee_context
from support.curves import Weierstrass

RFC9591 = [FROST_ED25519, FROST_SECP256K1]
SIGNING = [*RFC9591, BIP340]
KEYS = [*SIGNING, ECDSA]
each_signing = pytest.mark.parametrize("suite", SIGNING, ids=lambda suite: suite.scheme)
each_key = pytest.mark.parametrize("suite", KEYS, ids=lambda suite: suite.scheme)
each_committee = pytest.mark.parametrize(("t", "n"), COMMITTEES, ids=str)


G = FROST_SECP256K1.group.generator.to_bytes()


def tagged_sha256(tag, data):
    """BIP-340's hash, once more."""
    return hashlib.sha256(hashlib.sha256(tag.encode()).digest() * 2 + data).digest()


def verify_elsewhere(suite, public_key, message, signature):
    """Verify a child's signature with libraries that had no part in it; raise if it is bad."""
    if suite is FROST_ED25519:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)  # OpenSSL
        VerifyKey(public_key).verify(message, signature)  # libsodium
        return
    if suite is BIP340:
        output = PublicKeyXOnly(public_key[1:])
        output.tweak_add(tagged_sha256("TapTweak", public_key[1:]))
        assert output.verify(signature, message)  # libsecp256k1, with a tweak of its own making
        R, Q = (Weierstrass.decode(b"\x02" + x) for x in (signature[:32], output.format()))
        e = int.from_bytes(tagged_sha256("BIP0340/challenge", signature[:32] + output.format() + message), "big")
        assert int.from_bytes(signature[32:], "big") * Weierstrass.decode(G) == R + e % ORDER * Q
        return
    R, z = Weierstrass.decode(signature[:33]), int.from_bytes(signature[33:], "big")
    c = suite.h2(signature[:33] + public_key + message).value
    assert 0 < z < ORDER
    assert z * Weierstrass.decode(G) == R + c * Weierstrass.decode(public_key)


@each_key
@each_committee
def test_all_agree_on_the_key(suite, t, n):
    """One public package, one statement, one transcript at every party; each share is the one of its public share."""
    results = generated(suite, t, n)
    assert len(results) == n
    first = results[1]
    for party, result in results.items():
        assert (result.share.public, result.statement, result.signatures) == (
            first.share.public,
            first.statement,
            first.signatures,
        )
        assert result.transcript == first.transcript
        assert suite.group.base_multiply(result.share.secret) == first.share.public.public_share(party)
    assert [party for party, _ in first.signatures] == list(range(1, n + 1))


@each_key
@each_committee
def test_any_threshold_of_shares_is_the_key(suite, t, n):
    """Every t shares interpolate to the secret of the public key; no t - 1 do."""
    shares = [result.share for result in generated(suite, t, n).values()]
    key = shares[0].public.public_key
    for subset in list(combinations(shares, t))[:20]:
        assert suite.group.base_multiply(reconstruct(subset)) == key
    for subset in list(combinations(shares, t - 1))[:20]:
        assert suite.group.base_multiply(reconstruct(subset)) != key


@each_signing
@each_committee
def test_any_threshold_of_parties_signs(suite, t, n):
    """Every quorum, and one that is larger than needed, makes a signature that unrelated code accepts."""
    quorums = list(combinations(range(1, n + 1), t))
    quorums = quorums[:: max(1, len(quorums) // 3)]
    if n > t:
        quorums.append(tuple(range(1, t + 2)))
    for seed, quorum in enumerate(quorums):
        shares = shares_of(suite, t, n, quorum)
        messages = ((b"pay", ()), (b"pay", (0, 7)), (b"", (2**31 - 1,)))
        simulator = run(suite, sign_programs(suite, shares, messages, seed), seed)
        assert len(simulator.results) == len(quorum), simulator.failures
        assert len(set(simulator.results.values())) == 1
        for (message, path), signature in zip(messages, simulator.results[quorum[0]], strict=True):
            child = derive(suite, shares[0].public, path)[1]
            verify_elsewhere(suite, child.public_key.to_bytes(), message, signature)


@each_signing
@each_committee
def test_fewer_than_threshold_are_refused(suite, t, n):
    """t - 1 signers do not even draw a nonce."""
    shares = shares_of(suite, t, n)[: t - 1]
    for share in shares:
        ctx = committee_context(suite, "frost/v1", share.party, [share.party for share in shares], t)
        with pytest.raises(ProtocolMisuse):
            next(frost.sign(ctx, suite, share, ((b"pay", ()),), pytest.fail))


@each_signing
@each_committee
def test_fewer_than_threshold_cannot_even_without_the_check(suite, t, n, monkeypatch):
    """With the count checks lifted t - 1 signers still get no signature: the mathematics refuses, not the counter."""
    shares = shares_of(suite, t, n)[: t - 1]
    bound = context.bind

    def lenient(ctx, suite, protocol):
        parties = tuple(range(1, n + 1))
        return bound(
            type(ctx)(**{name: getattr(ctx, name) for name in ctx.__slots__} | {"parties": parties}), suite, protocol
        )

    monkeypatch.setattr(frost, "bind", lenient)
    monkeypatch.setattr(Bip445, "validate", lambda *_: None)
    simulator = run(suite, sign_programs(suite, shares, ((b"pay", ()),)))
    assert not simulator.results
    assert len(simulator.failures) == t - 1


@each_signing
def test_order_of_delivery_does_not_matter(suite):
    """Any interleaving gives the same key and the same signature."""
    keys, signatures = set(), set()
    for seed in range(8):
        results = run(suite, keygen_programs(suite, 2, (1, 2, 3)), seed).results
        assert len(results) == 3
        keys.add(results[1].share.public.public_key)
        shares = [results[1].share, results[3].share]
        signatures.add(run(suite, sign_programs(suite, shares, ((b"pay", ()),)), seed).results[3])
    assert len(keys) == len(signatures) == 1


@each_signing
def test_randomness_and_session_change_everything(suite):
    """Another seed gives another key; another session with the same seed another chain code and commitment."""
    one, two = (run(suite, keygen_programs(suite, 2, (1, 2), seed)).results[1].share.public for seed in (1, 2))
    other = run(suite, keygen_programs(suite, 2, (1, 2), 1, session_id=b"\x09" * 32)).results[1].share.public
    assert one.public_key != two.public_key
    assert one.chain_code not in (two.chain_code, other.chain_code)


@each_signing
def test_parties_need_not_be_consecutive(suite):
    """Indices are the roster's, with gaps."""
    results = run(suite, keygen_programs(suite, 2, (2, 5, 60))).results
    shares = [results[2].share, results[60].share]
    assert len(run(suite, sign_programs(suite, shares, ((b"pay", ()),))).results) == 2


def test_schemes_without_frost_do_not_sign():
    """A key of another scheme is never used with FROST, whose signatures no chain of that scheme accepts."""
    simulator = run(ECDSA, sign_programs(ECDSA, shares_of(ECDSA, 2, 3), ((b"pay", ()),)))
    assert {type(failure) for failure in simulator.failures.values()} == {ProtocolMisuse}


@pytest.mark.parametrize("suite", RFC9591, ids=lambda suite: suite.scheme)
def test_a_wrong_share_is_found_out_by_everybody(suite):
    """A signer whose share is of another polynomial is blamed by the others and knows that it is its own fault."""
    right = dealt(suite, [suite.group.scalar(5), suite.group.scalar(6)], 3)
    wrong = dealt(suite, [suite.group.scalar(5), suite.group.scalar(7)], 3)
    impostor = type(right[1])(right[1].party, wrong[1].secret, right[1].public, "key-1", 1)
    failures = run(suite, sign_programs(suite, [right[0], impostor], ((b"pay", ()),))).failures
    assert isinstance(failures[1], ProtocolAbort)
    assert failures[1].culprits == (2,)
    assert isinstance(failures[2], ProtocolMisuse)
