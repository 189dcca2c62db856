"""The hooks. Everything heavy is imported when an adapter is made."""

import sys
from collections.abc import Sequence

from keyquorum_plugin_api.chain import ChainAdapter, ChainContext
from keyquorum_plugin_api.hookspecs import hookimpl


@hookimpl
def keyquorum_chains() -> Sequence[str]:
    """Ethereum and the chains that are like it."""
    return ["eip155"]


@hookimpl
def keyquorum_adapter(context: ChainContext) -> ChainAdapter | None:
    """The adapter for one chain."""
    if not context.chain.startswith("eip155:"):
        return None
    limit = sys.getrecursionlimit()
    from keyquorum_eth.adapter import EthereumAdapter  # noqa: PLC0415 loading a plugin must cost nothing

    # py_ecc, which web3 imports, raises it to 100,000: a node's deeply nested JSON would then overflow the C stack and
    # kill the process instead of being a RecursionError.
    sys.setrecursionlimit(limit)
    return EthereumAdapter(context)
