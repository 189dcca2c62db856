"""Configuration is whole and right before anything starts."""

import tomllib
from pathlib import Path

import pytest

from keyquorum_core_signer.config import (
    ConfigError,
    CoordinatorConfig,
    PartyConfig,
    Pkcs11Kek,
    SoftKek,
    load_config,
    unused_overrides,
)
from keyquorum_core_signer.config.sections import is_loopback, split_address
from keyquorum_core_signer.intents.roster import Roster

SAMPLES = Path(__file__).resolve().parents[4] / "deploy" / "config"

PARTY = """
node_id = "party-1"
roster = "roster.toml"
identity_key = "seed"
listen = "127.0.0.1:7101"
[transport]
certificate = "tls.pem"
key = "/etc/tls.key"
[store]
path = "shares.db"
[kek]
kind = "soft"
passphrase_file = "passphrase"
salt_file = "salt"
[[codecs]]
name = "solana"
version = "1.0"
sha256 = "%s"
""" % ("ab" * 32)


def load(tmp_path: Path, text: str = PARTY, environ: dict[str, str] | None = None) -> PartyConfig:
    path = tmp_path / "party.toml"
    path.write_text(text)
    return load_config(PartyConfig, path, environ or {})


def problems(tmp_path: Path, text: str = PARTY, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environ)
    assert str(tmp_path / "party.toml") in str(caught.value)
    return caught.value.problems


def test_a_party_is_configured(tmp_path):
    """Relative paths count from the file, absolute ones stay, what is not said has its default."""
    config = load(tmp_path)
    assert config.roster == tmp_path / "roster.toml"
    assert config.transport.key == Path("/etc/tls.key")
    assert config.kek == SoftKek(kind="soft", passphrase_file=tmp_path / "passphrase", salt_file=tmp_path / "salt")
    assert config.codecs[0].digest == b"\xab" * 32
    assert config.codecs[0].workers == 1
    assert config.hardening.allow_memory_inspection is False
    assert config.reflection is False
    assert set(config.secret_files()) == {tmp_path / "seed", Path("/etc/tls.key"), tmp_path / "passphrase"}
    assert set(config.public_files()) == {tmp_path / "roster.toml", tmp_path / "tls.pem", tmp_path / "salt"}


def test_a_party_with_an_hsm_is_configured(tmp_path):
    """The other kind of key-encryption key has its own keys, and a PIN file that is secret."""
    text = PARTY.replace('kind = "soft"', 'kind = "pkcs11"').replace(
        'passphrase_file = "passphrase"', 'module = "m.so"'
    )
    config = load(tmp_path, text.replace('salt_file = "salt"', 'token = "pkcs11:token=t;object=k"\npin_file = "pin"'))
    assert isinstance(config.kek, Pkcs11Kek)
    assert tmp_path / "pin" in config.secret_files()
    assert tmp_path / "m.so" in config.public_files()


def test_the_environment_overrides_scalars(tmp_path):
    """Top-level keys, keys of tables that the file has, and keys of tables that it has not."""
    environ = {
        "KEYQUORUM_LISTEN": "[::1]:9",
        "KEYQUORUM_STORE__PATH": "other.db",
        "KEYQUORUM_LOG__LEVEL": "debug",
        "KEYQUORUM_WORKERS__COUNT": "3",
        "KEYQUORUM_HARDENING__ALLOW_MEMORY_INSPECTION": "true",
        "KEYQUORUM_KEK__SALT_FILE": "/salt",
        "LISTEN": "ignored",
    }
    config = load(tmp_path, environ=environ)
    assert config.listen == "[::1]:9"
    assert config.store.path == tmp_path / "other.db"
    assert (config.log.level, config.workers.count) == ("debug", 3)
    assert config.hardening.allow_memory_inspection is True
    assert config.kek.salt_file == Path("/salt")


def test_the_process_environment_is_the_default(tmp_path, monkeypatch):
    """Without being told otherwise, the process's own variables count."""
    (tmp_path / "party.toml").write_text(PARTY)
    monkeypatch.setenv("KEYQUORUM_NODE_ID", "party-7")
    assert load_config(PartyConfig, tmp_path / "party.toml").node_id == "party-7"


def test_an_override_is_validated_like_the_file(tmp_path):
    """A wrong value is wrong wherever it comes from."""
    assert problems(tmp_path, environ={"KEYQUORUM_WORKERS__COUNT": "many"}) == [
        "workers.count: Input should be a valid integer, unable to parse string as an integer"
    ]


def test_variables_without_a_key_are_told(tmp_path):
    """A misspelt override does not fail silently; lists are no scalars; a variant's keys are known."""
    environ = {
        "KEYQUORUM_LISTE": "",
        "KEYQUORUM_CODECS": "",
        "KEYQUORUM_KEK__PIN_FILE": "",
        "KEYQUORUM_LOG__LEVEL": "",
        "PATH": "",
    }
    assert unused_overrides(PartyConfig, environ) == ["KEYQUORUM_CODECS", "KEYQUORUM_LISTE"]


