"""What an adapter built, compared with what the client asked for, by the codec alone.

Adapters are untrusted: they talk to nodes that may lie. The codec that was loaded by itself, from its own entry point,
says what the payload does, and that must be the client's transfer, a fee below the operator's ceiling, and nothing else.
The parties repeat all of this with the codec that their own operators pinned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from keyquorum_plugin_api.codec import (
    Codec,
    Decoded,
    EffectKind,
    SignerAccount,
    TransferIntent,
    UnsignedTransaction,
)
from keyquorum_plugin_api.effects import require_asked, require_cancellation, require_transfer
from keyquorum_plugin_api.errors import ChainError, FeeTooHigh, InvalidPayload


class AdapterRefused(ChainError):
    """The adapter's work is not what was asked for. Nothing of it is sent to be signed."""

    code = "adapter-refused"


_OFF_CHAIN: Final = frozenset({EffectKind.PERMIT, EffectKind.MESSAGE})


_EXPIRES_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Approved:
    """A payload whose effects are exactly the wanted ones; ``unsigned`` carries the codec's findings, not the adapter's."""

    unsigned: UnsignedTransaction
    decoded: Decoded
    fee: int


def approve_transfer(
    codec: Codec,
    unsigned: UnsignedTransaction,
    wanted: TransferIntent,
    *,
    fee_asset: str,
    fee_ceiling: int,
    options: Mapping[str, str] = MappingProxyType({}),
) -> Approved:
    """The payload, if it is the wanted transfer, built with no other options than the client's; :class:`AdapterRefused` or
    :class:`FeeTooHigh` if it is not."""
    accounts = (wanted.source,) if wanted.fee_payer is None else (wanted.source, wanted.fee_payer)
    decoded = _decode(codec, unsigned, wanted.chain, accounts)
    try:
        fee = require_transfer(wanted, decoded.effects)
        require_asked(decoded.effects, options)
    except InvalidPayload as error:
        raise AdapterRefused(error.detail) from None
    return _within(unsigned, decoded, fee, fee_asset=fee_asset, fee_ceiling=fee_ceiling)


def approve_cancellation(
    codec: Codec, unsigned: UnsignedTransaction, chain: str, source: SignerAccount, *, fee_asset: str, fee_ceiling: int
) -> Approved:
    """The payload, if it moves nothing but a fee; :class:`AdapterRefused` or :class:`FeeTooHigh` if it does more."""
    decoded = _decode(codec, unsigned, chain, (source,))
    try:
        fee = require_cancellation(source, decoded.effects)
    except InvalidPayload as error:
        raise AdapterRefused(error.detail) from None
    return _within(unsigned, decoded, fee, fee_asset=fee_asset, fee_ceiling=fee_ceiling)


def require_exclusive(codec: Codec, approved: Approved, replaced: UnsignedTransaction) -> None:
    """Refuse a payload that could be included beside the one that it is to replace: that would pay twice."""
    if approved.unsigned.payload == replaced.payload:
        return
    try:
        excluded = codec.excludes(approved.unsigned.payload, replaced.payload, replaced.chain)
    except ChainError as error:
        raise AdapterRefused(f"the codec cannot compare the payloads: {error.detail}") from None
    if excluded is not True:
        raise AdapterRefused("the payload could be included beside the one that it is to replace")


def _within(unsigned: UnsignedTransaction, decoded: Decoded, fee: int, *, fee_asset: str, fee_ceiling: int) -> Approved:
    if any(effect.kind is EffectKind.FEE and effect.asset != fee_asset for effect in decoded.effects):
        raise AdapterRefused("the payload pays its fee in another asset than the chain's")
    if fee > fee_ceiling:
        raise FeeTooHigh(f"the fee of {fee} is above the ceiling of {fee_ceiling}")
    return Approved(_with_findings(unsigned, decoded), decoded, fee)


def approve_message(codec: Codec, unsigned: UnsignedTransaction, account: SignerAccount, message: str) -> Approved:
    """The payload, if it signs exactly this message and can move nothing."""
    decoded = _decode(codec, unsigned, unsigned.chain, (account,))
    if [(effect.kind, effect.detail) for effect in decoded.effects] != [(EffectKind.MESSAGE, message)]:
        raise AdapterRefused("the payload is not the message")
    return Approved(_with_findings(unsigned, decoded), decoded, 0)


def approve_typed_data(codec: Codec, unsigned: UnsignedTransaction, account: SignerAccount) -> Approved:
    """A payload that our own codec made of a client's document, if it does nothing at once; what it permits is in its effects,
    which the parties count against the key's limits."""
    decoded = _decode(codec, unsigned, unsigned.chain, (account,))
    if not decoded.effects or any(effect.kind not in _OFF_CHAIN for effect in decoded.effects):
        raise AdapterRefused("the payload is more than a document")
    return Approved(_with_findings(unsigned, decoded), decoded, 0)


def _decode(codec: Codec, unsigned: UnsignedTransaction, chain: str, accounts: tuple[SignerAccount, ...]) -> Decoded:
    """What the codec finds. Every signature is of one of ``accounts``, and the first of them signs."""
    if unsigned.chain != chain:
        raise AdapterRefused("the payload is for another chain")
    if len(unsigned.expires) > _EXPIRES_MAX or any(
        type(name) is not str or type(value) is not int or abs(value) >= 2**63
        for name, value in unsigned.expires.items()
    ):
        raise AdapterRefused("what the adapter says of the payload's end cannot be stored")
    try:
        decoded = codec.decode(unsigned.payload, chain, accounts)
    except ChainError as error:
        raise AdapterRefused(f"the codec cannot explain the payload: {error.detail}") from None
    if decoded.requests != unsigned.requests:
        raise AdapterRefused("the adapter asks for other signatures than the payload needs")
    known = {(codec.scheme, account.address, account.path) for account in accounts}
    if any((request.scheme, request.signer, request.path) not in known for request in decoded.requests):
        raise AdapterRefused("the payload needs a signature of another account")
    if not any(request.signer == accounts[0].address for request in decoded.requests):
        raise AdapterRefused("the payload needs no signature of the account")
    return decoded


def _with_findings(unsigned: UnsignedTransaction, decoded: Decoded) -> UnsignedTransaction:
    return UnsignedTransaction(unsigned.chain, unsigned.payload, decoded.requests, decoded.effects, unsigned.expires)
