"""Verification of what the coordinator serves: key certificates and address attestations, against the pinned roster.

The coordinator is believed about nothing. A key counts only with the signatures of all its nodes, and only if the
certificate says what this gateway asked for; an address only with the signatures of at least t of them, and only if the
codec installed here derives the same one. The codes in :class:`Refused` are what an operation fails with.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from google.protobuf.message import DecodeError, Message

from keyquorum_gateway.identity import ADDRESS_TAG, KEY_CERTIFICATE_TAG
from keyquorum_gateway.intents import KeyOrder
from keyquorum_gateway.problems import OperationFailed
from keyquorum_gateway.roster import Roster
from keyquorum_plugin_api.codec import Codec
from keyquorum_plugin_api.errors import ChainError
from keyquorum_protos.signer.v1 import intent_pb2
from keyquorum_protos.wallet.v1 import certificate_pb2

M = TypeVar("M", bound=Message)

PUBLIC_KEY_BYTES: Final = {"eddsa_ed25519": 32, "schnorr_bip340": 33, "ecdsa_secp256k1": 33}
_VERSION: Final = 1
_HASH_BYTES: Final = 32
_STATEMENT_BYTES_MAX: Final = 64 * 1024


class Refused(OperationFailed):
    """A statement does not prove what it should. ``code`` is ``certificate-refused`` or ``attestation-refused``."""


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """What a verified certificate proves."""

    cell_id: str
    tenant_id: str
    wallet_id: str
    user_id: str
    key_id: str
    scheme: str
    threshold: int
    node_ids: tuple[str, ...]
    public_key: bytes
    chain_code: bytes
    epoch: int
    imported: bool
    policy: intent_pb2.Policy = field(hash=False)  # messages are not hashable; equality looks at it
    intent_hash: bytes
    certificate_hash: bytes


@dataclass(frozen=True, slots=True)
class VerifiedAddress:
    """What a verified attestation proves: that the parties derive this address from the certified key."""

    path: tuple[int, ...]
    chain: str
    address: str
    public_key: bytes
    codec_name: str
    signers: tuple[str, ...]


def verify_certificate(signed: bytes, roster: Roster) -> VerifiedKey:
    """Check a serialized ``SignedKeyCertificate``; :class:`Refused` unless every one of its nodes signed it."""
    code = "certificate-refused"
    envelope = _parse(certificate_pb2.SignedKeyCertificate, signed, code)
    certificate = _parse(certificate_pb2.KeyCertificate, envelope.certificate, code)
    node_ids = tuple(certificate.node_ids)
    _require(certificate.version == _VERSION, code, "unknown version")
    _require(certificate.cell_id == roster.cell_id, code, "of another cell")
    _require(certificate.roster_hash == roster.roster_hash, code, "made under another roster")
    _require(len(set(node_ids)) == len(node_ids) >= certificate.threshold >= 2, code, "committee and threshold")
    _require([roster.index_of(node_id) for node_id in node_ids] == list(certificate.indices), code, "foreign committee")
    _require(certificate.epoch >= 1, code, "epochs count from 1")
    _require(
        len(certificate.public_key) == PUBLIC_KEY_BYTES.get(certificate.scheme),
        code,
        "scheme and public key do not fit",
    )
    _require(len(certificate.chain_code) == _HASH_BYTES, code, "chain code")
    _require(tuple(s.node_id for s in envelope.signatures) == node_ids, code, "not signed by exactly its nodes")
    for signature in envelope.signatures:
        valid = roster.signed_by(signature.node_id, KEY_CERTIFICATE_TAG, envelope.certificate, signature.signature)
        _require(valid, code, f"the signature of {signature.node_id} does not verify")
    return VerifiedKey(
        cell_id=certificate.cell_id,
        tenant_id=certificate.tenant_id,
        wallet_id=certificate.wallet_id,
        user_id=certificate.user_id,
        key_id=certificate.key_id,
        scheme=certificate.scheme,
        threshold=certificate.threshold,
        node_ids=node_ids,
        public_key=certificate.public_key,
        chain_code=certificate.chain_code,
        epoch=certificate.epoch,
        imported=certificate.imported,
        policy=certificate.policy,
        intent_hash=certificate.intent_hash,
        certificate_hash=hashlib.sha256(envelope.certificate).digest(),
    )


def verify_order(key: VerifiedKey, order: KeyOrder, tenant_id: str, ordered_by: bytes) -> None:
    """Check that a verified key is the ordered one: nothing else, nothing older. ``ordered_by`` is the intent's hash."""
    expected = (
        ("tenant", tenant_id, key.tenant_id),
        ("wallet", order.wallet_id, key.wallet_id),
        ("user", order.user_id, key.user_id),
        ("key", order.key_id, key.key_id),
        ("scheme", order.scheme, key.scheme),
        ("threshold", order.threshold, key.threshold),
        ("committee", order.node_ids, key.node_ids),
        ("policy", order.policy.to_proto(), key.policy),
        ("intent", ordered_by, key.intent_hash),
        ("epoch", 1, key.epoch),
        ("origin", False, key.imported),
    )
    for what, asked, certified in expected:
        _require(asked == certified, "certificate-refused", f"{what}: not what was asked for")


