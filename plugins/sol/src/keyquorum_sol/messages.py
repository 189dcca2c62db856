"""Off-chain messages, which can never be transactions.

Format: Agave's ``docs/src/proposals/off-chain-message-signing.md``, header version 0, one signer. The preamble is

    signing domain 16 ‖ version 1 ‖ application domain 32 ‖ format 1 ‖ signer count 1 ‖ signer 32 ‖ length 2 (LE)

and the first byte, 0xff, is reserved: read as a transaction's message it would be version 127, which the runtime
refuses. The application domain is zero: the wallet signs for whoever asks, and what the text is for belongs in the text.
Nothing binds a message to one cluster.
"""

from keyquorum_plugin_api.errors import InvalidPayload
from keyquorum_sol.limits import PACKET_BYTES_MAX
from keyquorum_sol.readable import require_readable

SIGNING_DOMAIN = b"\xffsolana offchain"
_HEADER = SIGNING_DOMAIN + b"\x00" + bytes(32)
_RESTRICTED_ASCII, _LIMITED_UTF8 = 0, 1
_SIGNER_AT = len(_HEADER) + 2
_TEXT_AT = _SIGNER_AT + 32 + 2
TEXT_BYTES_MAX = PACKET_BYTES_MAX - _TEXT_AT  # formats 0 and 1 have to fit a packet, preamble included


def encode_message(signer: bytes, text: str) -> bytes:
    """The bytes that ``signer`` (32 bytes) signs; :class:`InvalidPayload` for a text that is too long or unreadable."""
    body = require_readable(text)
    if len(body) > TEXT_BYTES_MAX:
        raise InvalidPayload(f"a message has at most {TEXT_BYTES_MAX} bytes")
    ascii_only = all(0x20 <= byte <= 0x7E for byte in body)
    text_format = _RESTRICTED_ASCII if ascii_only else _LIMITED_UTF8
    return _HEADER + bytes([text_format, 1]) + signer + len(body).to_bytes(2, "little") + body


def is_message(payload: bytes) -> bool:
    """Whether the payload claims to be an off-chain message; no transaction starts like that."""
    return payload.startswith(SIGNING_DOMAIN)


def decode_message(payload: bytes) -> tuple[bytes, str]:
    """Signer and text; :class:`InvalidPayload` unless encoding them again gives the same bytes."""
    if not _TEXT_AT < len(payload) <= PACKET_BYTES_MAX:
        raise InvalidPayload("not an off-chain message")
    signer = payload[_SIGNER_AT : _SIGNER_AT + 32]
    try:
        text = payload[_TEXT_AT:].decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidPayload("the message is not UTF-8") from None
    if encode_message(signer, text) != payload:
        raise InvalidPayload("not the one encoding of an off-chain message")
    return signer, text


def envelope(signature: bytes, payload: bytes) -> bytes:
    """The signed message as it is passed around: signature count, signature, message."""
    return b"\x01" + signature + payload
