"""Key certificates and address attestations: believed with the right signatures, refused with anything else."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyquorum_core_signer.intents.attestation import (
    assemble_attestation,
    build_attestation,
    encode_attestation,
    parse_attestation,
    verify_attestation,
)
from keyquorum_core_signer.intents.certificate import (
    assemble_certificate,
    build_certificate,
    certificate_hash,
    encode_certificate,
    parse_certificate,
    verify_certificate,
)
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.wire.identity import ADDRESS_TAG, KEY_CERTIFICATE_TAG
from keyquorum_protos.wallet.v1 import certificate_pb2
from support.intents import CHAIN, CODEC, cell, certificate, create_key, sign, signed_certificate

CELL = cell()
ROSTER = CELL.roster
CERTIFICATE = certificate(ROSTER)
ATTESTATION = build_attestation(
    CERTIFICATE, path=(1, 2), chain=CHAIN, address="own-address", public_key=b"\x12" * 32, codec=CODEC
)


def signatures(data: bytes, tag: str, *node_ids: str) -> dict[str, bytes]:
    return {node_id: CELL.identities[node_id].sign(tag, data) for node_id in node_ids}


def attested(data: bytes, *node_ids: str) -> certificate_pb2.SignedAddressAttestation:
    return assemble_attestation(data, signatures(data, ADDRESS_TAG, *node_ids))


def test_a_certificate_signed_by_all_is_believed():
    """What was certified comes back typed."""
    assert verify_certificate(signed_certificate(CELL, CERTIFICATE), ROSTER) == CERTIFICATE
    assert parse_certificate(encode_certificate(CERTIFICATE)) == CERTIFICATE


def test_a_certificate_says_what_was_ordered():
    """Everything that an intent ordered is in it, with the roster's indices."""
    intent = create_key(ROSTER, node_ids=("party-1", "party-3"))
    made = build_certificate(
        intent, b"\x01" * 32, ROSTER, public_key=b"p", chain_code=b"c", public_shares=[b"1", b"3"], transcript_hash=b"t"
    )
    assert (made.node_ids, made.indices, made.epoch, made.imported) == (("party-1", "party-3"), (1, 3), 1, False)
    assert (made.roster_hash, made.policy) == (ROSTER.roster_hash, intent.command.policy)
    with pytest.raises(TypeError):
        build_certificate(
            sign(ROSTER), b"", ROSTER, public_key=b"", chain_code=b"", public_shares=[], transcript_hash=b""
        )


