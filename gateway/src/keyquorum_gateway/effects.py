"""What an adapter built, compared with what the client asked for, by the codec alone.

Adapters are untrusted: they talk to nodes that may lie. The codec that was loaded by itself, from its own entry point,
says what the payload does, and that must be the client's transfer, a fee below the operator's ceiling, and nothing else.
The parties repeat all of this with the codec that their own operators pinned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keyquorum_plugin_api.codec import (
    Codec,
    Decoded,
    Effect,
    EffectKind,
    SignerAccount,
    TransferIntent,
    UnsignedTransaction,
)
from keyquorum_plugin_api.errors import ChainError, FeeTooHigh


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
    by_kind = {kind: [effect for effect in decoded.effects if effect.kind is kind] for kind in EffectKind}
    _require_transfer(by_kind.pop(EffectKind.TRANSFER), wanted)
    fee = _require_fee(by_kind.pop(EffectKind.FEE), wanted, fee_asset, fee_ceiling)
    _require_own_change(by_kind.pop(EffectKind.CHANGE), wanted)
    _require_memo(decoded, wanted)
    by_kind.pop(EffectKind.MESSAGE)
    for kind, effects in by_kind.items():
        if effects:
            raise AdapterRefused(f"the payload also does something else: {kind.value}")
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


def _require_transfer(transfers: Sequence[Effect], wanted: TransferIntent) -> None:
    if len(transfers) != 1:
        raise AdapterRefused(f"the payload holds {len(transfers)} transfers")
    expected = (wanted.asset, wanted.amount, wanted.source.address, wanted.destination)
    found = (transfers[0].asset, transfers[0].amount, transfers[0].source, transfers[0].destination)
    for what, asked, made in zip(("asset", "amount", "source", "destination"), expected, found, strict=True):
        if asked != made:
            raise AdapterRefused(f"the payload moves another {what} than was asked for")


def _require_fee(fees: Sequence[Effect], wanted: TransferIntent, asset: str, ceiling: int) -> int:
    """The fee, in minor units of the chain's native asset."""
    if len(fees) > 1 or any((fee.source, fee.asset) != (wanted.source.address, asset) for fee in fees):
        raise AdapterRefused("the payload's fee is not one fee of the account")
    fee = fees[0].amount if fees else 0
    if fee > ceiling:
        raise FeeTooHigh(f"the fee of {fee} is above the ceiling of {ceiling}")
    return fee


def _require_own_change(changes: Sequence[Effect], wanted: TransferIntent) -> None:
    if any({change.source, change.destination} != {wanted.source.address} for change in changes):
        raise AdapterRefused("the payload's change does not come back to the account")


def _require_memo(decoded: Decoded, wanted: TransferIntent) -> None:
    """The memo, which codecs report as the transfer's detail or as a message, is there if and only if it was asked for."""
    carriers = (EffectKind.TRANSFER, EffectKind.MESSAGE)
    texts = [effect.detail for effect in decoded.effects if effect.kind in carriers and effect.detail]
    if texts != ([wanted.memo] if wanted.memo else []):
        raise AdapterRefused("the payload's memo is not the one that was asked for")


def _with_findings(unsigned: UnsignedTransaction, decoded: Decoded) -> UnsignedTransaction:
    return UnsignedTransaction(unsigned.chain, unsigned.payload, decoded.requests, decoded.effects, unsigned.expires)
