"""What a chain tells the conformance suites about itself."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from keyquorum_plugin_api.chain import ChainAdapter, Reservations
from keyquorum_plugin_api.codec import Codec
from keyquorum_plugin_api.signer import Signer
from keyquorum_plugin_api.testing.signer import LocalAccount


class CodecTarget(Protocol):
    """A codec and material for it; no I/O."""

    codec: Codec
    chain: str  # CAIP-2
    other_chain: str  # another chain of the same namespace
    asset: str  # CAIP-19 of the native asset on ``chain``
    amount: int  # minor units; enough for a new account to exist
    memo: str  # a memo, or empty if the chain has none
    metadata: Mapping[str, str]  # with which ``build`` works
    invalid_addresses: Sequence[str]  # refused as a destination
    hostile_payloads: Mapping[str, bytes]  # name -> payload to be signed by account 0 that ``decode`` must refuse

    def account(self, index: int) -> LocalAccount:
        """An account of the key, the same one for the same index."""


class ChainTarget(CodecTarget, Protocol):
    """A chain that runs, on which coins are worth nothing."""

    reservations: Reservations  # that the adapters made here use

    async def adapter(self, signer: Signer) -> ChainAdapter:
        """A new, started adapter; the suite closes it."""

    async def unreachable(self, signer: Signer) -> ChainAdapter:
        """A new, started adapter whose node does not answer."""

    async def fund(self, address: str, amount: int) -> None:
        """Give an account coins; returns when they can be spent."""

    async def advance(self) -> None:
        """Let the chain go on a little: enough calls confirm whatever was submitted."""

    async def expire(self) -> None:
        """Let so much time pass on the chain that nothing built until now can still be included."""
