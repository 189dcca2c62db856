"""Whether what the parties report holds: the last look before an operation is called complete.

Nobody believes the coordinator's look: parties verify what they aggregate, gateways and clients verify on their own.
It is here so that a party that reports something else is noticed, named and left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyquorum_core_signer.coordinator.limits import RESULT_BYTES_MAX, SIGNATURE_BYTES_MAX
from keyquorum_core_signer.coordinator.operation import Order
from keyquorum_core_signer.coordinator.registry import RegisteredKey
from keyquorum_core_signer.intents.certificate import KeyCertificate, verify_certificate
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.intents.intent import CreateKey, Sign
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_protos.party.v1 import party_pb2

ED25519: Final = "eddsa_ed25519"

Signatures = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SignaturesVerdict:
    """The signatures to hand out, or None; who reported others, and whether that proves something about each of them."""

    signatures: Signatures | None
    dissenters: tuple[str, ...]
    proven: bool


@dataclass(frozen=True, slots=True)
class KeyVerdict:
    """The key to register, or None; and who reported anything else."""

    key: RegisteredKey | None
    dissenters: tuple[str, ...] = ()


def judge_signatures(
    command: Sign, certificate: KeyCertificate, results: Mapping[str, party_pb2.SessionResult]
) -> SignaturesVerdict:
    """Compare what the parties of one session report; all honest ones report the same bytes.

    Where a message is signed by the certified key itself (Ed25519, empty path) OpenSSL decides which report holds, and
    one that holds is enough: a liar does not undo it. Below a path, and for other schemes, only equality can be seen
    from here; then any difference makes everybody a suspect.
    """
    reports = {node_id: tuple(result.signatures) for node_id, result in results.items()}
    distinct = {report for report in set(reports.values()) if _holds(command, certificate, report)}
    if not distinct or (not _all_checkable(command, certificate) and len(set(reports.values())) > 1):
        return SignaturesVerdict(None, tuple(sorted(reports)), proven=not distinct)
    # Several that hold are as good as one: they sign the same messages. The most reported one is the session's.
    chosen = max(distinct, key=lambda report: (list(reports.values()).count(report), report))
    dissenters = tuple(sorted(node_id for node_id, report in reports.items() if report != chosen))
    return SignaturesVerdict(chosen, dissenters, proven=not any(reports[node_id] in distinct for node_id in dissenters))


def judge_certificates(order: Order, roster: Roster, results: Mapping[str, party_pb2.SessionResult]) -> KeyVerdict:
    """Find the one certificate that all parties of the key have signed.

    One report that carries it is enough, because nobody can make up the others' signatures: then the key exists,
    whatever the rest report. Two different ones mean that every single party signed twice: no key is registered.
    """
    sound: dict[str, RegisteredKey] = {}
    for node_id, result in results.items():
        key = _certified(order, roster, result)
        if key is not None:
            sound[node_id] = key
    statements = {key.signed.certificate for key in sound.values()}
    if len(statements) == 1:
        key = next(iter(sound.values()))
        return KeyVerdict(key, tuple(sorted(results.keys() - sound.keys())))
    if statements:
        return KeyVerdict(None, tuple(sorted(next(iter(sound.values())).certificate.node_ids)))
    return KeyVerdict(None, tuple(sorted(results)))


def _holds(command: Sign, certificate: KeyCertificate, report: Signatures) -> bool:
    if len(report) != len(command.messages):
        return False
    if not all(0 < len(signature) <= SIGNATURE_BYTES_MAX for signature in report):
        return False
    if certificate.scheme != ED25519:
        return True
    own = [(s, m.message) for s, m in zip(report, command.messages, strict=True) if not m.path]
    return _ed25519_verifies(certificate.public_key, own)


def _ed25519_verifies(public_key: bytes, signed: Sequence[tuple[bytes, bytes]]) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        for signature, message in signed:
            key.verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _all_checkable(command: Sign, certificate: KeyCertificate) -> bool:
    return certificate.scheme == ED25519 and not any(message.path for message in command.messages)


def _certified(order: Order, roster: Roster, result: party_pb2.SessionResult) -> RegisteredKey | None:
    """The certificate in a result, if it is complete, sound, and the one that was ordered."""
    signed = result.certificate
    if signed.ByteSize() > RESULT_BYTES_MAX:
        return None
    try:
        certificate = verify_certificate(signed, roster)
    except IntentError:
        return None
    return RegisteredKey(signed, certificate) if _is_ordered(order, certificate) else None


def _is_ordered(order: Order, certificate: KeyCertificate) -> bool:
    command = order.intent.command
    return isinstance(command, CreateKey) and (
        certificate.intent_hash,
        certificate.tenant_id,
        certificate.key_id,
        certificate.wallet_id,
        certificate.user_id,
        certificate.scheme,
        certificate.threshold,
        certificate.node_ids,
        certificate.policy,
        certificate.protocol,
    ) == (
        order.digest,
        order.intent.tenant_id,
        command.key_id,
        command.wallet_id,
        command.user_id,
        command.scheme,
        command.threshold,
        command.node_ids,
        command.policy,
        command.protocol,
    )
