"""What a codec worker answers, read as the words of a stranger: exact keys, exact types, bounded, canonical.

Everything that is not so is a :class:`CodecFault`. What the answers *mean* is believed, because the codec's artifact is
pinned; that is what makes an answer worth asking for.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyquorum_core_signer.codecs.errors import CodecFault, CodecRejected
from keyquorum_core_signer.intents import fields
from keyquorum_core_signer.intents.effects import (
    CodecRef,
    Decoded,
    Effect,
    EffectKind,
    MessageToSign,
    OwnAccount,
    effect_from_proto,
    effect_to_proto,
)
from keyquorum_core_signer.intents.errors import IntentError
from keyquorum_core_signer.intents.limits import EFFECTS_MAX, MESSAGE_BYTES_MAX, MESSAGES_MAX

FRAME_BYTES_MAX: Final = 2 * 1024 * 1024  # as the host's

_DETAIL_CHARS_MAX: Final = 500
_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_NAMESPACE: Final = re.compile(r"[-a-z0-9]{3,8}")
_CONFINEMENT: Final = {
    "network": ("isolated", "open"),
    "filesystem": ("isolated", "open"),
    "syscalls": ("filtered", "open"),
    "capabilities": ("dropped", "kept"),
}


@dataclass(frozen=True, slots=True)
class Description:
    """What a worker loaded, and which walls the kernel gave it: ``confinement`` maps a wall to its state."""

    ref: CodecRef
    namespace: str
    scheme: str
    payload_names_chain: bool
    confinement: Mapping[str, str]


def parse_response(body: bytes, identifier: int) -> dict[str, Any]:
    """The result object of the response to request ``identifier``; CodecRejected if the codec said no."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise CodecFault("the answer is not JSON") from None
    if not isinstance(value, dict) or type(value.get("id")) is not int or value["id"] != identifier:
        raise CodecFault("the answer is not to the question")
    if value.get("ok") is True:
        (result,) = _record(value, "id", "ok", "result")[2:]
        if not isinstance(result, dict):
            raise CodecFault("the answer has no result")
        return result
    _, _, error = _record(value, "id", "ok", "error")
    code, detail = (_text(part) for part in _record(error, "code", "detail"))
    if not _CODE.fullmatch(code) or len(detail) > _DETAIL_CHARS_MAX or not (detail.isascii() and detail.isprintable()):
        raise CodecFault("the answer is no well-formed refusal")
    if code == "codec-fault":
        raise CodecFault(detail)
    raise CodecRejected(code, detail)


def read_description(result: Mapping[str, Any], pinned: CodecRef) -> Description:
    """What the worker says that it loaded, which must be what was pinned."""
    name, namespace, scheme, version, sha256, names_chain, confinement = _record(
        result, "name", "namespace", "scheme", "version", "sha256", "payload_names_chain", "confinement"
    )
    if (name, version, sha256) != (pinned.name, pinned.version, pinned.sha256.hex()):
        raise CodecFault("the worker loaded another codec than the pinned one")
    if not _NAMESPACE.fullmatch(_text(namespace)) or scheme not in fields.PUBLIC_KEY_BYTES:
        raise CodecFault("the codec's namespace or scheme is unknown")
    if type(names_chain) is not bool:
        raise CodecFault("the codec does not say whether its payloads name their chain")
    states = dict(zip(_CONFINEMENT, _record(confinement, *_CONFINEMENT), strict=True))
    if any(states[wall] not in allowed for wall, allowed in _CONFINEMENT.items()):
        raise CodecFault("the worker reports its confinement in unknown words")
    return Description(pinned, namespace, scheme, names_chain, states)


def read_address(result: Mapping[str, Any]) -> str:
    """An address in the only form that any chain writes one in."""
    (address,) = _record(result, "address")
    try:
        return fields.address(_text(address), "address")
    except IntentError as error:
        raise CodecFault(error.detail) from None


def read_decoded(
    result: Mapping[str, Any], description: Description, chain: str, accounts: Sequence[OwnAccount]
) -> Decoded:
    """What the codec found in a payload."""
    requests, effects = _record(result, "requests", "effects")
    pairs = [_request(entry, description.scheme) for entry in _list(requests, MESSAGES_MAX)]
    return Decoded(
        codec=description.ref,
        chain=chain,
        scheme=description.scheme,
        messages=tuple(message for message, _ in pairs),
        signers=tuple(signer for _, signer in pairs),
        effects=tuple(_effect(entry) for entry in _list(effects, EFFECTS_MAX)),
        accounts=tuple(accounts),
        payload_names_chain=description.payload_names_chain,
    )


def _request(value: object, scheme: str) -> tuple[MessageToSign, str]:
    asked, encoded, signer, path = _record(value, "scheme", "message", "signer", "path")
    if asked != scheme:
        raise CodecFault("the codec asks for a signature of another scheme than its own")
    message = _bytes(encoded)
    if len(message) > MESSAGE_BYTES_MAX or not message:
        raise CodecFault("a message is empty or too long")
    elements = _list(path, len(path) if isinstance(path, list) else 0)
    if any(type(element) is not int for element in elements):
        raise CodecFault("a path is a list of integers")
    try:
        return MessageToSign(message, fields.path(elements, "path")), fields.address(_text(signer), "signer")
    except IntentError as error:
        raise CodecFault(error.detail) from None


def _effect(value: object) -> Effect:
    """Read as strictly as the initiator's: through the same form in which an intent would carry it."""
    kind, asset, amount, source, destination, detail = (
        _text(part) for part in _record(value, "kind", "asset", "amount", "source", "destination", "detail")
    )
    try:
        number = fields.amount(amount, "amount")
        effect = Effect(EffectKind(kind), asset, number, source, destination, detail)
        if effect_from_proto(effect_to_proto(effect), "effect") != effect:
            raise CodecFault("an effect has an amount that its kind does not")
    except (IntentError, ValueError):
        raise CodecFault("an effect is not well formed") from None
    return effect


def _record(value: object, *keys: str) -> list[Any]:
    if not isinstance(value, dict) or value.keys() != set(keys):
        raise CodecFault("an answer has other keys than it must")
    return [value[key] for key in keys]


def _list(value: object, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise CodecFault("a list is missing or too long")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise CodecFault("a text is missing")
    return value


def _bytes(value: object) -> bytes:
    text = _text(value)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CodecFault("bytes are not base64") from None
    if base64.b64encode(data).decode() != text:
        raise CodecFault("bytes are not canonical base64")
    return data
