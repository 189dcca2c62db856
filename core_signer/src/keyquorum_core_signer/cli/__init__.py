"""The ``keyquorum-signer`` command: identities, rosters, configuration, and the two services."""
# ruff: noqa: D301 - click's mark for a paragraph that it must not rewrap is a real backspace

from collections.abc import Sequence

import click

from keyquorum_core_signer.cli.codec import codec
from keyquorum_core_signer.cli.config_check import config
from keyquorum_core_signer.cli.coordinator import coordinator
from keyquorum_core_signer.cli.enroll import enroll
from keyquorum_core_signer.cli.fingerprint import fingerprint
from keyquorum_core_signer.cli.init import init
from keyquorum_core_signer.cli.kek import kek
from keyquorum_core_signer.cli.pairs import pairs
from keyquorum_core_signer.cli.party import party


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="keyquorum-core-signer")
def signer() -> None:
    """Run one node of a Keyquorum cell: a party that holds shares, or a coordinator that holds none.

    \b
    Three machines, three parties:
      keyquorum-signer init --node-id party-1 --role party --dir /etc/keyquorum --address 10.0.0.1:7101
      (exchange the *.card.toml files, and read the fingerprints to each other over the telephone)
      keyquorum-signer enroll --dir /etc/keyquorum --cell cell-eu --tenant default=HEXKEY *.card.toml
      keyquorum-signer kek init --config party.toml
      keyquorum-signer config check party.toml
      keyquorum-signer party --config party.toml

    \b
    Exit status: 0 done, 1 failed, 2 wrong usage, 3 a file is wrong or missing, 4 a fingerprint was not confirmed.
    """


for command in (init, enroll, fingerprint, config, codec, kek, pairs, party, coordinator):
    signer.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    signer(args=None if arguments is None else list(arguments), prog_name="keyquorum-signer")
