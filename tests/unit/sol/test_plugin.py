"""Loading the plugin: hooks, entry points, configuration, and what importing it costs."""

import subprocess
import sys
from importlib.metadata import entry_points

import aiohttp
import pluggy
import pytest

import keyquorum_sol.plugin
from keyquorum_devnet.solana import CHAIN_ID
from keyquorum_plugin_api import hookspecs
from keyquorum_plugin_api.errors import InvalidConfiguration
from keyquorum_plugin_api.testing import LocalSigner, local_context
from keyquorum_sol.codec import SolanaCodec
from keyquorum_sol.config import parse_config

GOOD = {"rpc_url": "https://rpc.example/v2/s3cret"}


def test_hooks_are_the_ones_of_every_plugin(http: aiohttp.ClientSession) -> None:
    """Loaded by entry point, validated against the specifications, asked for its own chains only."""
    host = pluggy.PluginManager(hookspecs.PROJECT)
    host.add_hookspecs(hookspecs)
    (point,) = entry_points(group="keyquorum.chains", name="solana")
    host.register(point.load())
    host.check_pending()
    assert host.hook.keyquorum_chains() == [["solana"]]
    signer = LocalSigner(SolanaCodec(), [])
    adapter = host.hook.keyquorum_adapter(context=local_context(CHAIN_ID, signer, http, GOOD))
    assert adapter.info().chain == CHAIN_ID
    assert host.hook.keyquorum_adapter(context=local_context("eip155:1", signer, http, GOOD)) is None


def test_codec_is_found_by_its_name() -> None:
    """The party's codec worker looks it up the same way."""
    (point,) = entry_points(group="keyquorum.codecs", name="solana")
    assert point.load() is SolanaCodec
    assert SolanaCodec.name == "solana"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("keyquorum_sol", "keyquorum_plugin_api solders aiohttp asyncio pydantic pluggy"),
        ("keyquorum_sol.plugin", "solders aiohttp asyncio pydantic keyquorum_sol.adapter keyquorum_sol.codec"),
        ("keyquorum_sol.codec", "aiohttp asyncio ssl http socket subprocess pydantic pluggy keyquorum_sol.rpc"),
    ],
)
def test_imports(module: str, absent: str) -> None:
    """The package costs nothing, the hooks next to nothing, and the codec nothing that does input or output."""
    script = f"import sys, {module}; print(*sorted(set({absent.split()!r}) & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""


def test_defaults() -> None:
    """Only the node has to be named."""
    config = parse_config(GOOD)
    assert (config.commitment, config.ws_url, config.priority_fee_percentile) == ("confirmed", None, 75)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rpc_url", "ftp://x"),
        ("rpc_url", "https://"),
        ("rpc_url", 7),
        ("ws_url", "https://x"),
        ("commitment", "processed"),
        ("priority_fee_percentile", 101),
        ("priority_fee_ceiling_lamports", 10**9),
        ("priority_fee_ceiling_lamports", -1),
        ("expiry_margin_blocks", 0),
        ("expiry_margin_blocks", 150),
        ("request_timeout_s", 0),
        ("request_timeout_s", float("inf")),
        ("poll_interval_s", float("nan")),
        ("rpc_ur1", "https://x"),
    ],
)
def test_wrong_configuration_is_named(key: str, value: object) -> None:
    """By its key, and without any value: URLs carry tokens."""
    with pytest.raises(InvalidConfiguration, match=key) as caught:
        parse_config({**GOOD, key: value})
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in str(caught.value.__context__)
    assert caught.value.__suppress_context__


def test_missing_node_is_named() -> None:
    """There is no default endpoint: a wallet does not talk to whoever happens to be there."""
    with pytest.raises(InvalidConfiguration, match="rpc_url"):
        parse_config({})


def test_secrets_are_not_shown() -> None:
    """Neither by the configuration nor by an adapter's."""
    assert "s3cret" not in repr(parse_config({**GOOD, "ws_url": "wss://x/s3cret"}))


async def test_module_is_the_plugin() -> None:
    """The entry point names the module that carries the hooks."""
    (point,) = entry_points(group="keyquorum.chains", name="solana")
    assert point.load() is keyquorum_sol.plugin


@pytest.mark.parametrize(
    "tokens",
    [
        {"mint": "TKN"},
        {"4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS": ""},
        {"4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS": "x" * 17},
        [],
        {"4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS": "a\x1b"},
    ],
)
def test_tokens_are_named_by_mint_and_symbol(tokens: object) -> None:
    """A symbol that people can read, of a mint that can exist."""
    with pytest.raises(InvalidConfiguration, match="tokens"):
        parse_config({**GOOD, "tokens": tokens})


@pytest.mark.parametrize("size", [0, 101, "many"])
def test_batches_have_a_size(size: object) -> None:
    """At most as many calls as nodes take."""
    with pytest.raises(InvalidConfiguration, match="rpc_batch_max"):
        parse_config({**GOOD, "rpc_batch_max": size})
