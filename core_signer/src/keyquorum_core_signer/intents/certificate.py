"""Key certificates: what all parties of a key sign once its key generation is done.

A certificate is valid only with a signature of every one of its nodes, by the identity keys of the pinned roster.
Whether the public shares lie on the public key's polynomial is for the parties, who know the curve, to check.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from keyquorum_core_signer.intents import fields
from keyquorum_core_signer.intents.intent import CreateKey, Intent
from keyquorum_core_signer.intents.limits import CERTIFICATE_BYTES_MAX, PARTIES_MAX, THRESHOLD_MIN
from keyquorum_core_signer.intents.policy import Policy, policy_from_proto, policy_to_proto
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.wire.identity import KEY_CERTIFICATE_TAG
from keyquorum_protos.wallet.v1 import certificate_pb2

_INDEX_MAX = 2**16 - 1  # as in the roster


@dataclass(frozen=True, slots=True)
class KeyCertificate:
    """What the parties of a key agree on; ``node_ids``, ``indices`` and ``public_shares`` go together."""

    cell_id: str
    tenant_id: str
    wallet_id: str
    user_id: str
    key_id: str
    scheme: str
    threshold: int
    node_ids: tuple[str, ...]
    indices: tuple[int, ...]
    public_key: bytes
    chain_code: bytes
    public_shares: tuple[bytes, ...]
    roster_hash: bytes
    epoch: int
    policy: Policy
    intent_hash: bytes
    transcript_hash: bytes
    imported: bool = False
    protocol: str = ""  # what signs with the key; empty for the scheme's own

    @property
    def signing_protocol(self) -> str:
        """What signs with the key, by name."""
        return fields.protocol_of(self.scheme, self.protocol)


def build_certificate(
    intent: Intent,
    intent_hash: bytes,
    roster: Roster,
    *,
    public_key: bytes,
    chain_code: bytes,
    public_shares: Sequence[bytes],
    transcript_hash: bytes,
) -> KeyCertificate:
    """State what an admitted create_key intent and its key generation made; epoch 1.

    ``public_shares`` are in the order of the intent's ``node_ids``. Raises TypeError for an intent of another kind.
    """
    command = intent.command
    if not isinstance(command, CreateKey):
        raise TypeError("only a create_key intent makes a key")
    return KeyCertificate(
        cell_id=intent.cell_id,
        tenant_id=intent.tenant_id,
        wallet_id=command.wallet_id,
        user_id=command.user_id,
        key_id=command.key_id,
        scheme=command.scheme,
        threshold=command.threshold,
        node_ids=command.node_ids,
        indices=tuple(roster.node(node_id).index for node_id in command.node_ids),
        public_key=public_key,
        chain_code=chain_code,
        public_shares=tuple(public_shares),
        roster_hash=roster.roster_hash,
        epoch=1,
        policy=command.policy,
        intent_hash=intent_hash,
        transcript_hash=transcript_hash,
        protocol=command.protocol,
    )


def encode_certificate(certificate: KeyCertificate) -> bytes:
    """The exact bytes that every party signs; the inverse of :func:`parse_certificate`."""
    return certificate_pb2.KeyCertificate(
        version=fields.FORMAT_VERSION,
        cell_id=certificate.cell_id,
        tenant_id=certificate.tenant_id,
        wallet_id=certificate.wallet_id,
        user_id=certificate.user_id,
        key_id=certificate.key_id,
        scheme=certificate.scheme,
        threshold=certificate.threshold,
        node_ids=certificate.node_ids,
        indices=certificate.indices,
        public_key=certificate.public_key,
        chain_code=certificate.chain_code,
        public_shares=certificate.public_shares,
        roster_hash=certificate.roster_hash,
        epoch=certificate.epoch,
        policy=policy_to_proto(certificate.policy),
        intent_hash=certificate.intent_hash,
        transcript_hash=certificate.transcript_hash,
        imported=certificate.imported,
        protocol=certificate.protocol,
    ).SerializeToString(deterministic=True)


def parse_certificate(data: bytes) -> KeyCertificate:
    """Read certificate bytes strictly; raises IntentError. Proves nothing about who signed them."""
    message = fields.parse_canonical(certificate_pb2.KeyCertificate, data, CERTIFICATE_BYTES_MAX)
    fields.version(message.version, "certificate")
    scheme = fields.scheme(message.scheme, "scheme")
    key_bytes = fields.PUBLIC_KEY_BYTES[scheme]
    fields.count(message.node_ids, THRESHOLD_MIN, PARTIES_MAX, "node_ids")
    parties = len(message.node_ids)
    fields.count(message.indices, parties, parties, "indices")
    fields.count(message.public_shares, parties, parties, "public_shares")
    node_ids = tuple(fields.name(node_id, "node_ids") for node_id in message.node_ids)
    fields.distinct(node_ids, "node_ids")
    indices = tuple(message.indices)
    if not all(low < high for low, high in zip((0, *indices), (*indices, _INDEX_MAX + 1), strict=True)):
        raise fields.invalid("indices: not ascending from 1")
    if not THRESHOLD_MIN <= message.threshold <= parties:
        raise fields.invalid(f"threshold: {THRESHOLD_MIN} to {parties} are allowed")
    if message.epoch < 1:
        raise fields.invalid("epoch: counted from 1")
    return KeyCertificate(
        cell_id=fields.name(message.cell_id, "cell_id"),
        tenant_id=fields.name(message.tenant_id, "tenant_id"),
        wallet_id=fields.opaque(message.wallet_id, "wal_", "wallet_id"),
        user_id=fields.user(message.user_id, "user_id"),
        key_id=fields.opaque(message.key_id, "key_", "key_id"),
        scheme=scheme,
        threshold=message.threshold,
        node_ids=node_ids,
        indices=indices,
        public_key=fields.exactly(message.public_key, key_bytes, "public_key"),
        chain_code=fields.exactly(message.chain_code, fields.HASH_BYTES, "chain_code"),
        public_shares=tuple(fields.exactly(share, key_bytes, "public_shares") for share in message.public_shares),
        roster_hash=fields.exactly(message.roster_hash, fields.HASH_BYTES, "roster_hash"),
        epoch=message.epoch,
        policy=policy_from_proto(message.policy, "policy"),
        intent_hash=fields.exactly(message.intent_hash, fields.HASH_BYTES, "intent_hash"),
        transcript_hash=fields.exactly(message.transcript_hash, fields.HASH_BYTES, "transcript_hash"),
        imported=message.imported,
        protocol=fields.protocol(message.protocol, scheme, "protocol"),
    )


def certificate_hash(data: bytes) -> bytes:
    """What address attestations name a certificate by: SHA-256 of its exact bytes."""
    return sha256(data).digest()


def assemble_certificate(data: bytes, signatures: Mapping[str, bytes]) -> certificate_pb2.SignedKeyCertificate:
    """Put certificate bytes together with signatures by node id, in the certificate's order of nodes.

    Raises IntentError for bytes that are no certificate, and for a node without a signature.
    """
    node_ids = parse_certificate(data).node_ids
    if not signatures.keys() >= set(node_ids):
        raise fields.invalid("certificate: the signature of a node is missing")
    return certificate_pb2.SignedKeyCertificate(
        certificate=data,
        signatures=[
            certificate_pb2.NodeSignature(node_id=node_id, signature=signatures[node_id]) for node_id in node_ids
        ],
    )


def verify_certificate(signed: certificate_pb2.SignedKeyCertificate, roster: Roster) -> KeyCertificate:
    """Check a certificate against the pinned roster; raises IntentError unless every one of its nodes signed it.

    The certificate must be of this cell and roster, its nodes and indices those of the roster, its signatures exactly
    one per node in the order of the nodes.
    """
    certificate = parse_certificate(signed.certificate)
    if certificate.cell_id != roster.cell_id:
        raise fields.invalid("certificate: of another cell")
    if certificate.roster_hash != roster.roster_hash:
        raise fields.invalid("certificate: made under another roster")
    for node_id, index in zip(certificate.node_ids, certificate.indices, strict=True):
        node = roster.find_node(node_id)
        if node is None or node.index != index:
            raise fields.invalid(f"certificate: {node_id} is not the roster's node {index}")
    if tuple(signature.node_id for signature in signed.signatures) != certificate.node_ids:
        raise fields.invalid("certificate: not signed by exactly its nodes, in their order")
    for signature in signed.signatures:
        if not roster.verify(signature.node_id, KEY_CERTIFICATE_TAG, signed.certificate, signature.signature):
            raise fields.invalid(f"certificate: the signature of {signature.node_id} does not verify")
    return certificate
