"""The toy chain's hooks."""

from collections.abc import Sequence

from keyquorum_plugin_api.chain import ChainAdapter, ChainContext
from keyquorum_plugin_api.hookspecs import hookimpl


@hookimpl
def keyquorum_chains() -> Sequence[str]:
    """Toy chains."""
    return ["toy"]


@hookimpl
def keyquorum_adapter(context: ChainContext) -> ChainAdapter | None:
    """An adapter for a toy chain."""
    if not context.chain.startswith("toy:"):
        return None
    from toychain.adapter import ToyAdapter  # noqa: PLC0415 loading a plugin must cost nothing

    return ToyAdapter(context)
