"""Loading the plugin: hooks, entry points, configuration, and what importing it costs."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import aiohttp
import pluggy
import pytest

from keyquorum_btc.config import parse_config
from keyquorum_btc.network import MAINNET, REGTEST
from keyquorum_plugin_api import hookspecs
from keyquorum_plugin_api.chain import CAPABILITIES
from keyquorum_plugin_api.errors import InvalidConfiguration, Unsupported
from keyquorum_plugin_api.testing import LocalSigner, local_context
from support.bitcoin_codec_target import BitcoinCodecTarget

GOOD = {"esplora_url": "https://esplora.example/v2/s3cret/"}
SIGNER = LocalSigner(BitcoinCodecTarget.codec, [])


def test_hooks_are_the_ones_of_every_plugin(http: aiohttp.ClientSession) -> None:
    """Loaded by entry point, validated against the specifications, asked for its own chains only."""
    host = pluggy.PluginManager(hookspecs.PROJECT)
    host.add_hookspecs(hookspecs)
    (point,) = entry_points(group="keyquorum.chains", name="bitcoin")
    host.register(point.load())
    host.check_pending()
    assert host.hook.keyquorum_chains() == [["bip122"]]
    adapter = host.hook.keyquorum_adapter(context=local_context(MAINNET.chain, SIGNER, http, GOOD))
    info = adapter.info()
    assert (info.chain, info.symbol, info.decimals) == (MAINNET.chain, "BTC", 8)
    assert info.capabilities < CAPABILITIES
    assert host.hook.keyquorum_adapter(context=local_context("eip155:1", SIGNER, http, GOOD)) is None
    with pytest.raises(Unsupported):
        host.hook.keyquorum_adapter(context=local_context("bip122:" + "ab" * 16, SIGNER, http, GOOD))


def test_names_of_the_operator_come_first(http: aiohttp.ClientSession) -> None:
    """And aliases are added to those that everybody knows."""
    from keyquorum_btc.adapter import BitcoinAdapter  # noqa: PLC0415 other tests look at what importing costs

    config = {**GOOD, "name": "Lab", "aliases": ["lab:bitcoin", "bitcoin:regtest"]}
    info = BitcoinAdapter(local_context(REGTEST.chain, SIGNER, http, config)).info()
    assert (info.name, info.aliases) == ("Lab", ("bitcoin:regtest", "lab:bitcoin"))


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("keyquorum_btc", "keyquorum_plugin_api embit aiohttp asyncio pydantic pluggy bitcoinlib"),
        ("keyquorum_btc.plugin", "embit aiohttp asyncio pydantic bitcoinlib keyquorum_btc.adapter"),
        ("keyquorum_btc.adapter", "bitcoinlib sqlalchemy"),
    ],
)
def test_imports(module: str, absent: str) -> None:
    """The package costs nothing, the hooks next to nothing, and bitcoinlib comes when an adapter starts."""
    script = f"import sys, {module}; print(*sorted(set({absent.split()!r}) & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""


def test_defaults() -> None:
    """Only a node has to be named."""
    config = parse_config(GOOD)
    assert (config.confirmations, config.final_confirmations) == (3, 6)
    assert config.esplora_url == GOOD["esplora_url"].rstrip("/")
    assert "s3cret" not in repr(config)
    assert parse_config({"bitcoind_url": "http://127.0.0.1:8332"}).esplora_url is None


@pytest.mark.parametrize(
    "changes",
    [
        {"esplora_url": None},
        {"esplora_url": "s3cret"},
        {"esplora_url": "ftp://s3cret/"},
        {"esplora_url": "https://user:s3cret@node/"},
        {"bitcoind_user": "s3cret"},
        {"bitcoind_password_file": "/s3cret"},
        {"bitcoind_url": "http://node", "bitcoind_user": "s3cret"},
        {"confirmations": 0},
        {"confirmations": 7},
        {"final_confirmations": 2},
        {"fee_rate_max": "s3cret"},
        {"fee_rate_max": 5, "fee_rate_fallback": 6},
        {"fee_rate_max": 2_001},
        {"fee_rate_max": "NaN"},
        {"fee_rate_fallback": "0.0001"},
        {"fee_target_blocks": 2_000},
        {"poll_interval_s": 0},
        {"poll_interval_s": float("inf")},
        {"request_timeout_s": -1},
        {"response_bytes_max": 1},
        {"unheard_of": "s3cret"},
    ],
)
def test_wrong_tables_are_refused_without_showing_values(changes: dict[str, Any]) -> None:
    """Each names its key, and nothing that could be a secret."""
    table = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(InvalidConfiguration) as caught:
        parse_config(table)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_password_files_are_paths() -> None:
    """They are read when they are needed, not before."""
    config = parse_config(
        {"bitcoind_url": "http://node", "bitcoind_user": "me", "bitcoind_password_file": "/run/secrets/none"}
    )
    assert config.bitcoind_password_file == Path("/run/secrets/none")
