"""Plugins: which installed distributions may bring chains and codecs into this process, and what became of each.

Nothing of a distribution is imported before its name is found in the allow-list. A plugin that fails to load is
reported and the others go on; one that implements a hook nobody specified is refused, because it expects to be called.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import Final

import pluggy

from keyquorum_gateway.intents import CodecRef
from keyquorum_plugin_api import hookspecs
from keyquorum_plugin_api.artifact import artifact_hash
from keyquorum_plugin_api.chain import ChainAdapter, ChainContext
from keyquorum_plugin_api.codec import Codec

CHAINS_GROUP: Final = "keyquorum.chains"
CODECS_GROUP: Final = "keyquorum.codecs"

_DETAIL_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Installed:
    """An entry point and the distribution that declares it."""

    distribution: Distribution
    entry_point: EntryPoint


class PluginState(StrEnum):
    """What became of an installed plugin."""

    LOADED = "loaded"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PluginReport:
    """One entry point of one distribution. ``allow_line`` is the configuration that would allow a refused one."""

    distribution: str
    version: str
    group: str
    name: str
    state: PluginState
    detail: str = ""
    allow_line: str = ""
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedCodec:
    """A codec by its entry-point name, and the pin that intents carry."""

    codec: Codec
    ref: CodecRef


class NoPlugin(LookupError):
    """No loaded plugin serves the chain, or more than one does; the text says which."""


class Plugins:
    """The plugins that are loaded, and reports on all that are installed."""

    def __init__(self, allow: Iterable[str], installed: Iterable[Installed]) -> None:
        self._allow = frozenset(map(normalized, allow))
        self._hooks = pluggy.PluginManager(hookspecs.PROJECT)
        self._hooks.add_hookspecs(hookspecs)
        self._namespaces: dict[str, list[str]] = {}
        self.codecs: Final[dict[str, LoadedCodec]] = {}
        self.reports: Final = tuple(self._load(each) for each in installed)

    def adapter(self, context: ChainContext) -> ChainAdapter:
        """A new adapter for a chain, by the one plugin that serves its namespace; :class:`NoPlugin` otherwise."""
        namespace = context.chain.partition(":")[0]
        names = self._namespaces.get(namespace, [])
        if len(names) != 1:
            raise NoPlugin(f"{len(names)} loaded plugins serve {namespace}: {', '.join(names) or 'none'}")
        others = [plugin for name, plugin in self._hooks.list_name_plugin() if name != names[0]]
        with _same_recursion_limit():
            made = self._hooks.subset_hook_caller("keyquorum_adapter", others)(context=context)
        if not isinstance(made, ChainAdapter):
            raise NoPlugin(f"plugin {names[0]} made no adapter for {context.chain}")
        return made

    def codec(self, name: str) -> LoadedCodec:
        """A loaded codec; :class:`NoPlugin` where there is none of that name."""
        try:
            return self.codecs[name]
        except KeyError:
            raise NoPlugin(f"no loaded codec is called {name}") from None

    def _load(self, installed: Installed) -> PluginReport:
        name = normalized(installed.distribution.metadata["Name"])
        entry = installed.entry_point
        state, detail, allow_line = PluginState.LOADED, "", ""
        if name not in self._allow:
            state, detail = PluginState.REFUSED, "not in the allow-list of [plugins]"
            allow_line = f"allow = {json.dumps(sorted({*self._allow, name}))}"
        else:
            try:
                load = self._load_codec if entry.group == CODECS_GROUP else self._load_chains
                with _same_recursion_limit():
                    load(installed)
            except (SystemExit, Exception) as error:  # noqa: BLE001 - a plugin's import may do anything
                state, detail = PluginState.FAILED, f"{type(error).__name__}: {error}"[:_DETAIL_CHARS_MAX]
        return PluginReport(
            distribution=name,
            version=installed.distribution.version,
            group=entry.group,
            name=entry.name,
            state=state,
            detail=detail,
            allow_line=allow_line,
            namespaces=tuple(n for n, plugins in self._namespaces.items() if _hook_name(installed) in plugins),
        )

    def _load_chains(self, installed: Installed) -> None:
        name = _hook_name(installed)
        self._hooks.register(installed.entry_point.load(), name=name)
        try:
            self._hooks.check_pending()
            served = self._served_by(name)
        except BaseException:
            self._hooks.unregister(name=name)
            raise
        for namespace in served:
            self._namespaces.setdefault(namespace, []).append(name)

    def _served_by(self, name: str) -> tuple[str, ...]:
        others = [plugin for other, plugin in self._hooks.list_name_plugin() if other != name]
        answers = self._hooks.subset_hook_caller("keyquorum_chains", others)()
        served = tuple(str(namespace) for answer in answers for namespace in answer)
        if not served:
            raise ValueError("it serves no chain namespace")
        return served

    def _load_codec(self, installed: Installed) -> None:
        name = installed.entry_point.name
        if name in self.codecs:
            raise ValueError(f"another codec is called {name}")
        kind = installed.entry_point.load()
        if not (isinstance(kind, type) and issubclass(kind, Codec)) or kind.name != name:
            raise TypeError("not a Codec of its entry point's name")
        ref = CodecRef(name, installed.distribution.version, artifact_hash(installed.distribution))
        self.codecs[name] = LoadedCodec(kind(), ref)


def installed_plugins(folder: Path | None = None) -> tuple[Installed, ...]:
    """Every chain and codec of this environment, or of a folder made with ``pip install --target``; imports nothing."""
    found = distributions() if folder is None else distributions(path=[str(folder)])
    plugins = {
        (entry.group, entry.name, normalized(distribution.metadata["Name"])): Installed(distribution, entry)
        for distribution in reversed(list(found))
        for entry in distribution.entry_points
        if entry.group in (CHAINS_GROUP, CODECS_GROUP)
    }
    return tuple(plugins[key] for key in sorted(plugins))


def normalized(name: str) -> str:
    """A distribution's name as PyPA's specification compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@contextmanager
def _same_recursion_limit() -> Iterator[None]:
    """Take back what an import did to the interpreter's recursion limit.

    Libraries that chains need raise it a hundredfold. Deep JSON from a node would then overflow the C stack, and that ends the
    gateway, where it should be one refused answer.
    """
    limit = sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _hook_name(installed: Installed) -> str:
    return f"{normalized(installed.distribution.metadata['Name'])}:{installed.entry_point.name}"
