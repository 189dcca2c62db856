"""What a target may offer beside :class:`~keyquorum_plugin_api.testing.target.ChainTarget`, where its chain knows it.

A target that has the members of one of these is held to more; what it lacks is listed in the report as not run.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from keyquorum_plugin_api.chain import ChainAdapter
from keyquorum_plugin_api.codec import SignedTransaction
from keyquorum_plugin_api.signer import Signer


@runtime_checkable
class DocumentTarget(Protocol):
    """For codecs with ``typed_data``."""

    document: str  # that account 0 may sign
    hostile_documents: Mapping[str, str]  # name -> document that ``build_typed_data`` must refuse


@runtime_checkable
class FeeTarget(Protocol):
    """For adapters whose options name a fee."""

    fee_too_high: Mapping[str, str]  # options that ask for more than the configured ceiling; empty if there are none
    fee_too_low: Mapping[str, str]  # options with which the node refuses the transaction; empty if there are none


@runtime_checkable
class ConfigurableTarget(Protocol):
    """For adapters with settings."""

    async def configured(self, signer: Signer, changes: Mapping[str, Any]) -> ChainAdapter:
        """A new, started adapter whose settings have these changes."""


@runtime_checkable
class ForgetfulTarget(Protocol):
    """For chains whose node can be made to lose an answer."""

    async def forgetful(self, signer: Signer) -> ChainAdapter:
        """A new, started adapter whose node takes what is submitted, and whose answer to that is lost each time."""


@runtime_checkable
class RejectingTarget(Protocol):
    """For nodes that refuse what an adapter cannot know to be wrong."""

    async def rejected(self) -> SignedTransaction:
        """Well-formed bytes, signed by account 0, that the node refuses for good for a reason of its own."""


@runtime_checkable
class ReorganisingTarget(Protocol):
    """For chains on which blocks can be dropped."""

    async def reorganise(self) -> None:
        """Drop the latest blocks, as many as may be dropped, with what they hold; others take their place. Bytes that
        were dropped may be included again by ``advance``, at the latest once they were submitted again."""