MALFORMED = {
    "cell": {"cell_id": ""},
    "tenant": {"tenant_id": " "},
    "wallet": {"wallet_id": "key_1"},
    "user": {"user_id": ""},
    "key": {"key_id": "wal_1"},
    "scheme": {"scheme": "rsa"},
    "a public key of another scheme": {"scheme": "schnorr_bip340"},
    "threshold of one": {"threshold": 1},
    "threshold over the committee": {"threshold": 4},
    "one node": {"node_ids": ("party-1",), "indices": (1,), "public_shares": (b"\x01" * 32,)},
    "the same node twice": {"node_ids": ("party-1", "party-1", "party-3")},
    "an index short": {"indices": (1, 2)},
    "the same index twice": {"indices": (1, 1, 3)},
    "descending indices": {"indices": (2, 1, 3)},
    "index zero": {"indices": (0, 2, 3)},
    "a huge index": {"indices": (1, 2, 2**16)},
    "a share short": {"public_shares": (b"\x01" * 32,) * 2},
    "a short share": {"public_shares": (b"\x01" * 32, b"\x01" * 31, b"\x01" * 32)},
    "a long public key": {"public_key": b"\x01" * 33},
    "chain code": {"chain_code": b""},
    "roster hash": {"roster_hash": b"\x01"},
    "epoch zero": {"epoch": 0},
    "intent hash": {"intent_hash": b"\x01" * 33},
    "transcript hash": {"transcript_hash": b""},
    "policy": {"policy": replace(CERTIFICATE.policy, initiator_keys=())},
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_certificate_is_refused_whoever_signed_it(case):
    """All parties together cannot certify what no party can use."""
    data = encode_certificate(replace(CERTIFICATE, **MALFORMED[case]))
    signed = certificate_pb2.SignedKeyCertificate(
        certificate=data,
        signatures=[
            certificate_pb2.NodeSignature(node_id=node_id, signature=signature)
            for node_id, signature in signatures(data, KEY_CERTIFICATE_TAG, *CELL.identities).items()
        ],
    )
    with pytest.raises(IntentError):
        verify_certificate(signed, ROSTER)


ELSEWHERE = {
    "another cell": {"cell_id": "cell-other"},
    "another roster": {"roster_hash": b"\x01" * 32},
    "another index": {"indices": (1, 2, 4)},
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_a_certificate_from_elsewhere_is_refused(case):
    """It is of this cell, this roster and these indices, or it proves nothing here."""
    with pytest.raises(IntentError, match="certificate: "):
        verify_certificate(signed_certificate(CELL, replace(CERTIFICATE, **ELSEWHERE[case])), ROSTER)


def test_a_certificate_of_a_node_outside_the_roster_is_refused():
    """A stranger's signature does not help."""
    larger = cell(4)
    made = certificate(larger.roster, roster_hash=ROSTER.roster_hash)
    with pytest.raises(IntentError, match="party-4 is not the roster's node 4"):
        verify_certificate(signed_certificate(larger, made), ROSTER)


def test_every_signature_of_a_certificate_counts():
    """One missing, one too many, one swapped, one for another purpose, one of another node: refused."""
    data = encode_certificate(CERTIFICATE)
    good = signed_certificate(CELL, CERTIFICATE)
    variants = []
    for place in range(3):
        missing = certificate_pb2.SignedKeyCertificate()
        missing.CopyFrom(good)
        del missing.signatures[place]
        wrong = certificate_pb2.SignedKeyCertificate()
        wrong.CopyFrom(good)
        wrong.signatures[place].signature = CELL.identities[f"party-{place + 1}"].sign(ADDRESS_TAG, data)
        foreign = certificate_pb2.SignedKeyCertificate()
        foreign.CopyFrom(good)
        foreign.signatures[place].signature = good.signatures[(place + 1) % 3].signature
        variants += [missing, wrong, foreign]
    twice = certificate_pb2.SignedKeyCertificate()
    twice.CopyFrom(good)
    twice.signatures.add().CopyFrom(good.signatures[0])
    swapped = certificate_pb2.SignedKeyCertificate(certificate=data, signatures=list(good.signatures)[::-1])
    for variant in (*variants, twice, swapped, certificate_pb2.SignedKeyCertificate(certificate=data)):
        with pytest.raises(IntentError):
            verify_certificate(variant, ROSTER)


def test_a_certificate_is_not_assembled_with_a_signature_missing():
    """Whoever collects signatures is told, instead of handing on something that nobody believes."""
    data = encode_certificate(CERTIFICATE)
    with pytest.raises(IntentError, match="missing"):
        assemble_certificate(data, signatures(data, KEY_CERTIFICATE_TAG, "party-1", "party-2"))


@given(data=st.data())
@settings(max_examples=200)
def test_any_changed_byte_of_a_certificate_is_refused(data):
    """No byte of a certified statement can be changed under its signatures."""
    signed = signed_certificate(CELL, CERTIFICATE)
    changed = bytearray(signed.certificate)
    place = data.draw(st.integers(0, len(changed) - 1))
    changed[place] ^= data.draw(st.integers(1, 255))
    signed.certificate = bytes(changed)
    with pytest.raises(IntentError):
        verify_certificate(signed, ROSTER)


def test_an_attestation_by_a_quorum_is_believed():
    """Any t nodes of the key will do, and more are welcome."""
    data = encode_attestation(ATTESTATION)
    assert parse_attestation(data) == ATTESTATION
    assert ATTESTATION.certificate_hash == certificate_hash(encode_certificate(CERTIFICATE))
    for quorum in [("party-1", "party-2"), ("party-3", "party-2"), ("party-1", "party-2", "party-3")]:
        assert verify_attestation(attested(data, *quorum), CERTIFICATE, ROSTER) == ATTESTATION


ATTESTATION_REFUSED = {
    "another key": {"key_id": "key_2"},
    "another wallet": {"wallet_id": "wal_2"},
    "another cell": {"cell_id": "cell-other"},
    "another certificate": {"certificate_hash": b"\x01" * 32},
    "a public key of another length": {"public_key": b"\x01" * 33},
    "a public key of no length": {"public_key": b""},
    "another key at the empty path": {"path": ()},
    "a hardened path": {"path": (2**31,)},
    "no chain": {"chain": ""},
    "no address": {"address": ""},
    "no codec": {"codec": replace(CODEC, name="")},
}


@pytest.mark.parametrize("case", ATTESTATION_REFUSED)
def test_an_attestation_about_something_else_is_refused(case):
    """It is about exactly this certificate, in its one form, whoever signed it."""
    data = encode_attestation(replace(ATTESTATION, **ATTESTATION_REFUSED[case]))
    with pytest.raises(IntentError):
        verify_attestation(attested(data, *CELL.identities), CERTIFICATE, ROSTER)


def test_the_empty_path_leads_to_the_certified_key():
    """At the root, the attested key is the certificate's own."""
    data = encode_attestation(replace(ATTESTATION, path=(), public_key=CERTIFICATE.public_key))
    assert verify_attestation(attested(data, "party-1", "party-2"), CERTIFICATE, ROSTER).path == ()


def test_an_attestation_needs_t_good_signatures_and_no_bad_one():
    """Fewer, twice the same, a stranger, a node without a share, or a wrong one beside enough good ones: refused."""
    data = encode_attestation(ATTESTATION)
    good = attested(data, "party-1", "party-2")
    twice = certificate_pb2.SignedAddressAttestation(attestation=data, signatures=[good.signatures[0]] * 2)
    wrong = attested(data, "party-1", "party-2", "party-3")
    wrong.signatures[2].signature = wrong.signatures[0].signature
    other_tag = assemble_attestation(data, signatures(data, KEY_CERTIFICATE_TAG, "party-1", "party-2"))
    stranger = attested(data, "party-1")
    stranger.signatures.add(node_id="party-9", signature=good.signatures[0].signature)
    for signed in (attested(data, "party-1"), attested(data), twice, wrong, other_tag, stranger):
        with pytest.raises(IntentError):
            verify_attestation(signed, CERTIFICATE, ROSTER)


def test_a_node_without_a_share_does_not_attest():
    """A node of the roster that is not of the key's committee has nothing to say about it."""
    two = certificate(
        ROSTER, node_ids=("party-1", "party-2"), indices=(1, 2), public_shares=(b"\x01" * 32, b"\x02" * 32)
    )
    data = encode_attestation(replace(ATTESTATION, certificate_hash=certificate_hash(encode_certificate(two))))
    assert verify_attestation(attested(data, "party-1", "party-2"), two, ROSTER)
    with pytest.raises(IntentError, match="no share"):
        verify_attestation(attested(data, "party-1", "party-3"), two, ROSTER)


def test_statements_do_not_stand_for_each_other():
    """The bytes of one kind of statement never parse as another."""
    with pytest.raises(IntentError):
        parse_attestation(encode_certificate(CERTIFICATE))
    with pytest.raises(IntentError):
        parse_certificate(encode_attestation(ATTESTATION))
