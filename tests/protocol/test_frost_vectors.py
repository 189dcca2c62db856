"""RFC 9591's vectors, byte for byte, with every intermediate value."""

from dataclasses import dataclass

import pytest

from keyquorum_core_signer.groups.suites import FROST_ED25519, FROST_SECP256K1
from keyquorum_core_signer.primitives import shamir, vss
from keyquorum_core_signer.protocols.frost.messages import FrostCommitments, FrostShares, NonceCommitment
from keyquorum_core_signer.protocols.frost.rfc9591 import binding_factor_inputs, generate_nonce, prepare
from keyquorum_core_signer.protocols.frost.sign import sign
from keyquorum_core_signer.protocols.keys import KeyShare, PublicKeyPackage
from keyquorum_core_signer.protocols.rounds import Inbox
from support.committee import context
from support.vectors import load

VECTORS = [
    pytest.param(FROST_ED25519, load("frost_ed25519_sha512"), id="ed25519"),
    pytest.param(FROST_SECP256K1, load("frost_secp256k1_sha256"), id="secp256k1"),
]
each_vector = pytest.mark.parametrize(("suite", "vector"), VECTORS)


@dataclass(frozen=True)
class Figures:
    """One vector as objects."""

    suite: object
    vector: dict
    message: bytes
    shares: dict
    commitments: dict


def read(suite, vector):
    """Check the dealer's part, which is the RFC's appendix C, on the way."""
    group, key = suite.group, vector["key"]
    secret, *rest = (group.decode_scalar(bytes.fromhex(text)) for text in (key["secret"], *key["coefficients"]))
    polynomial = [secret, *rest]
    commitment = vss.commit(polynomial)
    assert commitment[0].to_bytes().hex() == key["public"]
    indices = [int(text) for text in key["shares"]]
    public = PublicKeyPackage(
        commitment[0], bytes(32), tuple((i, vss.public_share(commitment, i)) for i in indices), vector["threshold"]
    )
    shares = {i: KeyShare(i, shamir.evaluate(polynomial, i), public, "key-1", 1) for i in indices}
    assert {str(i): share.secret.to_bytes().hex() for i, share in shares.items()} == key["shares"]
    commitments = {
        signer["identifier"]: NonceCommitment(
            group.decode_point(bytes.fromhex(signer["hiding_commitment"])),
            group.decode_point(bytes.fromhex(signer["binding_commitment"])),
        )
        for signer in vector["signers"]
    }
    return Figures(suite, vector, bytes.fromhex(vector["message"]), shares, commitments)


def replay(*texts):
    """An rng that gives exactly these bytes, in order, and no more."""
    chunks = [bytes.fromhex(text) for text in texts]

    def rng(length):
        chunk = chunks.pop(0)
        assert len(chunk) == length
        return chunk

    return rng


@each_vector
def test_nonces(suite, vector):
    """nonce_generate and the commitments to its results."""
    figures = read(suite, vector)
    for signer in vector["signers"]:
        secret = figures.shares[signer["identifier"]].secret
        for name in ("hiding", "binding"):
            nonce = generate_nonce(suite, secret, replay(signer[f"{name}_randomness"]))
            assert nonce.to_bytes().hex() == signer[f"{name}_nonce"]
            assert suite.group.base_multiply(nonce).to_bytes().hex() == signer[f"{name}_commitment"]


@each_vector
def test_binding_factors(suite, vector):
    """The hash inputs and the factors of both signers."""
    figures = read(suite, vector)
    key = figures.shares[1].public.public_key
    inputs = binding_factor_inputs(suite, key, figures.message, figures.commitments)
    package = prepare(suite, key, figures.message, figures.commitments)
    for signer in vector["signers"]:
        assert inputs[signer["identifier"]].hex() == signer["binding_factor_input"]
        assert package.binding_factors[signer["identifier"]].to_bytes().hex() == signer["binding_factor"]
    assert package.R.to_bytes().hex() == vector["signature"][: 2 * suite.group.element_length]


@each_vector
def test_whole_protocol(suite, vector):
    """The protocol itself, fed the RFC's randomness, sends the RFC's commitments and shares and ends in its signature."""
    figures = read(suite, vector)
    signers = {signer["identifier"]: signer for signer in vector["signers"]}
    programs, first, second = {}, {}, {}
    for i, signer in signers.items():
        programs[i] = sign(
            context(suite, "frost/v1", i, tuple(signers), vector["threshold"]),
            suite,
            figures.shares[i],
            ((figures.message, ()),),
            replay(signer["hiding_randomness"], signer["binding_randomness"]),
        )
        first[i] = next(programs[i]).to_all
        assert first[i] == FrostCommitments((figures.commitments[i],))
    for i, signer in signers.items():
        second[i] = programs[i].send(Inbox({j: message for j, message in first.items() if j != i})).to_all
        assert isinstance(second[i], FrostShares)
        assert [share.to_bytes().hex() for share in second[i].shares] == [signer["signature_share"]]
    for i in signers:
        with pytest.raises(StopIteration) as stop:
            programs[i].send(Inbox({j: message for j, message in second.items() if j != i}))
        assert [signature.hex() for signature in stop.value.value] == [vector["signature"]]
