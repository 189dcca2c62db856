"""``keyquorum-signer init``: make a node's identity and its public card."""
# ruff: noqa: D301 - click's mark for a paragraph that it must not rewrap is a real backspace

from datetime import UTC, datetime
from pathlib import Path

import click

from keyquorum_core_signer.cli.cards import Card, Role
from keyquorum_core_signer.cli.failures import InvalidFile, readable_failures
from keyquorum_core_signer.config.files import write_identity, write_secret
from keyquorum_core_signer.config.sections import split_address
from keyquorum_core_signer.wire.certificates import identity_certificate, transport_credentials
from keyquorum_core_signer.wire.identity import IdentityKey


@click.command()
@click.option("--node-id", required=True, metavar="ID", help="Name of the node, unique in its cell.")
@click.option("--role", required=True, type=click.Choice(["party", "coordinator", "gateway"]), help="What it will be.")
@click.option("--dir", "folder", required=True, type=click.Path(path_type=Path), help="Where its files go.")
@click.option("--address", metavar="HOST:PORT", default="", help="Where coordinators reach a party. Parties only.")
def init(node_id: str, role: Role, folder: Path, address: str) -> None:
    """Make a node's identity: secret keys that never leave this machine, and a public card.

    \b
    Writes into DIR, and replaces nothing:
      ID.identity.seed    secret: the Ed25519 identity key (for a gateway: the key that it initiates with)
      ID.transport.key    secret: the key of its TLS certificate
      ID.transport.pem    its TLS certificate
      ID.card.toml        public: give it to the operators of the other nodes

    \b
    Example:
      keyquorum-signer init --node-id party-1 --role party --dir /etc/keyquorum --address 10.0.0.1:7101
    """
    _check_address(role, address)
    with readable_failures():
        card = make_identity(node_id, role, folder, address)
    click.echo(f"{role} {node_id}: identity made in {folder}")
    click.echo(f"fingerprint: {card.fingerprint}")
    click.echo(f"Give {folder / f'{node_id}.card.toml'} to the other operators, and have them compare the fingerprint.")


def make_identity(node_id: str, role: Role, folder: Path, address: str) -> Card:
    """Make and write a node's keys and card; raises InvalidFile, SecretFileError or OSError."""
    names = ("identity.seed", "transport.key", "transport.pem", "card.toml")
    seed, key, certificate, card_path = (folder / f"{node_id}.{name}" for name in names)
    now = datetime.now(UTC)
    identity = IdentityKey.generate()
    try:
        transport = transport_credentials([node_id], now)
        anchor = identity_certificate(identity, node_id, now) if role == "party" else ""
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--node-id") from None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    existing = [str(path) for path in (seed, key, certificate, card_path) if path.exists()]
    if existing:
        raise InvalidFile(f"{', '.join(existing)}: there already; nothing was changed")
    card = Card(role, node_id, identity.public, transport.certificate, address, anchor).signed(identity)
    write_identity(seed, identity)
    write_secret(key, transport.private_key)
    certificate.write_text(transport.certificate, encoding="ascii")
    card_path.write_text(card.dump(), encoding="ascii")
    return card


def _check_address(role: Role, address: str) -> None:
    if role != "party":
        if address:
            raise click.BadParameter("only a party has one", param_hint="--address")
        return
    try:
        _, port = split_address(address)
    except ValueError as error:
        raise click.BadParameter(f"{error}: a party needs one", param_hint="--address") from None
    if port == 0:
        raise click.BadParameter("others cannot reach port 0", param_hint="--address")
