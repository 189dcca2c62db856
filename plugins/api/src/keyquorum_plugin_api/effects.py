"""Comparing what a payload does with what was asked for."""

from collections.abc import Sequence

from keyquorum_plugin_api.codec import Effect, EffectKind, TransferIntent
from keyquorum_plugin_api.errors import InvalidPayload


def require_transfer(intent: TransferIntent, effects: Sequence[Effect]) -> int:
    """The most that the network may take in fees (minor units), if ``effects`` are the intended transfer and no more.

    Exactly one transfer, equal to the intent in asset, amount, source, destination and memo; else only fees paid by
    the source and change that returns to it. Raises :class:`InvalidPayload` otherwise.
    """
    fee = 0
    transfers = 0
    for effect in effects:
        if effect.source != intent.source.address:
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
