"""``keyquorum-signer party``: hold shares, and take part in what their policies allow."""
# ruff: noqa: D301 - click's mark for a paragraph that it must not rewrap is a real backspace

import sys
from pathlib import Path

import click

from keyquorum_core_signer.cli.failures import readable_failures
from keyquorum_core_signer.cli.preflight import load_party


@click.command()
@click.option("--config", "file", required=True, type=click.Path(path_type=Path), help="Its TOML file.")
def party(file: Path) -> None:
    """Run a party until it is told to stop (SIGTERM or SIGINT).

    \b
    Example:
      keyquorum-signer party --config /etc/keyquorum/party.toml
    """
    with readable_failures():
        config = load_party(file)
    from keyquorum_core_signer.party.serve import run  # noqa: PLC0415 - a coordinator's process never loads a party

    sys.exit(run(config))
