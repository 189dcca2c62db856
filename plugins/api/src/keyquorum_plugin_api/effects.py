"""Comparing what a payload does with what was asked for."""

from collections.abc import Mapping, Sequence

from keyquorum_plugin_api.codec import Effect, EffectKind, SignerAccount, TransferIntent
from keyquorum_plugin_api.errors import InvalidPayload


def require_transfer(intent: TransferIntent, effects: Sequence[Effect]) -> int:
    """The most that the network may take in fees (minor units), if ``effects`` are the intended transfer and no more.

    Exactly one transfer, equal to the intent in asset, amount, source, destination and memo; else only fees paid by
    the source (or by the fee payer alone, where the intent names one) and change that returns to the source. Raises
    :class:`InvalidPayload` otherwise.
    """
    fee = 0
    transfers = 0
    payer = intent.fee_payer or intent.source
    for effect in effects:
        if effect.source != (payer if effect.kind is EffectKind.FEE else intent.source).address:
            raise InvalidPayload("the payload takes from an account that the intent does not name")
        if effect.kind is EffectKind.FEE:
            fee += effect.amount
        elif effect.kind is EffectKind.TRANSFER:
            transfers += 1
            found = (effect.asset, effect.amount, effect.destination, effect.detail)
            if found != (intent.asset, intent.amount, intent.destination, intent.memo):
                raise InvalidPayload("the payload makes another transfer than the intent")
        elif effect.kind is not EffectKind.CHANGE or effect.destination != intent.source.address:
            raise InvalidPayload(f"the payload does something else than a transfer: {effect.kind}")
    if transfers != 1:
        raise InvalidPayload(f"the payload makes {transfers} transfers instead of one")
    return fee


def require_asked(effects: Sequence[Effect], options: Mapping[str, str]) -> None:
    """Refuse a payload that lives under a condition that nobody asked for.

    A fee's detail of the form ``name=value`` says that the payload was built under that option of the adapter, and would be
    another one without it: a durable nonce, for example, without which the payload would expire.
    """
    for effect in effects:
        name, separator, value = effect.detail.partition("=")
        if effect.kind is EffectKind.FEE and separator and options.get(name) != value:
            raise InvalidPayload(f"the payload was built with {name}, which was not asked for")


def require_cancellation(source: SignerAccount, effects: Sequence[Effect]) -> int:
    """The most that the network may take in fees (minor units), if ``effects`` move nothing away from ``source``.

    Fees, change that returns to the source, and transfers of nothing from the source to itself, which is how an account
    chain spells "nothing". Raises :class:`InvalidPayload` otherwise.
    """
    fee = 0
    for effect in effects:
        if effect.source != source.address:
            raise InvalidPayload("the payload takes from another account")
        if effect.kind is EffectKind.FEE:
            fee += effect.amount
            continue
        returns = effect.destination == source.address
        if not returns or not (
            effect.kind is EffectKind.CHANGE or (effect.kind is EffectKind.TRANSFER and not effect.amount)
        ):
            raise InvalidPayload(f"the payload does more than to cancel: {effect.kind}")
    return fee
