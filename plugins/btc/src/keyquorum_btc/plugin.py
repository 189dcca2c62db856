"""The hooks. Everything heavy is imported when an adapter is made."""

from collections.abc import Sequence

from keyquorum_plugin_api.chain import ChainAdapter, ChainContext
from keyquorum_plugin_api.hookspecs import hookimpl


@hookimpl
def keyquorum_chains() -> Sequence[str]:
    """Every network of Bitcoin."""
    return ["bip122"]


@hookimpl
def keyquorum_adapter(context: ChainContext) -> ChainAdapter | None:
    """The adapter for one network."""
    if not context.chain.startswith("bip122:"):
        return None
    from keyquorum_btc.adapter import BitcoinAdapter  # noqa: PLC0415 loading a plugin must cost nothing

    return BitcoinAdapter(context)
