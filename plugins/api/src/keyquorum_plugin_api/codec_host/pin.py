"""Prints what a party's operator pins for an installed codec: ``python -I -m keyquorum_plugin_api.codec_host.pin NAME``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from keyquorum_plugin_api.artifact import ArtifactError, artifact_hash, find_codec


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a ``[[codecs]]`` table to standard output; exit status 3 if there is no such codec. Imports nothing of it."""
    parser = argparse.ArgumentParser(prog="python -I -m keyquorum_plugin_api.codec_host.pin", description=__doc__)
    parser.add_argument("name", help="entry-point name, such as solana")
    parser.add_argument("--path", type=Path, help="folder made with pip install --target (default: this environment)")
    options = parser.parse_args(arguments)
    try:
        distribution, _ = find_codec(options.name, options.path)
        pins = {"name": options.name, "version": distribution.version, "sha256": artifact_hash(distribution).hex()}
    except ArtifactError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    if options.path is not None:
        pins["path"] = str(options.path)
    lines = ["[[codecs]]", *(f"{key} = {json.dumps(value)}" for key, value in pins.items())]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
