"""The gate: file, then configuration, and closed wherever neither can be trusted; counted, traced, and waited for."""

import asyncio
import json

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from keyquorum_gateway.config import ChainConfig, FlagsConfig
from keyquorum_gateway.flags import chain_flags
from keyquorum_gateway.flags.chain_flags import ChainFlags
from keyquorum_gateway.flags.provider import FileProvider
from keyquorum_gateway.flags.rollout import Reason
from keyquorum_gateway.problems import Problem
from keyquorum_gateway.telemetry import Metrics

CHAIN, MINE, OFF = "toy:main", "toy:mine", "toy:off"
CHAINS = {
    CHAIN: ChainConfig(fee_ceiling="1"),
    MINE: ChainConfig(fee_ceiling="1", tenants=("acme",)),
    OFF: ChainConfig(fee_ceiling="1", enabled=False),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "flags.json"


@pytest.fixture
async def gate(path):
    """Gates over the file, opened, and closed at the end."""
    made = []

    async def making(flags=None, *, file=True):
        if flags is not None:
            write(path, flags)
        gate = ChainFlags(FlagsConfig(file=path if file else None), CHAINS, Metrics())
        made.append(gate)
        await gate.open()
        return gate

    yield making
    for gate in made:
        await gate.close()


def write(path, flags):
    path.write_text(json.dumps({"chains": flags}))


def reason(gate, chain=CHAIN, at="build", tenant="acme", wallet=""):
    decision = gate.decide(chain, tenant_id=tenant, wallet_id=wallet, at=at)
    return ("+" if decision.allowed else "-") + decision.reason


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_without_a_file_the_configuration_decides(gate):
    """Enabled, and the list of tenants; an unknown chain is open for nobody."""
    flags = await gate(file=False)
    assert reason(flags) == "+configuration"
    assert reason(flags, MINE) == "+configuration"
    assert reason(flags, MINE, tenant="globex") == "-configuration"
    assert reason(flags, MINE, tenant="globex", at="broadcast") == "+under-way"
    assert reason(flags, OFF) == "-configuration"
    assert reason(flags, "toy:nowhere", at="broadcast") == "-configuration"
    assert flags.health == "configuration"


async def test_a_flag_decides_instead_of_the_configuration(gate):
    """It opens what the list of tenants closes, and the other way round; what it does not name stays as configured."""
    flags = await gate({MINE: {"enabled": True}, OFF: {"enabled": True}})
    assert reason(flags, MINE, tenant="globex") == "+everyone"
    assert reason(flags, CHAIN) == "+configuration"
    assert reason(flags, OFF) == "-configuration", "a chain that is not loaded cannot be opened"


async def test_every_refusal_is_one_problem_with_its_reason(gate):
    """403, never retriable by itself, and without a word about other tenants."""
    flags = await gate({CHAIN: {"enabled": True, "tenants": ["acme"]}, MINE: {"kill": True}})
    flags.require(CHAIN, tenant_id="acme")
    for chain, why in ((CHAIN, "not-in-canary"), (MINE, "killed"), (OFF, "configuration")):
        with pytest.raises(Problem) as caught:
            flags.require(chain, tenant_id="globex", wallet_id="wal_1", at="build")
        assert (caught.value.code, caught.value.status) == ("chain-not-enabled", 403)
        assert caught.value.extensions == {"reason": why}
        assert "acme" not in str(caught.value)


@pytest.mark.parametrize("at", ["build", "read", "broadcast"])
async def test_an_unreadable_file_closes_every_chain_until_it_is_read(gate, path, at):
    """It may hold a kill. The moment it can be read, whoever waits goes on."""
    path.write_text("{")
    flags = await gate()
    assert reason(flags, CHAIN, at) == "-flags-unavailable"
    assert flags.state(CHAIN, "acme").stage == "held"
    assert flags.health.startswith("unreadable")
    waits = asyncio.create_task(flags.until_allowed(CHAIN, tenant_id="acme", at=at))
    await asyncio.sleep(0.05)
    assert not waits.done()
    write(path, {})
    await asyncio.wait_for(waits, 10)
    assert flags.health == "ok"


async def test_a_file_that_breaks_later_changes_nothing_but_what_is_shown(gate, path):
    """Kills and openings stay; health, lists and the gauge say so."""
    flags = await gate({CHAIN: {"kill": True}, MINE: {"enabled": True}})
    path.write_text('{"chains"')
    await until(lambda: flags.problem)
    assert reason(flags) == "-killed"
    assert reason(flags, MINE, tenant="globex") == "+everyone"
    assert flags.health == "stale, the last good state counts"
    assert flags.state(CHAIN, "acme").stale
    await until(lambda: flags._metrics.flags_stale._value.get() == 1)
    write(path, {})
    await until(lambda: not flags.problem)
    assert reason(flags) == "+configuration"
    await until(lambda: flags._metrics.flags_stale._value.get() == 0)


async def test_waiting_ends_with_the_revival_and_no_earlier(gate, path):
    """Other changes wake it, and it goes on waiting; many can wait."""
    flags = await gate({CHAIN: {"kill": True}})
    waiting = [asyncio.create_task(flags.until_allowed(CHAIN, tenant_id="acme")) for _ in range(50)]
    write(path, {CHAIN: {"kill": True}, MINE: {"enabled": False}})
    await until(lambda: reason(flags, MINE) == "-disabled")
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    write(path, {CHAIN: {"kill": False, "enabled": False}})
    await asyncio.wait_for(asyncio.gather(*waiting), 10)


async def test_a_wait_counts_twice_however_often_it_wakes(gate, path):
    """Closed, then open."""
    flags = await gate({CHAIN: {"kill": True}})
    waits = asyncio.create_task(flags.until_allowed(CHAIN, tenant_id="acme"))
    for turn in range(3):
        write(path, {CHAIN: {"kill": True, "salt": str(turn)}})
        await until(lambda turn=turn: flags.rollout(CHAIN).salt == str(turn))
    write(path, {})
    await asyncio.wait_for(waits, 10)
    [family] = flags._metrics.flag_decisions.collect()
    assert {s.labels["reason"]: s.value for s in family.samples if s.name.endswith("_total")} == {
        "killed": 1,
        "under-way": 1,
    }


async def test_a_lost_event_delays_and_no_more(gate, path, monkeypatch):
    """Whoever waits looks again by itself."""
    monkeypatch.setattr(chain_flags, "_MISSED_S", 0.05)
    flags = await gate({CHAIN: {"kill": True}})
    monkeypatch.setattr(FileProvider, "_announce", lambda *_: None)
    waits = asyncio.create_task(flags.until_allowed(CHAIN, tenant_id="acme"))
    write(path, {})
    await asyncio.wait_for(waits, 10)


async def test_waiting_for_what_is_open_does_not_wait(gate):
    """Nor yield."""
    flags = await gate({})
    with pytest.raises(StopIteration):
        flags.until_allowed(CHAIN, tenant_id="acme").send(None)


async def test_a_provider_that_fails_closes_the_chain(gate, monkeypatch, caplog):
    """Whatever it raises, and whatever it says that is no reason of ours."""
    flags = await gate({CHAIN: {"enabled": True}})

    def explode(*_args, **_rest):
        raise RuntimeError("boom")

    monkeypatch.setattr(FileProvider, "resolve_boolean_details", explode)
    assert reason(flags) == "-flags-unavailable"
    assert reason(flags, at="broadcast") == "-flags-unavailable"


async def test_two_gateways_in_one_process_have_flags_of_their_own(gate, tmp_path):
    """OpenFeature's registry is the process's; each gate has its domain."""
    first = await gate({CHAIN: {"enabled": False}})
    other = tmp_path / "other.json"
    write(other, {CHAIN: {"enabled": True}})
    second = ChainFlags(FlagsConfig(file=other), CHAINS, Metrics())
    await second.open()
    assert (reason(first), reason(second)) == ("-disabled", "+everyone")
    await second.close()
    assert reason(first) == "-disabled"
    assert reason(second) == "-flags-unavailable", "a closed gate opens nothing"


async def test_every_decision_is_counted_and_shown_decisions_are_not(gate):
    """By chain, outcome and reason; names that clients make up get no series."""
    flags = await gate({CHAIN: {"enabled": True, "tenants": ["acme"]}})
    reason(flags)
    reason(flags, tenant="globex")
    reason(flags, tenant="globex")
    reason(flags, "toy:made-up")
    flags.state(CHAIN, "acme")
    [family] = flags._metrics.flag_decisions.collect()
    counted = {tuple(s.labels.values()): s.value for s in family.samples if s.name.endswith("_total")}
    assert counted == {(CHAIN, "allowed", "tenant"): 1, (CHAIN, "refused", "not-in-canary"): 2}


async def test_the_decision_is_on_the_span(gate):
    """Under OpenTelemetry's names for flags."""
    flags = await gate({CHAIN: {"kill": True}})
    with TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        reason(flags)
    assert trace.get_current_span() is not span
    assert span.attributes == {
        "feature_flag.key": f"chain.{CHAIN}",
        "feature_flag.provider.name": "keyquorum-file",
        "feature_flag.result.value": False,
        "feature_flag.result.variant": "killed",
    }


@pytest.mark.parametrize(
    ("flag", "tenant", "shown"),
    [
        (None, "acme", (True, Reason.CONFIGURATION, "configuration", None, None, False, "configuration")),
        ({"enabled": True}, "acme", (True, Reason.EVERYONE, "enabled", None, None, False, "file")),
        ({"enabled": True, "tenants": ["acme"]}, "acme", (True, Reason.TENANT, "canary", 0, "tenant", True, "file")),
        ({"enabled": True, "percent": 0}, "acme", (False, Reason.OUTSIDE, "canary", 0, "tenant", False, "file")),
        (
            {"enabled": True, "percent": 9, "sticky": "wallet"},
            "x",
            (False, Reason.WALLET, "canary", 9, "wallet", False, "file"),
        ),
        ({"kill": True}, "acme", (False, Reason.KILLED, "killed", None, None, False, "file")),
        ({"enabled": False}, "acme", (False, Reason.DISABLED, "disabled", None, None, False, "file")),
    ],
)
async def test_what_a_tenant_is_shown(gate, flag, tenant, shown):
    """Its own answer and the stage; of the list, only whether it is on it."""
    flags = await gate({} if flag is None else {CHAIN: flag})
    state = flags.state(CHAIN, tenant)
    assert (state.enabled, state.reason, state.stage, state.percent, state.sticky, state.listed, state.source) == shown
