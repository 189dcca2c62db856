"""Configuration of a party and of a coordinator: one TOML file each, validated before anything starts."""

from keyquorum_core_signer.config.coordinator import CoordinatorConfig
from keyquorum_core_signer.config.files import SecretFileError, read_identity, read_secret
from keyquorum_core_signer.config.party import CodecPin, PartyConfig, Pkcs11Kek, SoftKek
from keyquorum_core_signer.config.source import ConfigError, load_config, unused_overrides

__all__ = [
    "CodecPin",
    "ConfigError",
    "CoordinatorConfig",
    "PartyConfig",
    "Pkcs11Kek",
    "SecretFileError",
    "SoftKek",
    "load_config",
    "read_identity",
    "read_secret",
    "unused_overrides",
]
