"""Plugins: nothing is imported that is not allowed, and one that fails never takes another with it."""

import sys

import pytest

from keyquorum_gateway.plugins import NoPlugin, Plugins, PluginState, installed_plugins
from keyquorum_plugin_api.artifact import artifact_hash, find_codec
from keyquorum_plugin_api.chain import ChainContext
from support.fake_distributions import TOY_SITE, write_distribution

HOOKS = """
from keyquorum_plugin_api.hookspecs import hookimpl
@hookimpl
def keyquorum_chains():
    return {namespaces}
@hookimpl
def keyquorum_adapter(context):
    return None
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of made-up distributions, importable."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name, hooks, version="1.0", group="keyquorum.chains"):
        package = name.replace("-", "_")
        target = f"{package}.plugin" if group.endswith("chains") else f"{package}.plugin:Thing"
        write_distribution(
            tmp_path,
            name,
            version,
            f"[{group}]\n{package} = {target}\n",
            {f"{package}/__init__.py": "", f"{package}/plugin.py": hooks},
        )
        return tmp_path

    yield install
    for name in [name for name in sys.modules if name.startswith("kqt_")]:
        del sys.modules[name]


def context(chain):
    """Of an adapter."""
    return ChainContext(chain, None, None, None, None, None, {})


def states(plugins):
    """By distribution."""
    return {report.distribution: report.state for report in plugins.reports}


def test_what_is_not_allowed_is_not_imported(site):
    """Not even to find out what it is; the report has the line that would allow it."""
    folder = site("kqt-evil", "raise SystemExit('imported')")
    plugins = Plugins(["kqt-good", "Other.One"], installed_plugins(folder))
    (report,) = plugins.reports
    assert report.state is PluginState.REFUSED
    assert report.allow_line == 'allow = ["kqt-evil", "kqt-good", "other-one"]'
    assert "kqt_evil" not in sys.modules


def test_names_are_compared_as_pypa_says(site):
    """Case, hyphens, underscores and dots do not matter."""
    folder = site("Kqt_Case", HOOKS.format(namespaces=["x"]))
    assert states(Plugins(["kqt.case"], installed_plugins(folder))) == {"kqt-case": PluginState.LOADED}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("import no_such_module_anywhere", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("def broken(:", "SyntaxError"),
        (HOOKS.format(namespaces=[]), "serves no chain namespace"),
        (
            HOOKS.format(namespaces=["x"]) + "@hookimpl\ndef keyquorum_adaptor(context):\n    return None\n",
            "unknown hook 'keyquorum_adaptor'",
        ),
    ],
)
def test_a_plugin_that_fails_is_reported_and_the_others_load(site, code, reason):
    """Also one that implements a hook which does not exist: it expects to be called."""
    site("kqt-bad", code)
    folder = site("kqt-good", HOOKS.format(namespaces=["good"]))
    plugins = Plugins(["kqt-bad", "kqt-good"], installed_plugins(folder))
    assert states(plugins) == {"kqt-bad": PluginState.FAILED, "kqt-good": PluginState.LOADED}
    (bad,) = (report for report in plugins.reports if report.distribution == "kqt-bad")
    assert reason in bad.detail
    (good,) = (report for report in plugins.reports if report.distribution == "kqt-good")
    assert good.namespaces == ("good",)


def test_two_plugins_for_one_namespace_serve_none(site):
    """Whoever is asked would be a matter of luck."""
    site("kqt-one", HOOKS.format(namespaces=["dup"]))
    folder = site("kqt-two", HOOKS.format(namespaces=["dup"]))
    plugins = Plugins(["kqt-one", "kqt-two"], installed_plugins(folder))
    with pytest.raises(NoPlugin, match="2 loaded plugins serve dup"):
        plugins.adapter(context("dup:main"))
    with pytest.raises(NoPlugin, match="0 loaded plugins serve moon"):
        plugins.adapter(context("moon:main"))


def test_a_plugin_is_asked_for_its_own_namespaces_only(site):
    """One that serves a namespace and makes no adapter for a chain of it has failed at that chain."""
    folder = site("kqt-none", HOOKS.format(namespaces=["none"]))
    plugins = Plugins(["kqt-none"], installed_plugins(folder))
    with pytest.raises(NoPlugin, match="made no adapter"):
        plugins.adapter(context("none:main"))


RAISES_THE_LIMIT = """
import sys
sys.setrecursionlimit(54_321)
"""


def test_a_plugin_cannot_raise_the_recursion_limit(site):
    """Deep JSON from a node would overflow the C stack of the gateway; some chain libraries raise it on import."""
    before = sys.getrecursionlimit()
    late = HOOKS.format(namespaces=["deep"]).replace("    return None", "    exec(RAISES)\n    return None")
    folder = site("kqt-deep", f"RAISES = {RAISES_THE_LIMIT!r}\n{RAISES_THE_LIMIT}{late}")
    plugins = Plugins(["kqt-deep"], installed_plugins(folder))
    assert sys.getrecursionlimit() == before
    with pytest.raises(NoPlugin, match="made no adapter"):
        plugins.adapter(context("deep:main"))
    assert sys.getrecursionlimit() == before


def test_a_codec_is_loaded_from_its_own_entry_point_and_pinned():
    """The pin that intents carry is the one that every party computes for the same files."""
    plugins = Plugins(["keyquorum-toychain"], installed_plugins(TOY_SITE))
    loaded = plugins.codec("toy")
    distribution, _ = find_codec("toy", TOY_SITE)
    assert (loaded.ref.name, loaded.ref.version, loaded.ref.sha256) == ("toy", "1.0", artifact_hash(distribution))
    with pytest.raises(NoPlugin, match="bitcoin"):
        plugins.codec("bitcoin")


def test_what_is_no_codec_is_not_taken_for_one(site):
    """The entry point has to name a Codec, and the Codec has to have its name."""
    folder = site("kqt-codec", "class Thing:\n    name = 'kqt_codec'\n", group="keyquorum.codecs")
    plugins = Plugins(["kqt-codec"], installed_plugins(folder))
    assert states(plugins) == {"kqt-codec": PluginState.FAILED}
    assert plugins.codecs == {}
