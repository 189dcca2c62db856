"""config check, party and coordinator: nothing starts before everything fits together."""

import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keyquorum_core_signer.cli import main, signer
from keyquorum_core_signer.cli.cards import Card
from keyquorum_core_signer.cli.enroll import build_roster
from keyquorum_core_signer.cli.init import make_identity
from keyquorum_core_signer.config import CoordinatorConfig, PartyConfig
from support.codec_distributions import install_codec

NODES = {"party-1": "party", "party-2": "party", "coordinator-1": "coordinator"}
PARTY = """
node_id = "party-1"
roster = "roster.toml"
identity_key = "party-1.identity.seed"
listen = "127.0.0.1:7101"
transport = {certificate = "party-1.transport.pem", key = "party-1.transport.key"}
store = {path = "shares.db"}
kek = {kind = "soft", passphrase_file = "passphrase", salt_file = "salt"}
"""
COORDINATOR = """
coordinator_id = "coordinator-1"
roster = "roster.toml"
listen = "127.0.0.1:7100"
transport = {certificate = "coordinator-1.transport.pem", key = "coordinator-1.transport.key"}
operations = {path = "operations.db"}
"""


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(signer, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path) -> Path:
    """Everything that two parties and a coordinator need, in one place."""
    cards = [
        make_identity(node_id, role, tmp_path, f"127.0.0.1:71{number:02}" if role == "party" else "")
        for number, (node_id, role) in enumerate(NODES.items())
    ]
    (tmp_path / "roster.toml").write_text(build_roster("cell-test", cards, []).dump())
    (tmp_path / "party.toml").write_text(PARTY)
    (tmp_path / "coordinator.toml").write_text(COORDINATOR)
    (tmp_path / "passphrase").write_text("correct horse battery staple")
    (tmp_path / "passphrase").chmod(0o600)
    (tmp_path / "salt").write_text("{}")
    return tmp_path


def test_a_good_configuration_is_ok(folder):
    """Both services, told apart by what the file names; warnings do not fail it."""
    party = run("config", "check", folder / "party.toml")
    assert (party.exit_code, party.stdout) == (
        0,
        "party party-1 on 127.0.0.1:7101: key-encryption key soft, codecs none\nok\n",
    )
    assert "not an HSM" in party.stderr
    coordinator = run("config", "check", folder / "coordinator.toml")
    assert (coordinator.exit_code, coordinator.stdout) == (0, "coordinator coordinator-1 on 127.0.0.1:7100\nok\n")


def test_check_tells_of_overrides_that_nobody_reads(folder, monkeypatch):
    """A misspelt variable is worth a warning."""
    monkeypatch.setenv("KEYQUORUM_LISTN", "1")
    result = run("config", "check", folder / "party.toml")
    assert result.exit_code == 0
    assert "KEYQUORUM_LISTN" in result.stderr


def test_check_warns_of_an_inspectable_party(folder, monkeypatch):
    """What tests switch on, an operator is told of."""
    monkeypatch.setenv("KEYQUORUM_HARDENING__ALLOW_MEMORY_INSPECTION", "true")
    assert "look into this party's memory" in run("config", "check", folder / "party.toml").stderr


def _other_roster(folder: Path) -> None:
    cards = [Card.load(folder / f"{node_id}.card.toml") for node_id in NODES]
    cards[0] = replace(cards[0], node_id="party-3")
    other = make_identity("party-3", "party", folder, "127.0.0.1:7199")
    (folder / "roster.toml").write_text(build_roster("cell-test", [other, *cards[1:]], []).dump())


def _swap(name: str, other: str):
    def swap(folder: Path) -> None:
        (folder / name).write_bytes((folder / other).read_bytes())

    return swap


