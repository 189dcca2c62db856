"""The hooks of a chain plugin. Built-in chains use the same ones and have no privileges."""

from collections.abc import Sequence

import pluggy

from keyquorum_plugin_api.chain import ChainAdapter, ChainContext

PROJECT = "keyquorum"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def keyquorum_chains() -> Sequence[str]:  # type: ignore[empty-body]
    """CAIP-2 namespaces that this plugin serves, such as ``["solana"]``. Called at load; must import nothing heavy."""


@hookspec(firstresult=True)
def keyquorum_adapter(context: ChainContext) -> ChainAdapter | None:
    """An adapter for ``context.chain``, or ``None`` if it is not yours. Heavy imports belong in here."""
