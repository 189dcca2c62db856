"""What must be true before a service starts, beyond a well-formed configuration: its files, and that they fit together."""

import os
import tomllib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from keyquorum_core_signer.cli.failures import InvalidFile
from keyquorum_core_signer.config.coordinator import CoordinatorConfig
from keyquorum_core_signer.config.files import SecretFileError, read_identity, read_secret
from keyquorum_core_signer.config.party import PartyConfig
from keyquorum_core_signer.config.source import load_config, unused_overrides
from keyquorum_core_signer.intents.errors import RosterError
from keyquorum_core_signer.intents.roster import Roster
from keyquorum_core_signer.intents.tables import normalize_certificate


def load_party(path: Path) -> PartyConfig:
    """A party's configuration, with everything that it names in place; raises ConfigError or InvalidFile."""
    config = load_config(PartyConfig, path)
    problems = _check(config)
    if not problems:
        roster = Roster.load(config.roster)
        node = roster.find_node(config.node_id)
        if node is None:
            problems.append(f"{config.roster}: there is no party {config.node_id}")
        else:
            if read_identity(config.identity_key).public != node.identity_key:
                problems.append(f"{config.identity_key}: not the identity that the roster pins for {config.node_id}")
            problems += _check_pinned(config, node.transport_certificate)
    _require_none(problems)
    return config


def load_coordinator(path: Path) -> CoordinatorConfig:
    """A coordinator's configuration, with everything that it names in place; raises ConfigError or InvalidFile."""
    config = load_config(CoordinatorConfig, path)
    problems = _check(config)
    if not problems:
        coordinator = Roster.load(config.roster).find_coordinator(config.coordinator_id)
        if coordinator is None:
            problems.append(f"{config.roster}: there is no coordinator {config.coordinator_id}")
        else:
            problems += _check_pinned(config, coordinator.transport_certificate)
    _require_none(problems)
    return config


def load_either(path: Path) -> PartyConfig | CoordinatorConfig:
    """The configuration of whichever service the file is for; a coordinator's names its ``coordinator_id``."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        table = {}  # the loader says what is wrong with the file
    return load_coordinator(path) if "coordinator_id" in table else load_party(path)


def ignored_overrides(config: PartyConfig | CoordinatorConfig) -> list[str]:
    """Variables of the environment that look like ours and are not."""
    return unused_overrides(type(config), os.environ)


def _require_none(problems: list[str]) -> None:
    if problems:
        raise InvalidFile("\n".join(problems))


def _check(config: PartyConfig | CoordinatorConfig) -> list[str]:
    problems = [f"{file}: not there" for file in config.public_files() if not file.exists()]
    for file in config.secret_files():
        try:
            read_secret(file)
        except SecretFileError as error:
            problems.append(str(error))
    return problems


def _check_pinned(config: PartyConfig | CoordinatorConfig, pinned: str) -> list[str]:
    """Whether the TLS certificate is the one in the roster, and the key is the certificate's."""
    transport = config.transport
    try:
        pem = normalize_certificate(transport.certificate.read_text(encoding="utf-8"), str(transport.certificate))
        key = load_pem_private_key(read_secret(transport.key), password=None)
    except RosterError as error:
        return [error.detail]
    except (ValueError, TypeError):
        return [f"{transport.key}: not an unencrypted PEM private key"]
    problems = []
    if pem != pinned:
        problems.append(f"{transport.certificate}: not the certificate that the roster pins")
    certified = x509.load_pem_x509_certificate(pem.encode()).public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certified.public_bytes(*form):
        problems.append(f"{transport.key}: not the key of {transport.certificate}")
    return problems
