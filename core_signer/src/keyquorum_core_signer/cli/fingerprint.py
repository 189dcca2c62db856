"""``keyquorum-signer fingerprint``: show what operators compare."""
# ruff: noqa: D301 - click's mark for a paragraph that it must not rewrap is a real backspace

from pathlib import Path

import click

from keyquorum_core_signer.cli.cards import Card
from keyquorum_core_signer.cli.cards import fingerprint as fingerprint_of
from keyquorum_core_signer.cli.failures import readable_failures
from keyquorum_core_signer.config.files import read_identity
from keyquorum_core_signer.intents.roster import Roster


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def fingerprint(file: Path) -> None:
    """Show the fingerprint of a card, of an identity seed, or of every party in a roster.

    \b
    Examples:
      keyquorum-signer fingerprint party-1.card.toml
      keyquorum-signer fingerprint roster.toml
    """
    with readable_failures():
        if file.name.endswith(".card.toml"):
            card = Card.load(file)
            click.echo(f"{card.role} {card.node_id}: {card.fingerprint}")
        elif file.suffix == ".toml":
            roster = Roster.load(file)
            for node in roster.nodes:
                click.echo(f"party {node.node_id}: {fingerprint_of(node.identity_key)}")
            click.echo(f"roster hash: {roster.roster_hash.hex()}")
        else:
            click.echo(fingerprint_of(read_identity(file).public))
