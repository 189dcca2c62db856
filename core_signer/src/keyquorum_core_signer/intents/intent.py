"""Intents: the signed commands that touch shares, read from the exact bytes that were signed.

:func:`parse_intent` accepts one encoding per intent and nothing that a party would have to interpret; whether the
intent may be carried out is decided in :mod:`~keyquorum_core_signer.intents.decision`.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

from keyquorum_core_signer.intents import fields
from keyquorum_core_signer.intents.effects import (
    CodecRef,
    Effect,
    MessageToSign,
    codec_ref_from_proto,
    codec_ref_to_proto,
    effect_from_proto,
    effect_to_proto,
)
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.intents.limits import (
    EFFECTS_MAX,
    INTENT_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    MESSAGES_MAX,
    PARTIES_MAX,
    PAYLOAD_BYTES_MAX,
    THRESHOLD_MIN,
)
from keyquorum_core_signer.intents.policy import Policy, policy_from_proto, policy_to_proto
from keyquorum_core_signer.wire.identity import INTENT_TAG, tagged, verify
from keyquorum_protos.signer.v1 import intent_pb2

__all__ = [
    "Command",
    "CreateKey",
    "Intent",
    "IntentError",
    "Sign",
    "encode_intent",
    "intent_hash",
    "operation_id",
    "parse_intent",
    "verify_authorization",
]

_OPERATION_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class CreateKey:
    """Makes one key for one (wallet, scheme): ``threshold`` of ``node_ids`` will sign, under ``policy``."""

    key_id: str
    wallet_id: str
    user_id: str
    scheme: str
    threshold: int
    node_ids: tuple[str, ...]
    policy: Policy
    protocol: str = ""  # what signs with the key; empty for the scheme's own


@dataclass(frozen=True, slots=True)
class Sign:
    """Signs all messages of one payload or none. Without a codec the messages are raw: nothing explains them."""

    key_id: str
    scheme: str
    messages: tuple[MessageToSign, ...]
    chain: str = ""
    codec: CodecRef | None = None
    unsigned_payload: bytes = b""
    effects: tuple[Effect, ...] = ()

    @property
    def raw(self) -> bool:
        """Whether no codec explains the messages."""
        return self.codec is None


Command: TypeAlias = CreateKey | Sign


@dataclass(frozen=True, slots=True)
class Intent:
    """A well-formed intent. (``initiator_key``, ``nonce``) names the operation for ever."""

    cell_id: str
    tenant_id: str
    initiator_key: bytes
    nonce: bytes
    valid_until_ms: int
    roster_hash: bytes
    command: Command


def intent_hash(data: bytes) -> bytes:
    """What names the exact bytes of an intent everywhere: SHA-256 over the tagged bytes, 32 bytes."""
    return sha256(tagged(INTENT_TAG, data)).digest()


def operation_id(data: bytes) -> str:
    """The public name of the operation that the intent bytes order."""
    return "op_" + intent_hash(data)[:_OPERATION_ID_BYTES].hex()


def parse_intent(data: bytes) -> Intent:
    """Read intent bytes; raises IntentError unless every field is in its one permitted form."""
    message = fields.parse_canonical(intent_pb2.Intent, data, INTENT_BYTES_MAX)
    fields.version(message.version, "intent")
    kind = message.WhichOneof("command")
    command: Command
    if kind == "create_key":
        command = _create_key(message.create_key)
    elif kind == "sign":
        command = _sign(message.sign)
    else:
        raise fields.invalid("intent: it commands nothing")
    return Intent(
        cell_id=fields.name(message.cell_id, "cell_id"),
        tenant_id=fields.name(message.tenant_id, "tenant_id"),
        initiator_key=fields.exactly(message.initiator_key, fields.KEY_BYTES, "initiator_key"),
        nonce=fields.exactly(message.nonce, fields.HASH_BYTES, "nonce"),
        valid_until_ms=message.valid_until_ms,
        roster_hash=fields.exactly(message.roster_hash, fields.HASH_BYTES, "roster_hash"),
        command=command,
    )


def encode_intent(intent: Intent) -> bytes:
    """The one encoding of an intent; the inverse of :func:`parse_intent`. Checks nothing."""
    message = intent_pb2.Intent(
        version=fields.FORMAT_VERSION,
        cell_id=intent.cell_id,
        tenant_id=intent.tenant_id,
        initiator_key=intent.initiator_key,
        nonce=intent.nonce,
        valid_until_ms=intent.valid_until_ms,
        roster_hash=intent.roster_hash,
    )
    command = intent.command
    if isinstance(command, CreateKey):
        message.create_key.CopyFrom(
            intent_pb2.CreateKeyCommand(
                key_id=command.key_id,
                wallet_id=command.wallet_id,
                user_id=command.user_id,
                scheme=command.scheme,
                threshold=command.threshold,
                node_ids=command.node_ids,
                policy=policy_to_proto(command.policy),
                protocol=command.protocol,
            )
        )
    else:
        message.sign.CopyFrom(
            intent_pb2.SignCommand(
                key_id=command.key_id,
                scheme=command.scheme,
                chain=command.chain,
                codec=codec_ref_to_proto(command.codec) if command.codec else None,
                unsigned_payload=command.unsigned_payload,
                messages=[intent_pb2.MessageToSign(message=m.message, path=m.path) for m in command.messages],
                effects=[effect_to_proto(effect) for effect in command.effects],
            )
        )
    return message.SerializeToString(deterministic=True)


def verify_authorization(intent: Intent, data: bytes, authorization: intent_pb2.Authorization) -> None:
    """Check that the initiator named in ``intent`` signed exactly ``data``; raises IntentError if not.

    ``intent`` must be what ``data`` parses to. Whether that initiator may order anything is not asked here.
    """
    if encode_intent(intent) != data:
        raise fields.invalid("authorization: the intent is not the one that was signed")
    if authorization.public_key != intent.initiator_key:
        raise fields.invalid("authorization: not by the initiator that the intent names")
    if not verify(intent.initiator_key, INTENT_TAG, data, authorization.signature):
        raise fields.invalid("authorization: the signature does not verify")


def _create_key(message: intent_pb2.CreateKeyCommand) -> CreateKey:
    fields.count(message.node_ids, THRESHOLD_MIN, PARTIES_MAX, "node_ids")
    node_ids = tuple(fields.name(node_id, "node_ids") for node_id in message.node_ids)
    fields.distinct(node_ids, "node_ids")
    if not THRESHOLD_MIN <= message.threshold <= len(node_ids):
        raise fields.invalid(f"threshold: {THRESHOLD_MIN} to {len(node_ids)} are allowed")
    scheme = fields.scheme(message.scheme, "scheme")
    return CreateKey(
        key_id=fields.opaque(message.key_id, "key_", "key_id"),
        wallet_id=fields.opaque(message.wallet_id, "wal_", "wallet_id"),
        user_id=fields.user(message.user_id, "user_id"),
        scheme=scheme,
        threshold=message.threshold,
        node_ids=node_ids,
        policy=policy_from_proto(message.policy, "policy"),
        protocol=fields.protocol(message.protocol, scheme, "protocol"),
    )


def _sign(message: intent_pb2.SignCommand) -> Sign:
    scheme = fields.scheme(message.scheme, "scheme")
    key_id = fields.opaque(message.key_id, "key_", "key_id")
    fields.count(message.messages, 1, MESSAGES_MAX, "messages")
    messages = tuple(_message(entry, scheme, f"messages[{i}]") for i, entry in enumerate(message.messages))
    fields.distinct(messages, "messages")
    if not message.HasField("codec"):
        if message.chain or message.unsigned_payload or message.effects:
            raise fields.invalid("codec: without one there is no chain, payload or effect")
        return Sign(key_id, scheme, messages)
    if not 0 < len(message.unsigned_payload) <= PAYLOAD_BYTES_MAX:
        raise fields.invalid(f"unsigned_payload: 1 to {PAYLOAD_BYTES_MAX} bytes are allowed")
    fields.count(message.effects, 1, EFFECTS_MAX, "effects")
    return Sign(
        key_id=key_id,
        scheme=scheme,
        messages=messages,
        chain=fields.caip2(message.chain, "chain"),
        codec=codec_ref_from_proto(message.codec, "codec"),
        unsigned_payload=message.unsigned_payload,
        effects=tuple(effect_from_proto(effect, f"effects[{i}]") for i, effect in enumerate(message.effects)),
    )


def _message(message: intent_pb2.MessageToSign, scheme: str, what: str) -> MessageToSign:
    if scheme in fields.DIGEST_SCHEMES:
        fields.exactly(message.message, fields.HASH_BYTES, f"{what}.message")
    elif not 0 < len(message.message) <= MESSAGE_BYTES_MAX:
        raise fields.invalid(f"{what}.message: 1 to {MESSAGE_BYTES_MAX} bytes are allowed")
    return MessageToSign(message.message, fields.path(message.path, f"{what}.path"))
