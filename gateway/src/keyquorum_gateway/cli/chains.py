"""``keyquorum chains``: what is served, and the flags that say for whom.

The list comes from the gateway. The flags are a file on its machine, which it watches: commands that change them write
that file, need no API key, and work whether the gateway runs or not.
"""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from keyquorum_gateway.cli.connection import Gateway, gateway_command
from keyquorum_gateway.cli.tables import show
from keyquorum_gateway.config import ChainConfig, ConfigError, load_config
from keyquorum_gateway.flags import editing
from keyquorum_gateway.flags.document import ChainFlag, FlagsDocument, FlagsInvalid, parse, read
from keyquorum_gateway.flags.editing import Table


class _ListByDefault(click.Group):
    """``keyquorum chains`` alone, or with options of the list, is ``keyquorum chains list``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ListByDefault)
def chains() -> None:
    """Chains, and for whom they are open. Without a command: the list.

    A change of the flags takes effect within a second, without a restart. It never touches policies, quorums, fee
    ceilings or audit.
    """


@chains.command("list")
@gateway_command
async def list_chains(gateway: Gateway) -> None:
    """Chains that the API key's tenant may know of, and whether they are open for it."""
    answer = await gateway.get("/v1/chains")
    rows = [
        (
            c["chain"],
            c["name"] or "",
            c["state"],
            _stage(c["flags"]),
            f"{'yes' if c['flags']['enabled'] else 'NO'}: {c['flags']['reason']}",
            c["symbol"] or "",
            f"{c['codec']['name']} {c['codec']['version']} {c['codec']['sha256'][:12]}" if c["codec"] else "",
            c["detail"],
        )
        for c in answer["items"]
    ]
    columns = ("chain", "name", "state", "flag", "open for you", "asset", "codec", "")
    show(answer, columns, rows, as_json=gateway.as_json)


@dataclass(frozen=True, slots=True)
class _FlagsFile:
    """The file that a command is about, and the chains of the gateway's configuration where that was named."""

    path: Path
    configured: Mapping[str, ChainConfig] | None

    def resolve(self, name: str, *, is_new: bool) -> str:
        """The CAIP-2 id of a chain that is known here; ``ClickException`` lists those that are."""
        in_file = self.document().chains if self.path.exists() else {}
        known = sorted({*in_file, *(self.configured or {})})
        if name in known:
            return name
        for chain, config in (self.configured or {}).items():
            aliases = config.settings.get("aliases", ())
            if isinstance(aliases, list) and name in aliases:
                return chain
        if is_new:
            return name
        known_here = ", ".join(known) or "none"
        raise click.ClickException(f"no chain {name!r} is known here (--new adds one); known are: {known_here}")

    def document(self) -> FlagsDocument:
        """What the file says now."""
        try:
            return parse(read(self.path))
        except FlagsInvalid as problem:
            raise click.ClickException(f"{self.path}: {problem}") from None


