"""``keyquorum-signer coordinator``: relay between parties, and follow what was asked of them."""
# ruff: noqa: D301 - click's mark for a paragraph that it must not rewrap is a real backspace

import sys
from pathlib import Path

import click

from keyquorum_core_signer.cli.failures import readable_failures
from keyquorum_core_signer.cli.preflight import load_coordinator


@click.command()
@click.option("--config", "file", required=True, type=click.Path(path_type=Path), help="Its TOML file.")
def coordinator(file: Path) -> None:
    """Run a coordinator until it is told to stop (SIGTERM or SIGINT).

    \b
    Example:
      keyquorum-signer coordinator --config /etc/keyquorum/coordinator.toml
    """
    with readable_failures():
        config = load_coordinator(file)
    from keyquorum_core_signer.coordinator.serve import run  # noqa: PLC0415 - a party's process never loads it

    sys.exit(run(config))
