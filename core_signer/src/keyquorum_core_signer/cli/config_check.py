"""``keyquorum-signer config check``: find every mistake before the service does."""
# ruff: noqa: D301 - click's mark for a paragraph that it must not rewrap is a real backspace

from pathlib import Path

import click

from keyquorum_core_signer.cli.failures import readable_failures
from keyquorum_core_signer.cli.preflight import ignored_overrides, load_either
from keyquorum_core_signer.config.party import PartyConfig


@click.group()
def config() -> None:
    """Look at configuration files."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check a party's or a coordinator's configuration FILE, and the files that it names. Starts nothing.

    \b
    Example:
      keyquorum-signer config check /etc/keyquorum/party.toml
    """
    with readable_failures():
        loaded = load_either(file)
    for name in ignored_overrides(loaded):
        click.echo(f"warning: {name} is set, and nothing here is called that", err=True)
    if isinstance(loaded, PartyConfig):
        codecs = ", ".join(f"{codec.name} {codec.version}" for codec in loaded.codecs) or "none"
        click.echo(f"party {loaded.node_id} on {loaded.listen}: key-encryption key {loaded.kek.kind}, codecs {codecs}")
        if loaded.kek.kind == "soft":
            click.echo("warning: the soft key-encryption key is not an HSM", err=True)
        if loaded.hardening.allow_memory_inspection:
            click.echo("warning: processes of the same user may look into this party's memory", err=True)
    else:
        click.echo(f"coordinator {loaded.coordinator_id} on {loaded.listen}")
    click.echo("ok")
