"""What an adapter built, compared with what the client asked for, by the codec alone.

Adapters are untrusted: they talk to nodes that may lie. The codec that was loaded by itself, from its own entry point,
says what the payload does, and that must be the client's transfer, a fee below the operator's ceiling, and nothing else.
The parties repeat all of this with the codec that their own operators pinned.
"""

from dataclasses import dataclass

from keyquorum_plugin_api.codec import (
    Codec,
    Decoded,
    EffectKind,
    SignerAccount,
    TransferIntent,
    UnsignedTransaction,
)
from keyquorum_plugin_api.effects import require_transfer
from keyquorum_plugin_api.errors import ChainError, FeeTooHigh, InvalidPayload


class AdapterRefused(ChainError):
    """The adapter's work is not what was asked for. Nothing of it is sent to be signed."""

    code = "adapter-refused"


@dataclass(frozen=True, slots=True)
class Approved:
    """A payload whose effects are exactly the wanted ones; ``unsigned`` carries the codec's findings, not the adapter's."""

    unsigned: UnsignedTransaction
    decoded: Decoded
    fee: int


def approve_transfer(
    codec: Codec, unsigned: UnsignedTransaction, wanted: TransferIntent, *, fee_asset: str, fee_ceiling: int
) -> Approved:
    """The payload, if it is the wanted transfer; :class:`AdapterRefused` or :class:`FeeTooHigh` if it is not."""
    decoded = _decode(codec, unsigned, wanted.chain, wanted.source)
    try:
        fee = require_transfer(wanted, decoded.effects)
    except InvalidPayload as error:
        raise AdapterRefused(error.detail) from None
    if any(effect.kind is EffectKind.FEE and effect.asset != fee_asset for effect in decoded.effects):
        raise AdapterRefused("the payload pays its fee in another asset than the chain's")
    if fee > fee_ceiling:
        raise FeeTooHigh(f"the fee of {fee} is above the ceiling of {fee_ceiling}")
    return Approved(_with_findings(unsigned, decoded), decoded, fee)


def approve_message(codec: Codec, unsigned: UnsignedTransaction, account: SignerAccount, message: str) -> Approved:
    """The payload, if it signs exactly this message and can move nothing."""
    decoded = _decode(codec, unsigned, unsigned.chain, account)
    if [(effect.kind, effect.detail) for effect in decoded.effects] != [(EffectKind.MESSAGE, message)]:
        raise AdapterRefused("the payload is not the message")
    return Approved(_with_findings(unsigned, decoded), decoded, 0)


def _decode(codec: Codec, unsigned: UnsignedTransaction, chain: str, account: SignerAccount) -> Decoded:
    if unsigned.chain != chain:
        raise AdapterRefused("the payload is for another chain")
    try:
        decoded = codec.decode(unsigned.payload, chain, [account])
    except ChainError as error:
        raise AdapterRefused(f"the codec cannot explain the payload: {error.detail}") from None
    if decoded.requests != unsigned.requests:
        raise AdapterRefused("the adapter asks for other signatures than the payload needs")
    for request in decoded.requests:
        if (request.scheme, request.signer, request.path) != (codec.scheme, account.address, account.path):
            raise AdapterRefused("the payload needs a signature of another account")
    if not decoded.requests:
        raise AdapterRefused("the payload needs no signature")
    return decoded


def _with_findings(unsigned: UnsignedTransaction, decoded: Decoded) -> UnsignedTransaction:
    return UnsignedTransaction(unsigned.chain, unsigned.payload, decoded.requests, decoded.effects, unsigned.expires)