def verify_attestation(signed: bytes, key: VerifiedKey, roster: Roster) -> VerifiedAddress:
    """Check a serialized ``SignedAddressAttestation`` about a verified key; :class:`Refused` without t valid signatures."""
    code = "attestation-refused"
    envelope = _parse(certificate_pb2.SignedAddressAttestation, signed, code)
    attestation = _parse(certificate_pb2.AddressAttestation, envelope.attestation, code)
    signers = tuple(signature.node_id for signature in envelope.signatures)
    _require(attestation.version == _VERSION, code, "unknown version")
    _require(attestation.certificate_hash == key.certificate_hash, code, "about another certificate")
    about = (attestation.cell_id, attestation.wallet_id, attestation.key_id)
    _require(about == (key.cell_id, key.wallet_id, key.key_id), code, "about another key")
    _require(len(attestation.public_key) == len(key.public_key), code, "public key of another scheme")
    path = tuple(attestation.path)
    _require(bool(path) or attestation.public_key == key.public_key, code, "the empty path is the certified key")
    _require(len(set(signers)) == len(signers), code, "a node signed twice")
    _require(set(signers) <= set(key.node_ids), code, "signed by a node without a share")
    _require(len(signers) >= key.threshold, code, f"{len(signers)} signatures, {key.threshold} are needed")
    for signature in envelope.signatures:
        valid = roster.signed_by(signature.node_id, ADDRESS_TAG, envelope.attestation, signature.signature)
        _require(valid, code, f"the signature of {signature.node_id} does not verify")
    return VerifiedAddress(
        path, attestation.chain, attestation.address, attestation.public_key, attestation.codec.name, signers
    )


def verify_derivation(address: VerifiedAddress, codec: Codec, *, path: tuple[int, ...], chain: str) -> None:
    """Check that an attested address is the wanted one, and that our own codec derives it from the attested key."""
    code = "attestation-refused"
    _require(address.path == path, code, "of another path")
    _require(address.chain == chain, code, "of another chain")
    _require(address.codec_name == codec.name, code, "by another codec")
    try:
        derived = codec.derive_address(address.public_key, chain)
    except ChainError as error:
        raise Refused(code, f"the attested public key has no address: {error.detail}") from None
    _require(derived == address.address, code, "the codec derives another address from the attested public key")


def _parse(kind: type[M], data: bytes, code: str) -> M:
    """Parse bytes that must be the one encoding of their message."""
    _require(0 < len(data) <= _STATEMENT_BYTES_MAX, code, "empty or too large")
    try:
        message: Any = kind.FromString(data)
    except DecodeError:
        raise Refused(code, "does not parse") from None
    message.DiscardUnknownFields()
    _require(message.SerializeToString(deterministic=True) == data, code, "not in its canonical encoding")
    return message  # type: ignore[no-any-return]


def _require(condition: bool, code: str, detail: str) -> None:  # noqa: FBT001 - reads as a sentence at every call
    if not condition:
        raise Refused(code, detail)
