"""Address attestations: at least ``t`` parties state that they derived an address from a certified key themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keyquorum_core_signer.intents import fields
from keyquorum_core_signer.intents.certificate import KeyCertificate, certificate_hash, encode_certificate
from keyquorum_core_signer.intents.effects import CodecRef, codec_ref_from_proto, codec_ref_to_proto
from keyquorum_core_signer.intents.limits import CERTIFICATE_BYTES_MAX
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.wire.identity import ADDRESS_TAG
from keyquorum_protos.wallet.v1 import certificate_pb2


@dataclass(frozen=True, slots=True)
class AddressAttestation:
    """That ``address`` on ``chain`` is the one of ``public_key``, the key at ``path`` below the certified key."""

    cell_id: str
    wallet_id: str
    key_id: str
    certificate_hash: bytes
    path: tuple[int, ...]
    chain: str
    address: str
    public_key: bytes
    codec: CodecRef


def build_attestation(
    certificate: KeyCertificate,
    *,
    path: Sequence[int],
    chain: str,
    address: str,
    public_key: bytes,
    codec: CodecRef,
) -> AddressAttestation:
    """State what this party derived; ``public_key`` is the one at ``path``, encoded as in the certificate."""
    return AddressAttestation(
        cell_id=certificate.cell_id,
        wallet_id=certificate.wallet_id,
        key_id=certificate.key_id,
        certificate_hash=certificate_hash(encode_certificate(certificate)),
        path=tuple(path),
        chain=chain,
        address=address,
        public_key=public_key,
        codec=codec,
    )


def encode_attestation(attestation: AddressAttestation) -> bytes:
    """The exact bytes that each party signs; the inverse of :func:`parse_attestation`."""
    return certificate_pb2.AddressAttestation(
        version=fields.FORMAT_VERSION,
        cell_id=attestation.cell_id,
        wallet_id=attestation.wallet_id,
        key_id=attestation.key_id,
        certificate_hash=attestation.certificate_hash,
        path=attestation.path,
        chain=attestation.chain,
        address=attestation.address,
        public_key=attestation.public_key,
        codec=codec_ref_to_proto(attestation.codec),
    ).SerializeToString(deterministic=True)


def parse_attestation(data: bytes) -> AddressAttestation:
    """Read attestation bytes strictly; raises IntentError. Proves nothing about who signed them."""
    message = fields.parse_canonical(certificate_pb2.AddressAttestation, data, CERTIFICATE_BYTES_MAX)
    fields.version(message.version, "attestation")
    if len(message.public_key) not in fields.PUBLIC_KEY_BYTES.values():
        raise fields.invalid("public_key: of no scheme's length")
    return AddressAttestation(
        cell_id=fields.name(message.cell_id, "cell_id"),
        wallet_id=fields.opaque(message.wallet_id, "wal_", "wallet_id"),
        key_id=fields.opaque(message.key_id, "key_", "key_id"),
        certificate_hash=fields.exactly(message.certificate_hash, fields.HASH_BYTES, "certificate_hash"),
        path=fields.path(message.path, "path"),
        chain=fields.caip2(message.chain, "chain"),
        address=fields.address(message.address, "address"),
        public_key=message.public_key,
        codec=codec_ref_from_proto(message.codec, "codec"),
    )


def assemble_attestation(data: bytes, signatures: Mapping[str, bytes]) -> certificate_pb2.SignedAddressAttestation:
    """Put attestation bytes together with signatures by node id; the nodes are sorted by id."""
    return certificate_pb2.SignedAddressAttestation(
        attestation=data,
        signatures=[
            certificate_pb2.NodeSignature(node_id=node_id, signature=signature)
            for node_id, signature in sorted(signatures.items())
        ],
    )


def verify_attestation(
    signed: certificate_pb2.SignedAddressAttestation, certificate: KeyCertificate, roster: Roster
) -> AddressAttestation:
    """Check an attestation about a *verified* certificate; raises IntentError.

    It must name exactly this certificate, and carry signatures of at least ``t`` distinct nodes of the key, none of
    them wrong: whoever assembles one leaves out what does not verify.
    """
    attestation = parse_attestation(signed.attestation)
    if attestation.certificate_hash != certificate_hash(encode_certificate(certificate)):
        raise fields.invalid("attestation: about another certificate")
    about = (attestation.cell_id, attestation.wallet_id, attestation.key_id)
    if about != (certificate.cell_id, certificate.wallet_id, certificate.key_id):
        raise fields.invalid("attestation: about another key than its certificate")
    fields.exactly(attestation.public_key, len(certificate.public_key), "public_key")
    if not attestation.path and attestation.public_key != certificate.public_key:
        raise fields.invalid("attestation: the empty path leads to the certified key itself")
    signers = [signature.node_id for signature in signed.signatures]
    fields.distinct(signers, "attestation.signatures")
    if not set(signers) <= set(certificate.node_ids):
        raise fields.invalid("attestation: signed by a node that holds no share of the key")
    if len(signers) < certificate.threshold:
        raise fields.invalid(f"attestation: {len(signers)} signatures, where {certificate.threshold} are needed")
    for signature in signed.signatures:
        if not roster.verify(signature.node_id, ADDRESS_TAG, signed.attestation, signature.signature):
            raise fields.invalid(f"attestation: the signature of {signature.node_id} does not verify")
    return attestation
