"""What a payload does has to be the intent, whole and alone."""

from dataclasses import replace

import pytest

from keyquorum_plugin_api.codec import Effect, EffectKind, SignerAccount, TransferIntent
from keyquorum_plugin_api.effects import require_transfer
from keyquorum_plugin_api.errors import InvalidPayload

ASSET = "chain:1/slip44:0"
INTENT = TransferIntent("chain:1", SignerAccount("us", b"key"), "them", ASSET, 100, "rent")
TRANSFER = Effect(EffectKind.TRANSFER, ASSET, 100, "us", "them", "rent")
FEE = Effect(EffectKind.FEE, ASSET, 7, "us")
CHANGE = Effect(EffectKind.CHANGE, ASSET, 50, "us", "us")


@pytest.mark.parametrize("effects", [(TRANSFER, FEE), (FEE, TRANSFER), (TRANSFER, FEE, CHANGE)])
def test_intended_transfer(effects: tuple[Effect, ...]) -> None:
    """In any order, with change that comes back; the fee is what is returned."""
    assert require_transfer(INTENT, effects) == 7


def test_fees_add_up() -> None:
    """Policy limits the sum."""
    assert require_transfer(INTENT, (FEE, TRANSFER, FEE)) == 14
    assert require_transfer(INTENT, (TRANSFER,)) == 0


@pytest.mark.parametrize(
    "effects",
    [
        (),
        (FEE,),
        (TRANSFER, TRANSFER),
        (replace(TRANSFER, amount=101), FEE),
        (replace(TRANSFER, asset="chain:2/slip44:0"), FEE),
        (replace(TRANSFER, source="others"), FEE),
        (replace(TRANSFER, destination="thief"), FEE),
        (replace(TRANSFER, detail=""), FEE),
        (TRANSFER, replace(FEE, source="others")),
        (TRANSFER, replace(CHANGE, destination="thief")),
        *((TRANSFER, replace(TRANSFER, kind=kind)) for kind in set(EffectKind) - {EffectKind.FEE}),
    ],
)
def test_anything_else_is_refused(effects: tuple[Effect, ...]) -> None:
    """One field or one effect is enough."""
    with pytest.raises(InvalidPayload):
        require_transfer(INTENT, effects)