REFUSED = {
    "an unknown key": ("node_id", "nod = 1\nnode_id", "nod: unknown key"),
    "an unknown key of a table": (
        'path = "shares.db"',
        'path = "shares.db"\nfsync = false',
        "store.fsync: unknown key",
    ),
    "an unknown table": ("[store]", "[stor]\n[store]", "stor: unknown key"),
    "a missing key": ('listen = "127.0.0.1:7101"\n', "", "listen: Field required"),
    "a missing table": ('[store]\npath = "shares.db"\n', "", "store: Field required"),
    "a name with a slash": ('"party-1"', '"a/b"', "node_id: "),
    "a name with a line end": ('"party-1"', '"a\\n"', "node_id: "),
    "no port": ('"127.0.0.1:7101"', '"127.0.0.1"', "listen: not host:port"),
    "a huge port": ('"127.0.0.1:7101"', '"127.0.0.1:70000"', "listen: the port"),
    "a bare IPv6 address": ('"127.0.0.1:7101"', '"::1:7101"', "listen: not host:port"),
    "another kind of key": ('"soft"', '"none"', "kek: "),
    "keys of the other kind": ('salt_file = "salt"', 'pin_file = "p"', "kek.soft.pin_file: unknown key"),
    "an upper-case hash": ("ab" * 32, "AB" * 32, "codecs.0.sha256: "),
    "a short hash": ("ab" * 32, "ab" * 31, "codecs.0.sha256: "),
    "no worker": ("[store]", "[workers]\ncount = 0\n[store]", "workers.count: "),
    "a metrics listener for all": (
        "[store]",
        '[telemetry]\nmetrics_listen = "0.0.0.0:1"\n[store]',
        "telemetry.metrics_listen: a listener without TLS stays on loopback",
    ),
    "traces in the clear": (
        "[store]",
        '[telemetry]\notlp_endpoint = "http://collector:4317"\n[store]',
        "telemetry.otlp_endpoint: an https:// address, or http:// on loopback",
    ),
    "traces to nowhere": ("[store]", '[telemetry]\notlp_endpoint = "https://"\n[store]', "telemetry.otlp_endpoint: "),
    "an endless session": ("[store]", "[deadlines]\nsession_ms = 10000000\n[store]", "deadlines.session_ms: "),
    "a table for a scalar": ('roster = "roster.toml"', "roster = {}", "roster: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_configuration_is_refused(tmp_path, case):
    """The operator is told where, and what."""
    old, new, expected = REFUSED[case]
    assert old in PARTY
    found = problems(tmp_path, PARTY.replace(old, new, 1))
    assert any(problem.startswith(expected) for problem in found), found


def test_all_problems_are_told_at_once(tmp_path):
    """An operator does not find mistakes one start at a time."""
    text = PARTY.replace('node_id = "party-1"\n', "").replace('"soft"', '"none"')
    assert len(problems(tmp_path, text)) == 2


def test_a_problem_shows_no_value(tmp_path):
    """A secret that was pasted into the wrong place is not repeated on the screen."""
    text = PARTY.replace("[store]", '[hardening]\nallow_memory_inspection = "hunter2"\n[store]')
    assert "hunter2" not in str(problems(tmp_path, text))


def test_the_same_codec_is_pinned_once(tmp_path):
    """Two pins of one artifact would be two answers to one question; two versions are fine."""
    pin = PARTY[PARTY.index("[[codecs]]") :]
    assert problems(tmp_path, PARTY + pin) == ["codecs: the same codec is pinned twice"]
    assert len(load(tmp_path, PARTY + pin.replace("1.0", "1.1")).codecs) == 2


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    """Missing, no TOML, no UTF-8, too large: one line each."""
    path = tmp_path / "party.toml"
    with pytest.raises(ConfigError, match="No such file"):
        load_config(PartyConfig, path, {})
    for content in (b"a = ", b"\xff", b"#" * (1024 * 1024 + 1)):
        path.write_bytes(content)
        with pytest.raises(ConfigError):
            load_config(PartyConfig, path, {})


@pytest.mark.parametrize(("model", "name"), [(PartyConfig, "party"), (CoordinatorConfig, "coordinator")])
def test_the_samples_are_valid(model, name):
    """What an operator copies works, and what it shows as defaults are the defaults."""
    path = SAMPLES / f"{name}.sample.toml"
    config = load_config(model, path, {})
    shown = _uncomment(path.read_text())
    complete = model.model_validate(tomllib.loads(shown), context={"folder": SAMPLES})
    assert complete.deadlines == config.deadlines
    assert complete.limits == config.limits
    assert complete.log == config.log
    for section in ("workers", "hardening", "breaker", "reflection"):
        assert getattr(complete, section, None) == getattr(config, section, None)


def _uncomment(text: str) -> str:
    """The sample with each commented setting in force, but for the other kind of key and the codec's folder."""
    lines = []
    for line in text.splitlines():
        setting = line.removeprefix("# ")
        is_setting = setting != line and " = " in setting.split("#")[0] and setting.split(" = ")[0].isidentifier()
        keep = is_setting and setting.split(" = ")[0] not in ("kind", "module", "token", "pin_file", "path")
        lines.append(setting if keep else line)
    return "\n".join(lines)


def test_the_sample_roster_is_valid():
    """The sample parses, with all its certificates."""
    roster = Roster.load(SAMPLES / "roster.sample.toml")
    assert [node.node_id for node in roster.nodes] == ["party-1", "party-2", "party-3"]


def test_addresses_are_split_as_written():
    """IPv6 needs its brackets; loopback is told by the address and not by what a name resolves to."""
    assert split_address("[::1]:80") == ("::1", 80)
    assert split_address("host.example:0") == ("host.example", 0)
    loopback = {"127.0.0.1": True, "127.9.9.9": True, "::1": True, "localhost": True}
    other = {"0.0.0.0": False, "::": False, "10.0.0.1": False, "localhost.example": False, "": False}
    assert {host: is_loopback(host) for host in loopback | other} == loopback | other