DAMAGED = {
    "no roster": (lambda folder: (folder / "roster.toml").unlink(), "roster.toml: not there"),
    "a damaged roster": (lambda folder: (folder / "roster.toml").write_text("x"), "roster.toml: not TOML"),
    "a roster without us": (_other_roster, "there is no party party-1"),
    "no seed": (lambda folder: (folder / "party-1.identity.seed").unlink(), "identity.seed: No such file"),
    "another seed": (
        _swap("party-1.identity.seed", "party-2.identity.seed"),
        "not the identity that the roster pins for party-1",
    ),
    "an exposed seed": (lambda folder: (folder / "party-1.identity.seed").chmod(0o644), "chmod 600"),
    "no passphrase": (lambda folder: (folder / "passphrase").unlink(), "passphrase: No such file"),
    "no salt": (lambda folder: (folder / "salt").unlink(), "salt: not there"),
    "another certificate": (
        _swap("party-1.transport.pem", "party-2.transport.pem"),
        "not the certificate that the roster pins",
    ),
    "another key": (_swap("party-1.transport.key", "party-2.transport.key"), "not the key of"),
    "no certificate": (lambda folder: (folder / "party-1.transport.pem").write_text(""), "not exactly one PEM"),
    "no private key": (
        lambda folder: (folder / "party-1.transport.key").write_text("x"),
        "not an unencrypted PEM private key",
    ),
    "an unknown key": (lambda folder: (folder / "party.toml").write_text("x = 1\n" + PARTY), "x: unknown key"),
    "no file": (lambda folder: (folder / "party.toml").unlink(), "party.toml: No such file"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_check_and_start_refuse_alike(folder, case, monkeypatch):
    """Whatever does not fit is one readable line with status 3, and the party is not started."""
    damage, expected = DAMAGED[case]
    damage(folder)
    monkeypatch.setitem(sys.modules, "keyquorum_core_signer.party.serve", types.ModuleType("never"))
    for command in (("config", "check"), ("party", "--config")):
        result = run(*command, folder / "party.toml")
        assert result.exit_code == 3
        assert expected in result.stderr
        assert all(line.startswith("error: ") for line in result.stderr.splitlines())


def test_a_coordinator_is_checked_too(folder):
    """Its place in the roster and its certificate."""
    (folder / "coordinator.toml").write_text(COORDINATOR.replace('_id = "coordinator-1"', '_id = "coordinator-2"'))
    assert "there is no coordinator coordinator-2" in run("config", "check", folder / "coordinator.toml").stderr
    (folder / "coordinator.toml").write_text(COORDINATOR)
    _swap("coordinator-1.transport.pem", "party-2.transport.pem")(folder)
    result = run("coordinator", "--config", folder / "coordinator.toml")
    assert result.exit_code == 3
    assert "not the certificate that the roster pins" in result.stderr


@pytest.mark.parametrize(("name", "model"), [("party", PartyConfig), ("coordinator", CoordinatorConfig)])
def test_a_service_is_run_with_its_configuration(folder, monkeypatch, name, model):
    """The service gets the validated configuration, and its result is the exit status."""
    serve = types.ModuleType("serve")
    seen = []
    serve.run = lambda config: seen.append(config) or 7
    monkeypatch.setitem(sys.modules, f"keyquorum_core_signer.{name}.serve", serve)
    assert run(name, "--config", folder / f"{name}.toml").exit_code == 7
    assert isinstance(seen[0], model)


def test_a_codec_is_pinned_from_the_command_line(tmp_path):
    """What is printed can be appended to party.toml; a codec that is not there is one readable line."""
    codec = install_codec(tmp_path / "codec")
    result = run("codec", "toy", "--path", codec.folder)
    assert result.exit_code == 0
    assert f'sha256 = "{codec.sha256.hex()}"' in result.output
    missing = run("codec", "toy", "--path", tmp_path)
    assert (missing.exit_code, missing.stderr) == (3, "error: no distribution declares the codec 'toy'\n")


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("init",),
        ("enroll",),
        ("fingerprint",),
        ("config",),
        ("config", "check"),
        ("codec",),
        ("kek", "init"),
        ("party",),
        ("coordinator",),
    ],
)
def test_every_command_explains_itself(command):
    """--help works everywhere, and what does something shows how."""
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "keyquorum-signer" in result.output or command == ("config",)


def test_the_console_command_is_installed():
    """The entry point leads here, with a usage error for what does not exist."""
    with pytest.raises(SystemExit) as caught:
        main(["nonsense"])
    assert caught.value.code == 2


def test_a_coordinators_process_loads_no_party():
    """Looking at the command line imports neither service, nor any curve library's protocols."""
    look = (
        "import sys, keyquorum_core_signer.cli\n"
        "print(sorted(name for name in sys.modules if name.startswith(('keyquorum_core_signer.party',"
        " 'keyquorum_core_signer.coordinator', 'keyquorum_core_signer.groups', 'keyquorum_core_signer.protocols',"
        " 'keyquorum_core_signer.hsm', 'keyquorum_core_signer.store', 'grpc'))))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
