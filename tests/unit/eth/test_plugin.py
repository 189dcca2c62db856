"""Loading the plugin: hooks, entry points, configuration, and what importing it costs."""

import subprocess
import sys
from importlib.metadata import entry_points

import aiohttp
import pluggy
import pytest

import keyquorum_eth.plugin
from keyquorum_eth.codec import EthereumCodec
from keyquorum_eth.config import parse_config
from keyquorum_plugin_api import hookspecs
from keyquorum_plugin_api.errors import InvalidConfiguration, Unsupported
from keyquorum_plugin_api.testing import LocalSigner, local_context, refused
from support.anvil import CHAIN

GOOD = {"rpc_url": "https://rpc.example/v2/s3cret"}


def test_hooks_are_the_ones_of_every_plugin(http: aiohttp.ClientSession) -> None:
    """Loaded by entry point, validated against the specifications, asked for its own chains only."""
    host = pluggy.PluginManager(hookspecs.PROJECT)
    host.add_hookspecs(hookspecs)
    (point,) = entry_points(group="keyquorum.chains", name="ethereum")
    assert point.load() is keyquorum_eth.plugin
    host.register(point.load())
    host.check_pending()
    assert host.hook.keyquorum_chains() == [["eip155"]]
    signer = LocalSigner(EthereumCodec(), [])
    adapter = host.hook.keyquorum_adapter(context=local_context(CHAIN, signer, http, GOOD))
    assert adapter.info().chain == CHAIN
    mainnet = host.hook.keyquorum_adapter(context=local_context("eip155:1", signer, http, GOOD))
    assert (mainnet.info().name, mainnet.info().aliases) == ("Ethereum", ("ethereum:mainnet",))
    assert host.hook.keyquorum_adapter(context=local_context("solana:x", signer, http, GOOD)) is None
    with refused(Unsupported):
        host.hook.keyquorum_adapter(context=local_context("eip155:local", signer, http, GOOD))


def test_codec_is_found_by_its_name() -> None:
    """The party's codec worker looks it up the same way."""
    (point,) = entry_points(group="keyquorum.codecs", name="ethereum")
    assert point.load() is EthereumCodec
    assert (EthereumCodec.name, EthereumCodec.namespace, EthereumCodec.scheme) == (
        "ethereum", "eip155", "ecdsa_secp256k1",
    )  # fmt: skip
    assert EthereumCodec.payload_names_chain


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("keyquorum_eth", "keyquorum_plugin_api web3 eth_utils rlp coincurve aiohttp asyncio pydantic pluggy"),
        (
            "keyquorum_eth.plugin",
            "web3 eth_utils rlp coincurve aiohttp pydantic keyquorum_eth.adapter keyquorum_eth.codec",
        ),
        ("keyquorum_eth.codec", "web3 eth_account eth_abi aiohttp asyncio pluggy keyquorum_eth.rpc"),
    ],
)
def test_imports(module: str, absent: str) -> None:
    """The package costs nothing, the hooks next to nothing, and the codec neither web3 nor anything that talks to nodes."""
    script = f"import sys, {module}; print(*sorted(set({absent.split()!r}) & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""


def test_defaults() -> None:
    """Only the node has to be named."""
    config = parse_config(GOOD)
    assert (config.confirmations, config.final_confirmations, config.ws_url, config.tokens) == (3, None, None, ())


def test_tokens_are_addresses() -> None:
    """In any spelling that is not a mistake."""
    lower = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"
    assert parse_config({**GOOD, "tokens": [lower]}).tokens == ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rpc_url", "ftp://x"),
        ("rpc_url", "https://"),
        ("rpc_url", 7),
        ("ws_url", "https://x"),
        ("confirmations", 0),
        ("final_confirmations", 0),
        ("final_confirmations", 10_001),
        ("fee_percentile", 101),
        ("priority_fee_max", 0),
        ("max_fee_max", -1),
        ("max_fee_max", 10**16),
        ("gas_margin_percent", 301),
        ("tokens", ["0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]),
        ("tokens", ["USDC"]),
        ("request_timeout_s", 0),
        ("request_timeout_s", float("inf")),
        ("poll_interval_s", float("nan")),
        ("response_bytes_max", 1),
        ("rpc_ur1", "https://x"),
    ],
)
def test_wrong_configuration_is_named(key: str, value: object) -> None:
    """By its key, and without any value: URLs carry tokens."""
    with pytest.raises(InvalidConfiguration, match=key) as caught:
        parse_config({**GOOD, key: value})
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_finality_is_deeper_than_confirmation() -> None:
    """What is final before it is confirmed is a mistake of an operator."""
    with pytest.raises(InvalidConfiguration, match="final_confirmations"):
        parse_config({**GOOD, "confirmations": 5, "final_confirmations": 4})


def test_secrets_are_not_shown() -> None:
    """Neither by the configuration nor by an error about it."""
    assert "s3cret" not in repr(parse_config({**GOOD, "ws_url": "wss://x/s3cret"}))
