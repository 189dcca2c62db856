"""``keyquorum-signer pairs``: how a party stands to its peers, and an operator's word about a banned one."""
# ruff: noqa: D301 - click's mark for a paragraph that it must not rewrap is a real backspace

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyquorum_core_signer.cli.failures import Failure, readable_failures
from keyquorum_core_signer.config.party import PartyConfig
from keyquorum_core_signer.config.source import load_config
from keyquorum_core_signer.intents.roster import Roster

if TYPE_CHECKING:  # the engine is loaded for these commands alone
    from keyquorum_core_signer.store.ports import ShareStore

_CONFIG = click.option(
    "--config", "file", required=True, type=click.Path(path_type=Path), help="The party's TOML file."
)


@click.group()
def pairs() -> None:
    """Look at pair set-ups and bans, while the party is stopped.

    ECDSA keys are signed for with set-ups that each pair of parties makes by itself. A peer that fails a check which no
    honest party fails is banned for every key: see docs/operator-guide.md before you lift that.
    """


@pairs.command(name="list")
@_CONFIG
def list_pairs(file: Path) -> None:
    """Show with whom a set-up is held, since when, and who is banned, for what.

    \b
    Example:
      keyquorum-signer pairs list --config /etc/keyquorum/party.toml
    """

    async def show(store: "ShareStore") -> None:
        for record in await store.pair_setups():
            state = "living" if record.living else "destroyed"
            pending = ", a check of it has no verdict" if record.pending else ""
            click.echo(
                f"{record.node_id}  {record.kind} set-up {record.generation}: {state} since {_at(record.since_ms)}{pending}"
            )
        for ban in await store.bans():
            what = f"key {ban.key_id}" if ban.key_id else "everything"
            click.echo(
                f"{ban.node_id}  BANNED from {what} since {_at(ban.banned_ms)}: {ban.reason}"
                f" (evidence {ban.evidence_hash.hex()})"
            )

    _with_store(file, show)


@pairs.command()
@_CONFIG
@click.argument("node_id")
@click.option("--reason", required=True, help="Why the peer may be trusted again; goes to the audit log.")
def unban(file: Path, node_id: str, reason: str) -> None:
    """Lift the ban on a peer, after its node was looked into and replaced. They pair anew when the party starts.

    \b
    Example:
      keyquorum-signer pairs unban party-3 --reason "rebuilt from clean media, ticket 4711" --config party.toml
    """

    async def lift(store: "ShareStore") -> None:
        from keyquorum_core_signer.store.pair_commands import BanLifted, LiftBan  # noqa: PLC0415

        try:
            command = LiftBan(node_id, reason, time.time_ns() // 1_000_000)
        except ValueError as error:
            raise Failure(str(error)) from None
        if not isinstance(await store.execute(command), BanLifted):
            raise Failure(f"{node_id} is not banned")
        click.echo(f"{node_id} may be worked with again")

    _with_store(file, lift)


def _with_store(file: Path, act: "Callable[[ShareStore], Awaitable[None]]") -> None:
    with readable_failures():
        config = load_config(PartyConfig, file)
        Roster.load(config.roster)
        asyncio.run(_open(config, act))


async def _open(config: PartyConfig, act: "Callable[[ShareStore], Awaitable[None]]") -> None:
    from keyquorum_core_signer.store.ports import StoreError, StoreOwned  # noqa: PLC0415 - the engine, for this alone
    from keyquorum_core_signer.store.sqlite import SqliteShareStore  # noqa: PLC0415

    if not config.store.path.exists():
        raise Failure(f"{config.store.path}: there is no store yet")
    try:
        store = await SqliteShareStore.open(config.store.path, config.node_id)
    except StoreOwned:
        raise Failure("the party is running; stop it first") from None
    except StoreError as error:
        raise Failure(str(error)) from None
    try:
        await act(store)
    except StoreError as error:
        raise Failure(str(error)) from None
    finally:
        await store.close()


def _at(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
