"""Fee rates: estimated, asked for, and always between what the network relays and what the operator allows."""

import pytest

from keyquorum_btc.config import BitcoinConfig, parse_config
from keyquorum_btc.fees import FeeRates, rate_option
from keyquorum_btc.nodes import Nodes
from keyquorum_plugin_api.errors import FeeTooHigh, FeeTooLow, Unsupported
from keyquorum_plugin_api.testing import RecordingLogger
from support.bitcoin_scripted import Says, ScriptedBitcoin
from support.manual_clock import ManualClock


@pytest.fixture
def config() -> BitcoinConfig:
    return parse_config(
        {"esplora_url": "http://node", "fee_rate_max": 50, "fee_rate_fallback": "7.5", "fee_target_blocks": 2}
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log() -> RecordingLogger:
    return RecordingLogger()


@pytest.fixture
def rates(nodes: Nodes, config: BitcoinConfig, clock: ManualClock, log: RecordingLogger) -> FeeRates:
    return FeeRates(nodes, config, clock, log)


@pytest.mark.parametrize(("estimate", "rate"), [(20, 20_000), (0.2, 1_000), (50, 50_000)])
async def test_estimates_are_used_within_bounds(
    rates: FeeRates, script: ScriptedBitcoin, estimate: float, rate: int
) -> None:
    """And never below what is relayed."""
    script.paths["/fee-estimates"] = {"2": estimate}
    assert await rates.rate(None) == rate


@pytest.mark.parametrize("estimate", [50.001, 1_000_000, 10_000_000])
async def test_estimates_above_the_ceiling_are_refused(
    rates: FeeRates, script: ScriptedBitcoin, estimate: float
) -> None:
    """A lying node can stop payments, and cannot make them dear."""
    script.paths["/fee-estimates"] = {"2": estimate}
    with pytest.raises(FeeTooHigh):
        await rates.rate(None)


@pytest.mark.parametrize("answer", [{}, {"2": "x"}, Says("[]"), Says("", 500), Says("{")])
async def test_without_an_estimate_the_fallback_is_used(
    rates: FeeRates, script: ScriptedBitcoin, answer: object
) -> None:
    """Whatever the reason why there is none."""
    script.paths["/fee-estimates"] = answer
    assert await rates.rate(None) == 7_500


async def test_clients_choose_within_the_same_bounds(rates: FeeRates) -> None:
    """Too little is refused before anybody signs."""
    assert await rates.rate(50_000) == 50_000
    with pytest.raises(FeeTooHigh):
        await rates.rate(50_001)
    with pytest.raises(FeeTooLow):
        await rates.rate(999)
    rates.require_affordable_fee(50 * 111, 111)
    with pytest.raises(FeeTooHigh):
        rates.require_affordable_fee(50 * 111 + 1, 111)


async def test_builds_share_an_estimate(rates: FeeRates, script: ScriptedBitcoin, clock: ManualClock) -> None:
    """For as long as it is configured, and no longer."""
    for _ in range(3):
        await rates.rate(None)
    assert script.requests.count("/fee-estimates") == 1
    await clock.advance(11)
    await rates.rate(None)
    assert script.requests.count("/fee-estimates") == 2


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1.2345", " 1", "1,5", "0x1", "٣", "1" * 7, "01", ".5", "NaN"])
def test_rates_are_plain_decimals(text: str) -> None:
    """Of satoshi per virtual byte."""
    with pytest.raises(Unsupported):
        rate_option(text)
    assert rate_option(None) is None
    assert rate_option("12.345") == 12_345
