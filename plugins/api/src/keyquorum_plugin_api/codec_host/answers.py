"""What a codec host does on request. What a codec returns is checked here for its types alone; the party, which does not
believe this process, checks it again and more strictly."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from keyquorum_plugin_api.codec import Codec, Decoded, Effect, EffectKind, SignerAccount, SigningRequest
from keyquorum_plugin_api.codec_host.frames import FrameError, from_base64, to_base64
from keyquorum_plugin_api.errors import ChainError

CODEC_FAULT: Final = "codec-fault"
UNKNOWN_OPERATION: Final = "unknown-operation"

_DETAIL_CHARS_MAX: Final = 500
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


class CodecFault(Exception):
    """Proves that the codec broke its contract: it raised what it must not, or returned what it must not."""


class Answers:
    """Answers requests with one codec. ``facts`` is what ``describe`` says beside the codec's own constants."""

    def __init__(self, codec: Codec, facts: Mapping[str, Any]) -> None:
        self._codec = codec
        self._facts = dict(facts)

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The response object to a request object; FrameError if the request itself makes no sense."""
        identifier = request.get("id")
        if not isinstance(identifier, int):
            raise FrameError("a request has an integer id")
        try:
            return {"id": identifier, "ok": True, "result": self._result(request)}
        except ChainError as error:
            return refusal(error.code, error.detail, identifier)
        except (FrameError, MemoryError):
            raise
        except CodecFault as error:
            return refusal(CODEC_FAULT, str(error), identifier)
        except Exception as error:  # noqa: BLE001 - whatever a codec raises is its fault, and must not end the host
            return refusal(CODEC_FAULT, f"the codec raised {type(error).__name__}", identifier)

    def _result(self, request: Mapping[str, Any]) -> dict[str, Any]:
        codec, operation = self._codec, request.get("op")
        if operation == "decode":
            payload, chain = from_base64(request.get("payload")), _text(request.get("chain"))
            return _decoded(codec.decode(payload, chain, _accounts(request.get("accounts"))))
        if operation == "derive_address":
            public_key, chain = from_base64(request.get("public_key")), _text(request.get("chain"))
            return {"address": _returned(codec.derive_address(public_key, chain), str)}
        if operation == "validate_address":
            address, chain = _text(request.get("address")), _text(request.get("chain"))
            return {"address": _returned(codec.validate_address(address, chain), str)}
        if operation == "describe":
            return self.describe()
        raise FrameError("unknown operation")

    def describe(self) -> dict[str, Any]:
        """Name, namespace and scheme of the codec, with what the host knows about its artifact and confinement."""
        codec = self._codec
        constants = {"name": codec.name, "namespace": codec.namespace, "scheme": codec.scheme}
        texts = {key: _returned(value, str) for key, value in constants.items()}
        return texts | {"payload_names_chain": _returned(codec.payload_names_chain, bool)} | self._facts


def refusal(code: str, detail: str, identifier: int = 0) -> dict[str, Any]:
    """A response that says no; the text is cut and made printable, because a codec may have written it."""
    text = _UNPRINTABLE.sub("?", str(detail))[:_DETAIL_CHARS_MAX]
    return {"id": identifier, "ok": False, "error": {"code": str(code), "detail": text}}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise FrameError("a text is missing")
    return value


def _accounts(value: object) -> tuple[SignerAccount, ...]:
    if not isinstance(value, list):
        raise FrameError("accounts are a list")
    return tuple(_account(entry) for entry in value)


def _account(value: object) -> SignerAccount:
    if not isinstance(value, dict) or not isinstance(value.get("path"), list):
        raise FrameError("an account is an object with a path")
    if not all(isinstance(element, int) for element in value["path"]):
        raise FrameError("a path is a list of integers")
    return SignerAccount(_text(value.get("address")), from_base64(value.get("public_key")), tuple(value["path"]))


def _decoded(value: object) -> dict[str, Any]:
    decoded = _returned(value, Decoded)
    return {
        "requests": [_request(entry) for entry in _returned_items(decoded.requests, SigningRequest)],
        "effects": [_effect(entry) for entry in _returned_items(decoded.effects, Effect)],
    }


def _request(value: SigningRequest) -> dict[str, Any]:
    return {
        "scheme": _returned(value.scheme, str),
        "message": to_base64(_returned(value.message, bytes)),
        "signer": _returned(value.signer, str),
        "path": [_integer(element) for element in _returned(value.path, tuple)],
    }


def _effect(value: Effect) -> dict[str, Any]:
    return {
        "kind": _returned(value.kind, EffectKind).value,
        "asset": _returned(value.asset, str),
        "amount": str(_integer(value.amount)),
        "source": _returned(value.source, str),
        "destination": _returned(value.destination, str),
        "detail": _returned(value.detail, str),
    }


def _returned(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise CodecFault(f"the codec returned {type(value).__name__} instead of {kind.__name__}")
    return value


def _returned_items(value: object, kind: type) -> Sequence[Any]:
    return [_returned(item, kind) for item in _returned(value, tuple)]


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**256:
        raise CodecFault("the codec returned a number outside of its range")
    return value
