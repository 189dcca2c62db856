"""Intents: the exact bytes that an initiator signs and every party checks.

The gateway composes them for both kinds of wallet. For a gateway-initiated one it signs them itself; for a
client-initiated one it hands them out, with every field readable, and the parties accept only the client's signature.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyquorum_gateway.identity import INTENT_TAG, InitiatorKey, hash_tagged, verify
from keyquorum_gateway.roster import Roster
from keyquorum_plugin_api.codec import Decoded, Effect, EffectKind
from keyquorum_protos.signer.v1 import effect_pb2, intent_pb2

INTENT_VERSION: Final = 1
_NONCE_BYTES: Final = 32
_OPERATION_ID_BYTES: Final = 16

_EFFECT_KINDS: Final = {
    EffectKind.TRANSFER: effect_pb2.EFFECT_KIND_TRANSFER,
    EffectKind.CHANGE: effect_pb2.EFFECT_KIND_CHANGE,
    EffectKind.FEE: effect_pb2.EFFECT_KIND_FEE,
    EffectKind.APPROVE: effect_pb2.EFFECT_KIND_APPROVE,
    EffectKind.PERMIT: effect_pb2.EFFECT_KIND_PERMIT,
    EffectKind.DELEGATE: effect_pb2.EFFECT_KIND_DELEGATE,
    EffectKind.MESSAGE: effect_pb2.EFFECT_KIND_MESSAGE,
}
_EFFECT_NAMES: Final = {number: kind.value for kind, number in _EFFECT_KINDS.items()}


@dataclass(frozen=True, slots=True)
class AssetLimit:
    """The most of an asset that may leave a key, in minor units."""

    asset: str
    per_transaction: int
    per_window: int
    window_s: int


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """The genesis policy that is asked for."""

    initiator_key: bytes
    limits: tuple[AssetLimit, ...] = ()
    allow_raw: bool = False

    def to_proto(self) -> intent_pb2.Policy:
        """As it goes into the intent, and as the certificate must show it."""
        return intent_pb2.Policy(
            initiator_keys=[self.initiator_key],
            limits=[
                intent_pb2.AssetLimit(
                    asset=limit.asset,
                    per_transaction=str(limit.per_transaction),
                    per_window=str(limit.per_window),
                    window_s=limit.window_s,
                )
                for limit in self.limits
            ],
            allow_raw=self.allow_raw,
        )


@dataclass(frozen=True, slots=True)
class CodecRef:
    """A codec, pinned: entry-point name, distribution version, artifact hash (32 bytes)."""

    name: str
    version: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """A key that is to be made."""

    key_id: str
    wallet_id: str
    user_id: str
    scheme: str
    threshold: int
    node_ids: tuple[str, ...]
    policy: KeyPolicy


@dataclass(frozen=True, slots=True)
class PayloadOrder:
    """A payload that is to be signed, and what the gateway's own codec found in it."""

    key_id: str
    scheme: str
    chain: str
    codec: CodecRef
    payload: bytes
    decoded: Decoded


@dataclass(frozen=True, slots=True)
class RawOrder:
    """Bytes that no codec explains."""

    key_id: str
    scheme: str
    message: bytes
    path: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Authorization:
    """Whose signature stands under an intent."""

    public_key: bytes
    signature: bytes


class IntentComposer:
    """Writes intents for one cell and roster."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def create_key(self, order: KeyOrder, *, tenant_id: str, initiator_key: bytes, valid_until_ms: int) -> bytes:
        """The bytes that order a key."""
        command = intent_pb2.CreateKeyCommand(
            key_id=order.key_id,
            wallet_id=order.wallet_id,
            user_id=order.user_id,
            scheme=order.scheme,
            threshold=order.threshold,
            node_ids=order.node_ids,
            policy=order.policy.to_proto(),
        )
        return self._serialize(tenant_id, initiator_key, valid_until_ms, create_key=command)

    def sign(
        self, order: PayloadOrder | RawOrder, *, tenant_id: str, initiator_key: bytes, valid_until_ms: int
    ) -> bytes:
        """The bytes that order signatures."""
        if isinstance(order, RawOrder):
            command = intent_pb2.SignCommand(
                key_id=order.key_id,
                scheme=order.scheme,
                messages=[intent_pb2.MessageToSign(message=order.message, path=order.path)],
            )
        else:
            command = intent_pb2.SignCommand(
                key_id=order.key_id,
                scheme=order.scheme,
                chain=order.chain,
                codec=intent_pb2.CodecRef(
                    name=order.codec.name, version=order.codec.version, sha256=order.codec.sha256
                ),
                unsigned_payload=order.payload,
                messages=[
                    intent_pb2.MessageToSign(message=request.message, path=request.path)
                    for request in order.decoded.requests
                ],
                effects=[_effect(effect) for effect in order.decoded.effects],
            )
        return self._serialize(tenant_id, initiator_key, valid_until_ms, sign=command)

    def _serialize(self, tenant_id: str, initiator_key: bytes, valid_until_ms: int, **command: Any) -> bytes:
        return intent_pb2.Intent(
            version=INTENT_VERSION,
            cell_id=self._roster.cell_id,
            tenant_id=tenant_id,
            initiator_key=initiator_key,
            nonce=secrets.token_bytes(_NONCE_BYTES),
            valid_until_ms=valid_until_ms,
            roster_hash=self._roster.roster_hash,
            **command,
        ).SerializeToString(deterministic=True)


def intent_hash(intent: bytes) -> bytes:
    """What names intent bytes everywhere, 32 bytes."""
    return hash_tagged(INTENT_TAG, intent)


def ceremony_id(intent: bytes) -> str:
    """The coordinator's name for the operation that the intent orders."""
    return "op_" + intent_hash(intent)[:_OPERATION_ID_BYTES].hex()


