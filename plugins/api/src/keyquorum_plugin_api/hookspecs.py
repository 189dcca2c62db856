"""The hooks of a chain plugin. Built-in chains use the same ones and have no privileges.

A distribution names its hook module under the entry-point group ``keyquorum.chains`` and its codec class under
``keyquorum.codecs``, both by the plugin's name. A host loads what its configuration allows, registers it with
``PluginManager(PROJECT)``, and calls ``check_pending()``.
"""

from collections.abc import Sequence

import pluggy

from keyquorum_plugin_api.chain import ChainAdapter, ChainContext

PROJECT = "keyquorum"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def keyquorum_chains() -> Sequence[str]:  # type: ignore[empty-body]
    """CAIP-2 namespaces that this plugin serves, such as ``["solana"]``. Called at load; must import nothing heavy.

    Example::

        @hookimpl
        def keyquorum_chains():
            return ["toy"]
    """


@hookspec(firstresult=True)
def keyquorum_adapter(context: ChainContext) -> ChainAdapter | None:
    """An adapter for ``context.chain``, or ``None`` if it is not yours. Heavy imports belong in here; I/O belongs in
    ``start``, which the host awaits. ``InvalidConfiguration`` if ``context.config`` is wrong.

    Example::

        @hookimpl
        def keyquorum_adapter(context):
            if not context.chain.startswith("toy:"):
                return None
            from keyquorum_toy.adapter import ToyAdapter

            return ToyAdapter(context)
    """
