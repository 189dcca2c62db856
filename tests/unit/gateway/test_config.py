"""Configuration: what is accepted, what is refused and how it reads, and secrets that stay in their files."""

from pathlib import Path

import pytest

from keyquorum_gateway.config import ConfigError, load_config, read_hex_secret, read_secret

ROOT = Path(__file__).parents[3]
MINIMAL = """
[identity]
gateway_id = "gateway-1"
initiator_key_file = "initiator.key"
tls_certificate_file = "tls.pem"
tls_key_file = "tls.key"
[roster]
file = "roster.toml"
[coordinator]
address = "127.0.0.1:7200"
coordinator_id = "coordinator-1"
[state]
file = "gateway.db"
[auth]
pepper_file = "/etc/pepper"
"""


@pytest.fixture
def load(tmp_path):
    """Load a text, with an environment."""

    def loading(text, environ=None):
        path = tmp_path / "gateway.toml"
        path.write_text(text)
        return load_config(path, environ or {})

    return loading


def test_defaults_and_paths(load, tmp_path):
    """Relative paths are relative to the file; the listener is loopback."""
    config = load(MINIMAL)
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)
    assert config.identity.initiator_key_file == tmp_path / "initiator.key"
    assert config.auth.pepper_file == Path("/etc/pepper")
    assert config.telemetry.span_file is None


def test_the_sample_is_a_configuration():
    """deploy/config/gateway.sample.toml loads, and shows every key that there is."""
    path = ROOT / "deploy" / "config" / "gateway.sample.toml"
    config = load_config(path, {})
    text = path.read_text()

    def keys(section):
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            yield name
            if hasattr(type(value), "model_fields"):
                yield from keys(value)
            elif isinstance(value, dict) and field.annotation is not dict:
                for each in value.values():
                    if hasattr(type(each), "model_fields"):
                        yield from keys(each)

    assert {name for name in keys(config) if name not in text} == set()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("colour = 'red'\n" + MINIMAL, "colour"),
        (MINIMAL + "[server]\nlisten_on = 'x'\n", "server.listen_on"),
        (MINIMAL + "[server]\nlisten = '0.0.0.0:80'\n", "loopback only"),
        (MINIMAL + "[server]\nlisten = 'localhost'\n", "HOST:PORT"),
        (MINIMAL + "[server]\nlisten = '127.0.0.1:99999'\n", "HOST:PORT"),
        (MINIMAL + "[server]\ntls_key_file = 'k'\n", "go together"),
        (MINIMAL + "[chains.solana]\nfee_ceiling = '1'\n", "chains.solana"),
        (MINIMAL + "[chains.'solana:x']\nfee_ceiling = 1\n", "fee_ceiling"),
        (MINIMAL + "[chains.'solana:x']\nfee_ceiling = '01'\n", "fee_ceiling"),
        (MINIMAL + "[wallets]\nthreshold = 1\n", "wallets.threshold"),
        (MINIMAL.replace("[state]", "[other]"), "state"),
        ("not toml", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_keys_name(load, change, complaint):
    """The operator is told the file, the key and the reason."""
    with pytest.raises(ConfigError) as caught:
        load(change)
    assert complaint in str(caught.value)
    assert "gateway.toml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    """No traceback."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml", {})


def test_every_key_can_be_overridden(load):
    """TOML where it is TOML, text where it is not, and unknown keys are refused all the same."""
    config = load(
        MINIMAL,
        {
            "KEYQUORUM_GATEWAY__SERVER__LISTEN": "[::1]:9000",
            "KEYQUORUM_GATEWAY__SERVER__WAIT_S": "3",
            "KEYQUORUM_GATEWAY__PLUGINS__ALLOW": '["a", "b"]',
            "KEYQUORUM_URL": "not for the gateway",
        },
    )
    assert (config.server.host, config.server.port, config.server.wait_s) == ("::1", 9000, 3)
    assert config.plugins.allow == ("a", "b")
    with pytest.raises(ConfigError, match="nothing"):
        load(MINIMAL, {"KEYQUORUM_GATEWAY__SERVER__NOTHING": "1"})
    with pytest.raises(ConfigError, match="not a section"):
        load(MINIMAL, {"KEYQUORUM_GATEWAY__STATE__FILE__X": "1"})


def test_plaintext_is_never_served_off_loopback(load):
    """With TLS it may be."""
    config = load(MINIMAL + "[server]\nlisten = '0.0.0.0:443'\ntls_certificate_file = 'c'\ntls_key_file = 'k'\n")
    assert config.server.host == "0.0.0.0"


def test_a_secret_that_others_can_read_is_refused(tmp_path):
    """The file's mode is part of the configuration."""
    path = tmp_path / "secret"
    path.write_text("ab" * 32 + "\n")
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(path)
    path.chmod(0o600)
    assert read_hex_secret(path, 32) == b"\xab" * 32


@pytest.mark.parametrize("text", ["zz" * 32, "ab" * 31, "", "ü" * 64])
def test_a_secret_of_another_form_is_refused_and_not_quoted(tmp_path, text):
    """The error names the file and never its content."""
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_hex_secret(path, 32)
    assert not text or text not in str(caught.value)