def valid_until_ms(intent: bytes) -> int:
    """Until when parties take part."""
    return int(intent_pb2.Intent.FromString(intent).valid_until_ms)


def authorize(intent: bytes, key: InitiatorKey) -> Authorization:
    """The gateway's own authorization."""
    return Authorization(key.public, key.sign_intent(intent))


def is_authorized(intent: bytes, authorization: Authorization) -> bool:
    """Whether the initiator that the intent names signed exactly these bytes."""
    named = intent_pb2.Intent.FromString(intent).initiator_key
    return authorization.public_key == named and verify(named, INTENT_TAG, intent, authorization.signature)


def readable(intent: bytes) -> dict[str, Any]:
    """Every field of an intent, bytes as hex, for whoever is asked to sign it."""
    message = intent_pb2.Intent.FromString(intent)
    fields: dict[str, Any] = {
        "version": message.version,
        "cell_id": message.cell_id,
        "tenant_id": message.tenant_id,
        "initiator_key": message.initiator_key.hex(),
        "nonce": message.nonce.hex(),
        "valid_until_ms": message.valid_until_ms,
        "roster_hash": message.roster_hash.hex(),
    }
    if message.WhichOneof("command") == "create_key":
        fields["create_key"] = _readable_key(message.create_key)
    else:
        fields["sign"] = _readable_sign(message.sign)
    return fields


def readable_policy(policy: intent_pb2.Policy) -> dict[str, Any]:
    """A policy with every field named."""
    return {
        "initiator_keys": [key.hex() for key in policy.initiator_keys],
        "limits": [
            {
                "asset": limit.asset,
                "per_transaction": limit.per_transaction,
                "per_window": limit.per_window,
                "window_s": limit.window_s,
            }
            for limit in policy.limits
        ],
        "allow_raw": policy.allow_raw,
    }


def _readable_key(command: intent_pb2.CreateKeyCommand) -> dict[str, Any]:
    return {
        "key_id": command.key_id,
        "wallet_id": command.wallet_id,
        "user_id": command.user_id,
        "scheme": command.scheme,
        "threshold": command.threshold,
        "node_ids": list(command.node_ids),
        "policy": readable_policy(command.policy),
    }


def _readable_sign(command: intent_pb2.SignCommand) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "key_id": command.key_id,
        "scheme": command.scheme,
        "chain": command.chain,
        "unsigned_payload": command.unsigned_payload.hex(),
        "messages": [{"message": m.message.hex(), "path": list(m.path)} for m in command.messages],
        "effects": [_readable_effect(effect) for effect in command.effects],
    }
    if command.HasField("codec"):
        fields["codec"] = {
            "name": command.codec.name,
            "version": command.codec.version,
            "sha256": command.codec.sha256.hex(),
        }
    return fields


def _readable_effect(effect: effect_pb2.Effect) -> dict[str, Any]:
    return {
        "kind": _EFFECT_NAMES[effect.kind],
        "asset": effect.asset,
        "amount": effect.amount,
        "source": effect.source,
        "destination": effect.destination,
        "detail": effect.detail,
    }


def _effect(effect: Effect) -> effect_pb2.Effect:
    return effect_pb2.Effect(
        kind=_EFFECT_KINDS[effect.kind],
        asset=effect.asset,
        amount="" if effect.kind is EffectKind.MESSAGE else str(effect.amount),
        source=effect.source,
        destination=effect.destination,
        detail=effect.detail,
    )


def policy_from_limits(initiator_key: bytes, limits: Sequence[AssetLimit], *, allow_raw: bool) -> KeyPolicy:
    """A policy in its one spelling: limits sorted by asset, so that equal requests give equal policies."""
    return KeyPolicy(initiator_key, tuple(sorted(limits, key=lambda limit: limit.asset)), allow_raw)
