"""What is done for the operators of a local cell."""

import stat

import pytest

from keyquorum_core_signer.intents.roster import Roster
from keyquorum_devnet import operators
from keyquorum_devnet.configuration import Options
from keyquorum_devnet.layout import PARTIES, PROCESSES, ROLES, Layout, new_secret
from keyquorum_devnet.operators import StepFailed
from keyquorum_devnet.stack import Stack, StackBusy


@pytest.fixture
def layout(tmp_path):
    """An empty state folder."""
    made = Layout(tmp_path / "state")
    made.make()
    return made


async def test_every_operator_pins_the_same_roster_and_a_changed_port_leaves_it_the_same(layout):
    """Addresses are how nodes are reached, not what is believed about them."""
    ports = {name: 21_000 + index for index, name in enumerate(PROCESSES)}
    fingerprints = await operators.make_identities(layout, ports)
    assert len(set(fingerprints.values())) == len(ROLES)
    await operators.pin_rosters(layout, ports, fingerprints)
    before = {name: Roster.load(layout.node(name) / "roster.toml") for name in ROLES}
    assert len({roster.roster_hash for roster in before.values()}) == 1

    moved = ports | {"party-2": 29_999}
    assert await operators.make_identities(layout, moved) == {}
    await operators.pin_rosters(layout, moved, {})
    for name, roster in before.items():
        after = Roster.load(layout.node(name) / "roster.toml")
        assert after.roster_hash == roster.roster_hash
        addresses = {node.node_id: node.address for node in after.nodes}
        assert addresses == {party: f"127.0.0.1:{moved[party]}" for party in PARTIES}


async def test_a_card_that_was_exchanged_for_another_is_not_pinned(layout):
    """The fingerprint that was read out is of the real card."""
    ports = dict.fromkeys(PROCESSES, 21_000)
    fingerprints = await operators.make_identities(layout, ports)
    forged = fingerprints | {"party-1": fingerprints["party-2"]}
    with pytest.raises(StepFailed, match="fingerprint"):
        await operators.pin_rosters(layout, ports, forged)
    assert not (layout.node("gateway-1") / "roster.toml").exists()


async def test_a_failed_command_is_told_with_its_own_words():
    """Not with a traceback of ours."""
    with pytest.raises(StepFailed, match="No such command"):
        await operators.run(operators.command("keyquorum-signer"), "conjure")


async def test_an_engine_that_is_fetched_is_waited_for_aloud(tmp_path, monkeypatch):
    """A first run takes a while, and says so; the binary's path is what the script prints."""
    monkeypatch.setattr(operators, "PROGRESS_S", 0.05)
    script = tmp_path / "engine.py"
    script.write_text("import sys, time; time.sleep(0.4); print('/opt/engine' if sys.argv[1:] == ['binary'] else '')")
    said = []
    assert await operators.bring_tool(script, said.append) == "/opt/engine"
    assert said
    assert all("engine is being fetched" in line for line in said)


async def test_an_engine_that_cannot_be_had_is_told_with_the_script_s_words(tmp_path):
    """Which name what to install."""
    script = tmp_path / "engine.py"
    script.write_text("import sys; sys.exit('no npm: apt-get install npm')")
    with pytest.raises(StepFailed, match="apt-get install npm"):
        await operators.bring_tool(script, print)


def test_secrets_are_made_once_and_for_the_owner_alone(layout):
    """A second start finds the first one's secret."""
    new_secret(layout.root_key)
    first = layout.root_key.read_bytes()
    new_secret(layout.root_key)
    assert layout.root_key.read_bytes() == first
    assert len(bytes.fromhex(first.decode())) == 32
    assert stat.S_IMODE(layout.root_key.stat().st_mode) == 0o600


def test_one_state_folder_has_one_supervisor(layout):
    """Two would start the same party twice."""
    stacks = [Stack(layout, Options(), restart=False, say=print) for _ in range(2)]
    with stacks[0]._alone(), pytest.raises(StackBusy), stacks[1]._alone():
        pass
