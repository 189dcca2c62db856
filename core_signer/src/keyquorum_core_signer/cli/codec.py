"""``keyquorum-signer codec``: what to pin for an installed codec."""
# ruff: noqa: D301 - click's mark for a paragraph that it must not rewrap is a real backspace

import subprocess
import sys
from pathlib import Path

import click

from keyquorum_core_signer.cli.failures import InvalidFile

_TIMEOUT_S = 60


@click.command()
@click.argument("name")
@click.option("--path", "folder", type=click.Path(path_type=Path), help="A folder made with pip install --target.")
def codec(name: str, folder: Path | None) -> None:
    """Print the [[codecs]] table that pins the codec NAME as it is installed now. Review the code before you pin it.

    The artifact is read in an interpreter of its own, and nothing of it is imported.

    \b
    Examples:
      keyquorum-signer codec solana >> party.toml
      keyquorum-signer codec solana --path /opt/keyquorum/codecs/solana-1.4
    """
    command = [sys.executable, "-I", "-m", "keyquorum_plugin_api.codec_host.pin", name]
    if folder is not None:
        command += ["--path", str(folder.absolute())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise InvalidFile(f"{name}: its artifact could not be read in {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise InvalidFile(done.stderr.strip() or f"{name}: its artifact could not be read")
    click.echo(done.stdout, nl=False)
