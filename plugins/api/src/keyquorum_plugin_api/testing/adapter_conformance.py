"""What every adapter must do on a running chain. Subclass, provide the async fixture ``target``, and run under pytest with
pytest-asyncio in its automatic mode.

An adapter is held to every capability that it claims, and must refuse with ``Unsupported`` whatever it does not claim.
"""

from keyquorum_plugin_api.testing.accounts_conformance import FeePayerConformance, ImportConformance
from keyquorum_plugin_api.testing.event_conformance import EventConformance
from keyquorum_plugin_api.testing.outcome_conformance import OutcomeConformance
from keyquorum_plugin_api.testing.replacement_conformance import ReplacementConformance
from keyquorum_plugin_api.testing.scenes import (
    FINAL,
    PATIENCE_S,
    RefusingSigner,
    amounts,
    collected,
    confirmed,
    funded_intent,
    nothing_reserved,
    opened,
    unreachable,
)
from keyquorum_plugin_api.testing.transfer_conformance import TransferConformance

__all__ = [
    "FINAL",
    "PATIENCE_S",
    "AdapterConformance",
    "RefusingSigner",
    "amounts",
    "collected",
    "confirmed",
    "funded_intent",
    "nothing_reserved",
    "opened",
    "unreachable",
]


class AdapterConformance(
    TransferConformance,
    OutcomeConformance,
    ReplacementConformance,
    ImportConformance,
    FeePayerConformance,
    EventConformance,
):
    """Each method is a test; ``target`` is a :class:`ChainTarget`. Account 0 pays account 1."""
