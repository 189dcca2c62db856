"""Signed texts: BIP322 (version 1.0), the "simple" signature of a P2TR address.

A virtual transaction ``to_spend`` commits to the text and to the address; a virtual transaction ``to_sign`` spends it. What
is signed is the BIP341 sighash of ``to_sign``, and the signature is its witness. Neither can be on any network: ``to_spend``
spends an output that cannot exist.

The payload is a header, the internal key and the text. The header cannot begin a PSBT, nor a PSBT it.
"""

from dataclasses import dataclass
from typing import Final

from embit.hashes import tagged_hash
from embit.script import Script, Witness
from embit.transaction import SIGHASH, Transaction, TransactionInput, TransactionOutput

from keyquorum_btc.limits import MESSAGE_BYTES_MAX
from keyquorum_btc.readable import from_utf8, to_utf8
from keyquorum_btc.taproot import KEY_BYTES, output_script
from keyquorum_plugin_api.errors import ChainError, InvalidPayload

HEADER: Final = b"bip322\xff"
TAG: Final = "BIP0322-signed-message"
SIMPLE_PREFIX: Final = "smp"  # of a simple signature in text form: this, then base64 of the witness

_TEXT_AT: Final = len(HEADER) + KEY_BYTES
_NULL_VOUT: Final = 0xFFFFFFFF
_OP_RETURN: Final = b"\x6a"


@dataclass(frozen=True, slots=True)
class SignedText:
    """A text and who signs it. Every instance may be signed; the constructor raises a :class:`ChainError` otherwise."""

    internal_key: bytes  # x-only, 32 bytes
    text: str

    def __post_init__(self) -> None:
        """Check key and text."""
        output_script(self.internal_key)
        to_utf8(self.text, MESSAGE_BYTES_MAX)

    def encode(self) -> bytes:
        """The payload."""
        return HEADER + self.internal_key + to_utf8(self.text, MESSAGE_BYTES_MAX)

    @classmethod
    def decode(cls, payload: bytes) -> "SignedText":
        """The text of a payload; :class:`InvalidPayload` for any other bytes."""
        if not is_message(payload):
            raise InvalidPayload("not a message in the one form that is signed")
        try:
            return cls(payload[len(HEADER) : _TEXT_AT], from_utf8(payload[_TEXT_AT:], MESSAGE_BYTES_MAX))
        except ChainError as error:
            raise InvalidPayload(error.detail) from None

    @property
    def source_script(self) -> bytes:
        """The scriptPubKey that is signed for."""
        return output_script(self.internal_key)

    @property
    def txid(self) -> str:
        """The id of ``to_sign``, which names the message: it follows from text and address."""
        return str(to_sign(self.source_script, self.text.encode()).txid().hex())

    def sighash(self) -> bytes:
        """What the key signs: BIP341, SIGHASH_DEFAULT, of ``to_sign``."""
        script = self.source_script
        made = to_sign(script, self.text.encode())
        return bytes(made.sighash_taproot(0, script_pubkeys=[Script(script)], values=[0], sighash=SIGHASH.DEFAULT))


def is_message(payload: bytes) -> bool:
    """Whether a payload claims to be a message."""
    return payload.startswith(HEADER)


def to_spend(script: bytes, message: bytes) -> Transaction:
    """BIP322's first virtual transaction, for the scriptPubKey that is signed for."""
    challenge = Script(b"\x00\x20" + tagged_hash(TAG, message))
    spent = TransactionInput(bytes(32), _NULL_VOUT, script_sig=challenge, sequence=0)
    return Transaction(version=0, vin=[spent], vout=[TransactionOutput(0, Script(script))], locktime=0)


def to_sign(script: bytes, message: bytes) -> Transaction:
    """BIP322's second virtual transaction, without its witness."""
    spent = TransactionInput(to_spend(script, message).txid(), 0, sequence=0)
    return Transaction(version=0, vin=[spent], vout=[TransactionOutput(0, Script(_OP_RETURN))], locktime=0)


def simple_signature(signature: bytes) -> bytes:
    """The witness of ``to_sign``, consensus-encoded: one element, the signature."""
    return bytes(Witness([signature]).serialize())
