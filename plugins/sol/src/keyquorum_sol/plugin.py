"""The hooks. Everything heavy is imported when an adapter is made."""

from collections.abc import Sequence

from keyquorum_plugin_api.chain import ChainAdapter, ChainContext
from keyquorum_plugin_api.hookspecs import hookimpl


@hookimpl
def keyquorum_chains() -> Sequence[str]:
    """Every cluster of Solana."""
    return ["solana"]


@hookimpl
def keyquorum_adapter(context: ChainContext) -> ChainAdapter | None:
    """The adapter for one cluster."""
    if not context.chain.startswith("solana:"):
        return None
    from keyquorum_sol.adapter import SolanaAdapter  # noqa: PLC0415 loading a plugin must cost nothing

    return SolanaAdapter(context)
