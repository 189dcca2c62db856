"""What the supervisor writes is what each process accepts, with every chain and with plugins of others."""

import json
import os
import tomllib

import pytest

from keyquorum_core_signer.config import PartyConfig
from keyquorum_devnet import configuration, operators
from keyquorum_devnet.configuration import Additions, BadAddition, Options
from keyquorum_devnet.engines import ENGINES, engine_of
from keyquorum_devnet.layout import GATEWAY, PARTIES, PROCESSES, Layout
from keyquorum_devnet.stack import Stack
from keyquorum_gateway.config import GatewayConfig
from support.fake_distributions import TOY_SITE

PORTS = {name: 21_000 + index for index, name in enumerate(PROCESSES)}
TOY = """
[chains."toy:1"]
fee_ceiling = "1000"
limits = [{ asset = "toy:1/slip44:1", per_transaction = "10", per_window = "100", window_s = 60 }]

[chains."toy:1".settings]
ledger = "here"
"""


@pytest.fixture
def layout(tmp_path):
    """An empty state folder."""
    made = Layout(tmp_path / "state")
    made.make()
    return made


def written(layout, options, pins=()):
    """The gateway's and the first party's file, as each process reads it."""
    configuration.write(layout, PORTS, options, {}, pins)
    gateway, party = (tomllib.loads(layout.config(name).read_text()) for name in (GATEWAY, PARTIES[0]))
    return GatewayConfig.model_validate(gateway), PartyConfig.model_validate(party)


async def test_every_engine_is_a_chain_with_a_plugin_and_limits(layout):
    """The gateway's own model accepts it; so does a party's with the codecs that are installed."""
    pins = [await operators.codec_pin(engine.codec) for engine in ENGINES]
    gateway, party = written(layout, Options(), pins)
    assert set(gateway.chains) == {engine.chain for engine in ENGINES}
    assert set(gateway.plugins.allow) == {engine.plugin for engine in ENGINES}
    assert {pin.name for pin in party.codecs} == {engine.codec for engine in ENGINES}
    for engine in ENGINES:
        found = gateway.chains[engine.chain]
        assert [limit.asset for limit in found.limits] == [engine.asset]
        assert int(found.fee_ceiling) < int(found.limits[0].per_transaction)
        assert f"//127.0.0.1:{PORTS[engine.name]}" in str(found.settings)


def test_engines_have_names_chains_and_codecs_of_their_own():
    """One process name, one chain and one codec each; both names find it."""
    for field in ("name", "chain", "codec", "plugin"):
        assert len({getattr(engine, field) for engine in ENGINES}) == len(ENGINES)
    for engine in ENGINES:
        assert engine_of(engine.name) is engine_of(engine.chain) is engine
    with pytest.raises(KeyError):
        engine_of("dogecoin")


def test_flags_are_made_once_and_then_left_to_the_operator(layout):
    """They leave every chain to the configuration until somebody changes them; a restart keeps the change."""
    gateway, _ = written(layout, Options())
    assert layout.node(GATEWAY) / gateway.flags.file == layout.flags
    assert json.loads(layout.flags.read_text()) == {"chains": {}}
    layout.flags.write_text("changed")
    written(layout, Options())
    assert layout.flags.read_text() == "changed"


async def test_a_stranger_s_plugin_is_allowed_pinned_and_configured(layout, tmp_path):
    """From a folder that pip --target made: the gateway imports from it, parties pin what lies there now."""
    file = tmp_path / "chains.toml"
    file.write_text(TOY)
    options = Options(additions=Additions(TOY_SITE, ("keyquorum-toychain",), ("toy",), file), engines=ENGINES[:1])
    stack = Stack(layout, options, restart=False, say=print)
    pins = await stack._pin_codecs()
    gateway, party = written(layout, options, pins.values())
    assert gateway.plugins.allow == (ENGINES[0].plugin, "keyquorum-toychain")
    assert gateway.chains["toy:1"].settings == {"ledger": "here"}
    assert gateway.chains["toy:1"].limits[0].window_s == 60
    toy = next(pin for pin in party.codecs if pin.name == "toy")
    assert (toy.version, toy.path) == ("1.0", TOY_SITE)


@pytest.mark.parametrize("text", ["", "[gateway]\n", 'chains = "all"\n', "[chains\n", TOY + "[server]\n"])
def test_a_file_of_something_else_is_refused(layout, tmp_path, text):
    """It may name chains, and is told apart from a whole gateway.toml."""
    file = tmp_path / "chains.toml"
    file.write_text(text)
    with pytest.raises(BadAddition, match=r"chains\.toml"):
        written(layout, Options(additions=Additions(chains=file)))


async def test_the_gateway_alone_imports_from_the_folder(layout, monkeypatch):
    """What PYTHONPATH was stays behind it."""
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    stack = Stack(layout, Options(additions=Additions(path=TOY_SITE)), restart=False, say=print)
    assert stack._import_paths() == {GATEWAY: {"PYTHONPATH": f"{TOY_SITE}{os.pathsep}/elsewhere"}}
    assert Stack(layout, Options(), restart=False, say=print)._import_paths() == {}
