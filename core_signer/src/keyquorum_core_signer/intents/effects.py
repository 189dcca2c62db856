"""What a payload does, as the initiator claims it and as a party's own codec finds it."""

from dataclasses import dataclass
from enum import StrEnum

from keyquorum_core_signer.intents import fields
from keyquorum_core_signer.intents.limits import DETAIL_CHARS_MAX
from keyquorum_protos.signer.v1 import effect_pb2, intent_pb2


class EffectKind(StrEnum):
    """The closed list of things that a payload can do."""

    TRANSFER = "transfer"
    CHANGE = "change"
    FEE = "fee"
    APPROVE = "approve"
    PERMIT = "permit"
    DELEGATE = "delegate"
    MESSAGE = "message"


_TO_PROTO = {
    EffectKind.TRANSFER: effect_pb2.EFFECT_KIND_TRANSFER,
    EffectKind.CHANGE: effect_pb2.EFFECT_KIND_CHANGE,
    EffectKind.FEE: effect_pb2.EFFECT_KIND_FEE,
    EffectKind.APPROVE: effect_pb2.EFFECT_KIND_APPROVE,
    EffectKind.PERMIT: effect_pb2.EFFECT_KIND_PERMIT,
    EffectKind.DELEGATE: effect_pb2.EFFECT_KIND_DELEGATE,
    EffectKind.MESSAGE: effect_pb2.EFFECT_KIND_MESSAGE,
}
_FROM_PROTO = {number: kind for kind, number in _TO_PROTO.items()}


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that happens when a payload lands; ``amount`` in minor units of ``asset`` (CAIP-19)."""

    kind: EffectKind
    asset: str = ""
    amount: int = 0
    source: str = ""
    destination: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CodecRef:
    """A codec, pinned: entry-point name, distribution version, artifact hash (32 bytes)."""

    name: str
    version: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class MessageToSign:
    """What one signature signs, and the non-hardened path of the key that makes it."""

    message: bytes
    path: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """An address that a party derived for itself from a key that it holds a share of."""

    address: str
    public_key: bytes
    path: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a party's own, pinned codec found in a payload; ``signers`` are the addresses that go with ``messages``.

    ``accounts`` are what the codec was told to be the key's own; what is own is never the codec's or initiator's claim.
    """

    codec: CodecRef
    chain: str
    scheme: str
    messages: tuple[MessageToSign, ...]
    signers: tuple[str, ...]
    effects: tuple[Effect, ...]
    accounts: tuple[OwnAccount, ...] = ()
    payload_names_chain: bool = False  # whether the payload is valid on ``chain`` alone, or wherever somebody sends it


def effect_from_proto(message: effect_pb2.Effect, what: str) -> Effect:
    """Read one effect strictly; raises IntentError for a kind or a field that its kind does not have."""
    kind = _FROM_PROTO.get(message.kind)
    if kind is None:
        raise fields.invalid(f"{what}: unknown kind of effect")
    if kind is EffectKind.MESSAGE:
        if message.asset or message.amount or message.destination:
            raise fields.invalid(f"{what}: a message moves nothing")
        source = fields.address(message.source, f"{what}.source") if message.source else ""
        return Effect(kind, source=source, detail=_detail(message.detail, what))
    destination = message.destination
    if destination or kind is not EffectKind.FEE:
        fields.address(destination, f"{what}.destination")
    return Effect(
        kind=kind,
        asset=fields.caip19(message.asset, f"{what}.asset"),
        amount=fields.amount(message.amount, f"{what}.amount"),
        source=fields.address(message.source, f"{what}.source"),
        destination=destination,
        detail=_detail(message.detail, what),
    )


def effect_to_proto(effect: Effect) -> effect_pb2.Effect:
    """Write one effect; the inverse of :func:`effect_from_proto`."""
    return effect_pb2.Effect(
        kind=_TO_PROTO[effect.kind],
        asset=effect.asset,
        amount="" if effect.kind is EffectKind.MESSAGE else str(effect.amount),
        source=effect.source,
        destination=effect.destination,
        detail=effect.detail,
    )


def codec_ref_from_proto(message: intent_pb2.CodecRef, what: str) -> CodecRef:
    """Read a pinned codec strictly."""
    return CodecRef(
        name=fields.name(message.name, f"{what}.name"),
        version=fields.distribution_version(message.version, f"{what}.version"),
        sha256=fields.exactly(message.sha256, fields.HASH_BYTES, f"{what}.sha256"),
    )


def codec_ref_to_proto(ref: CodecRef) -> intent_pb2.CodecRef:
    """Write a pinned codec."""
    return intent_pb2.CodecRef(name=ref.name, version=ref.version, sha256=ref.sha256)


def _detail(text: str, what: str) -> str:
    if len(text) > DETAIL_CHARS_MAX:
        raise fields.invalid(f"{what}.detail: longer than {DETAIL_CHARS_MAX} characters")
    return text