def _flags_file(function: Callable[..., None]) -> Callable[..., None]:
    """The options of commands that work on the file: which one it is."""

    @click.option(
        "--flags",
        "flags_file",
        envvar="KEYQUORUM_FLAGS",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The flags file. Without it, the one of the gateway's configuration.",
    )
    @click.option(
        "--config",
        "config_file",
        envvar="KEYQUORUM_GATEWAY_CONFIG",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The gateway's configuration: it names the flags file, and the chains.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @functools.wraps(function)
    def command(*, flags_file: Path | None, config_file: Path | None, **arguments: Any) -> None:
        function(file=_locate(flags_file, config_file), **arguments)

    return command


def _locate(flags_file: Path | None, config_file: Path | None) -> _FlagsFile:
    if config_file is None:
        if flags_file is None:
            raise click.UsageError("name the file: --config GATEWAY.TOML or --flags FILE")
        return _FlagsFile(flags_file, None)
    try:
        config = load_config(config_file)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    path = flags_file or config.flags.file
    if path is None:
        raise click.ClickException(f'{config_file} names no flags file: add [flags] file = "flags.json", and restart')
    return _FlagsFile(path, config.chains)


@chains.command("flags")
@_flags_file
def show_flags(*, file: _FlagsFile, as_json: bool) -> None:
    """What the flags file says, chain by chain, with the tenants of each list."""
    flags = file.document().chains
    names = sorted({*flags, *(file.configured or {})})
    rows = [(name, _words(flags.get(name)), flags[name].note if name in flags else "") for name in names]
    value = {
        "file": str(file.path),
        "chains": {name: flags[name].model_dump(mode="json") if name in flags else None for name in names},
    }
    show(value, ("chain", "flag", "note"), rows, as_json=as_json, title=str(file.path))


_NEW: Final = click.option("--new", "is_new", is_flag=True, help="The chain is not configured, and has no flag, yet.")


@chains.command()
@click.argument("chain")
@_NEW
@_flags_file
def enable(*, chain: str, is_new: bool, file: _FlagsFile, as_json: bool) -> None:
    """Open a chain for everybody."""
    _change(file, chain, editing.enabled, is_new=is_new, as_json=as_json)


@chains.command()
@click.argument("chain")
@_NEW
@_flags_file
def disable(*, chain: str, is_new: bool, file: _FlagsFile, as_json: bool) -> None:
    """Let nobody begin anything new on a chain; what is under way ends. To stop that too: kill."""
    _change(file, chain, editing.disabled, is_new=is_new, as_json=as_json)


@chains.command()
@click.argument("chain")
@click.option("--percent", type=click.IntRange(0, 100), help="How many of a hundred, always the same ones.")
@click.option("--tenant", "tenants", multiple=True, help="Always in; may be given several times, replaces the list.")
@click.option("--no-tenants", is_flag=True, help="Empty the list.")
@click.option("--sticky", type=click.Choice(["tenant", "wallet"]), help="What the percentage is of.")
@click.option("--salt", help="Draws other ones. To change it in a running canary takes the chain from some.")
@_NEW
@_flags_file
def canary(
    *,
    chain: str,
    percent: int | None,
    tenants: tuple[str, ...],
    no_tenants: bool,
    sticky: str | None,
    salt: str | None,
    is_new: bool,
    file: _FlagsFile,
    as_json: bool,
) -> None:
    """Open a chain for some: listed tenants, and a percentage of all others. What is not given stays as it is."""
    if tenants and no_tenants:
        raise click.UsageError("--tenant and --no-tenants exclude each other")
    if percent is None and not tenants and not no_tenants and sticky is None and salt is None:
        raise click.UsageError("for whom? --percent N, --tenant T")
    change = functools.partial(
        editing.canary,
        percent=percent,
        tenants=tenants if tenants or no_tenants else None,
        sticky=sticky,
        salt=salt,
    )
    _change(file, chain, change, is_new=is_new, as_json=as_json)


@chains.command()
@click.argument("chain")
@_NEW
@_flags_file
def kill(*, chain: str, is_new: bool, file: _FlagsFile, as_json: bool) -> None:
    """Switch a chain off for everybody: what is signed is not broadcast, and waits."""
    _change(file, chain, editing.killed, is_new=is_new, as_json=as_json)


@chains.command()
@click.argument("chain")
@_flags_file
def revive(*, chain: str, file: _FlagsFile, as_json: bool) -> None:
    """Take a kill back: the chain is what it was before, and what waited goes on by itself."""
    _change(file, chain, editing.revived, is_new=False, as_json=as_json)


def _change(file: _FlagsFile, name: str, change: Callable[[Table], Table], *, is_new: bool, as_json: bool) -> None:
    """Make the change, and show it."""
    chain = file.resolve(name, is_new=is_new)
    try:
        made = editing.edit(file.path, chain, change)
    except FlagsInvalid as problem:
        raise click.ClickException(f"{file.path}: nothing is changed: {problem}") from None
    except OSError as error:
        raise click.ClickException(f"{file.path}: nothing is changed: {error.strerror}") from None
    before, after = _flag(made.before), _flag(made.after)
    if as_json:
        value = {"file": str(file.path), "chain": chain, "before": made.before, "after": made.after}
        click.echo(json.dumps({**value, "changed": made.is_one}, indent=2))
        return
    click.echo(
        f"{chain}: {_words(before)} -> {_words(after)}" if made.is_one else f"{chain}: {_words(after)}, as before"
    )
    config = (file.configured or {}).get(chain)
    if config is not None and not config.enabled:
        click.echo(
            "the gateway's configuration has enabled = false: the chain is not loaded, whatever its flag", err=True
        )
    if after is not None and after.kill and change is not editing.killed:
        click.echo(f"it stays killed until: keyquorum chains revive {chain}", err=True)


def _flag(table: Table | None) -> ChainFlag | None:
    return None if table is None else ChainFlag.model_validate_json(json.dumps(table))


def _words(flag: ChainFlag | None) -> str:
    """A flag for a reader."""
    if flag is None:
        return "no flag"
    rollout = flag.rollout()
    if rollout.kill:
        return f"KILLED (else {_words(flag.model_copy(update={'kill': False}))})"
    if rollout.stage == "configuration":
        return "as configured"
    if rollout.stage != "canary":
        return rollout.stage
    return " + ".join((f"canary {rollout.percent} % of {rollout.sticky}s", *sorted(rollout.tenants)))


def _stage(flags: Mapping[str, Any]) -> str:
    """A chain's flag as the gateway tells it."""
    words = "KILLED" if flags["stage"] == "killed" else flags["stage"]
    if flags["stage"] == "canary":
        words = f"canary {flags['percent']} % of {flags['sticky']}s" + (" + you" if flags["listed"] else "")
    if flags["stage"] != flags["source"]:
        words += f" ({flags['source']}{', STALE' if flags['stale'] else ''})"
    return words
