"""The chains of a stack on this machine, in the order in which they are started and shown."""

from typing import Final

from keyquorum_devnet.engines.bitcoin import BITCOIN
from keyquorum_devnet.engines.engine import ChainClient, ChainSays, Engine, Judged, TokenClient
from keyquorum_devnet.engines.ethereum import ETHEREUM
from keyquorum_devnet.engines.solana import SOLANA

ENGINES: Final = (SOLANA, BITCOIN, ETHEREUM)

__all__ = [
    "BITCOIN",
    "ENGINES",
    "ETHEREUM",
    "SOLANA",
    "ChainClient",
    "ChainSays",
    "Engine",
    "Judged",
    "TokenClient",
    "engine_of",
]


def engine_of(name: str) -> Engine:
    """The engine of a name, or of a CAIP-2 id; ``KeyError`` where there is none."""
    for engine in ENGINES:
        if name in {engine.name, engine.chain}:
            return engine
    raise KeyError(name)
