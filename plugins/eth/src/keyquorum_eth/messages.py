"""Personal messages (EIP-191, version 0x45), which can never be transactions or structured documents.

What is signed is Keccak-256 of 0x19, "Ethereum Signed Message:", a newline, the text's length in decimal and the text;
transactions begin with their type, structured documents with 0x19 0x01.

A text of exactly 32 bytes is refused. Contracts that take a personal message for consent (a Safe's owners, ERC-4337 accounts,
whatever calls OpenZeppelin's ``toEthSignedMessageHash``) have the message be a hash, and among 2^45 hashes of transactions
that do what a thief wants, one can be read as text.
"""

from eth_utils.crypto import keccak

from keyquorum_eth.limits import HASH_BYTES, MESSAGE_BYTES_MAX
from keyquorum_eth.readable import require_readable
from keyquorum_plugin_api.errors import InvalidPayload

_PREFIX = b"\x19Ethereum Signed Message:\n"


def message_digest(body: bytes) -> bytes:
    """The 32 bytes that are signed for a message's bytes."""
    return keccak(_PREFIX + str(len(body)).encode("ascii") + body)


def encode_text(text: str) -> bytes:
    """UTF-8 of a message; :class:`InvalidPayload` for a text that is too long, unreadable, or as long as a hash."""
    body = require_readable(text, MESSAGE_BYTES_MAX)
    if len(body) == HASH_BYTES:
        raise InvalidPayload(
            "a text of exactly 32 bytes could be a hash, which contracts take for consent: add a character"
        )
    return body


def decode_text(body: bytes) -> str:
    """The text of a message; :class:`InvalidPayload` unless encoding it again gives the same bytes."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidPayload("the message is not UTF-8") from None
    if encode_text(text) != body:
        raise InvalidPayload("not the one encoding of a message")
    return text
