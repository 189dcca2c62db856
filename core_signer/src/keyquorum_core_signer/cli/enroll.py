"""``keyquorum-signer enroll``: believe in other nodes, one compared fingerprint at a time, and write that down."""
# ruff: noqa: D301 - click's mark for a paragraph that it must not rewrap is a real backspace

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from keyquorum_core_signer.cli.cards import Card, same_fingerprint
from keyquorum_core_signer.cli.failures import InvalidFile, NotConfirmed, readable_failures
from keyquorum_core_signer.intents.roster import Coordinator, Gateway, Node, Roster, Tenant


@click.command()
@click.option("--dir", "folder", required=True, type=click.Path(path_type=Path), help="Where roster.toml goes.")
@click.option("--cell", required=True, metavar="ID", help="Name of the cell.")
@click.option(
    "--tenant",
    "tenants",
    multiple=True,
    metavar="ID=KEY,…",
    help="A tenant and the Ed25519 keys, in hexadecimal, that may order keys for it; @NODE stands for the identity key "
    "of the card of that node. Repeatable.",
)
@click.option(
    "--expect",
    "expected",
    multiple=True,
    metavar="ID=FINGERPRINT",
    help="The fingerprint that you were told for a card; then nothing is asked about it. Repeatable.",
)
@click.option("--yes", is_flag=True, help="Ask nothing: fail if a card has no --expect.")
@click.option(
    "--trust-on-first-use", "blind", is_flag=True, help="Believe cards without --expect. For trying things out only."
)
@click.argument("cards", nargs=-1, required=True, type=click.Path(path_type=Path))
def enroll(
    folder: Path,
    cell: str,
    tenants: Sequence[str],
    expected: Sequence[str],
    cards: Sequence[Path],
    *,
    yes: bool,
    blind: bool,
) -> None:
    """Pin the nodes whose CARDs you have, after comparing each fingerprint with the node's operator.

    Writes DIR/roster.toml and prints the roster's hash. Every operator does this alone, from the same cards in any order,
    and gets the same hash: read it to each other too.

    \b
    Examples:
      keyquorum-signer enroll --dir . --cell cell-eu --tenant default=@gateway-1 *.card.toml
      keyquorum-signer enroll --dir . --cell cell-eu --tenant acme=9f…2c --yes \\
          --expect "party-1=51f0 …" --expect "party-2=…" party-1.card.toml party-2.card.toml
    """
    with readable_failures():
        loaded = _load(cards)
        told = _pairs(expected, "--expect")
        unknown = sorted(told.keys() - loaded.keys())
        if unknown:
            raise NotConfirmed(f"--expect names {unknown[0]}, and no card does")
        for card in loaded.values():
            _confirm(card, told.get(card.node_id), yes=yes, blind=blind)
        roster = build_roster(cell, list(loaded.values()), _tenants(tenants, loaded))
        path = folder / "roster.toml"
        _write(path, roster)
    click.echo(f"{len(roster.nodes)} parties pinned in {path}")
    click.echo(f"roster hash: {roster.roster_hash.hex()}")


def build_roster(cell: str, cards: Sequence[Card], tenants: Sequence[Tenant]) -> Roster:
    """The roster of believed cards; parties are indexed from 1 in the natural order of their ids."""
    parties = sorted((card for card in cards if card.role == "party"), key=lambda card: _natural(card.node_id))
    nodes = (
        Node(
            node_id=card.node_id,
            index=index,
            identity_key=card.identity_key,
            identity_certificate=card.identity_certificate,
            transport_certificate=card.transport_certificate,
            address=card.address,
        )
        for index, card in enumerate(parties, start=1)
    )
    return Roster(
        cell_id=cell,
        nodes=tuple(nodes),
        coordinators=tuple(Coordinator(c.node_id, c.transport_certificate) for c in cards if c.role == "coordinator"),
        gateways=tuple(Gateway(c.node_id, c.transport_certificate) for c in cards if c.role == "gateway"),
        tenants=tuple(tenants),
    )


def _load(paths: Sequence[Path]) -> dict[str, Card]:
    loaded: dict[str, Card] = {}
    for path in paths:
        card = Card.load(path)
        if card.node_id in loaded:
            raise InvalidFile(f"{path}: a second card of {card.node_id}")
        loaded[card.node_id] = card
    return loaded


def _confirm(card: Card, told: str | None, *, yes: bool, blind: bool) -> None:
    click.echo(f"{card.role} {card.node_id}")
    click.echo(f"  {card.fingerprint}")
    if told is not None:
        if not same_fingerprint(told, card.fingerprint):
            raise NotConfirmed(f"{card.node_id}: the card's fingerprint is not the expected one")
        click.echo("  as expected")
    elif blind:
        click.echo(f"warning: {card.node_id} is believed without a comparison; whoever made the card is in", err=True)
    elif yes:
        raise NotConfirmed(f"{card.node_id}: no --expect says what its fingerprint must be")
    elif not click.confirm(f"  Did {card.node_id}'s operator read out the same?", default=False):
        raise NotConfirmed(f"{card.node_id}: not confirmed; nothing was written")


def _tenants(entries: Sequence[str], cards: Mapping[str, Card]) -> list[Tenant]:
    found = []
    for tenant_id, keys in _pairs(entries, "--tenant").items():
        found.append(Tenant(tenant_id, tuple(_root_key(key.strip(), cards) for key in keys.split(","))))
    return found


def _root_key(text: str, cards: Mapping[str, Card]) -> bytes:
    if text.startswith("@"):
        card = cards.get(text[1:])
        if card is None:
            raise click.BadParameter(f"there is no card of {text[1:]}", param_hint="--tenant")
        return card.identity_key
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise click.BadParameter("a key is 32 bytes in hexadecimal, or @NODE", param_hint="--tenant") from None


def _pairs(entries: Sequence[str], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in entries:
        name, separator, value = entry.partition("=")
        if not separator or not name or not value:
            raise click.BadParameter("not of the form ID=VALUE", param_hint=option)
        if name in found:
            raise click.BadParameter(f"{name} is given twice", param_hint=option)
        found[name] = value
    return found


def _write(path: Path, roster: Roster) -> None:
    text = roster.dump()
    if path.exists():
        if path.read_text(encoding="utf-8") == text:
            return
        raise InvalidFile(f"{path}: there is another roster already; move it away if you mean to replace it")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """party-2 before party-10; the text itself last, so that two different names never compare equal."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return (*((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts), (2, 0, name))
