"""``keyquorum plugins new``: a plugin that is complete, with a toy chain of its own, to be turned into another chain's."""
# ruff: noqa: D301 - click's mark for a paragraph that it must not rewrap is a real backspace

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import click

LICENSES: Final = ("Apache-2.0", "MIT", "proprietary")

_NAME: Final = re.compile(r"[a-z][a-z0-9]{2,7}")
_TAKEN: Final = frozenset({"solana", "eip155", "bip122", "sol", "btc", "eth", "plugin", "gateway", "protos", "devnet"})
_SUFFIX: Final = ".tmpl"


@click.command("new")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder in which the folder keyquorum-NAME is made. [default: this one]",
)
@click.option("--license", "licence", type=click.Choice(LICENSES), default=LICENSES[0], show_default=True)
def new(name: str, into: Path, licence: str) -> None:
    """Write the plugin keyquorum-NAME: codec, adapter, a toy ledger of its own, and the conformance suites on it.

    NAME is the codec's name and the chain's CAIP-2 namespace: 3 to 8 lower-case letters and digits, a letter first.

    \b
    Example:
      keyquorum plugins new acme --into ~/chains
    """
    if not _NAME.fullmatch(name):
        raise click.BadParameter("3 to 8 lower-case letters and digits, a letter first", param_hint="NAME")
    if name in _TAKEN:
        raise click.BadParameter(f"{name} is the name of something else", param_hint="NAME")
    folder = into / f"keyquorum-{name}"
    try:
        into.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError:
        raise click.ClickException(f"{folder} is there already: nothing was written") from None
    except OSError as error:
        raise click.ClickException(f"{folder}: {error.strerror}") from None
    try:
        _write(folder, name, licence)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    click.echo(f"{folder} is written. It passes conformance as it is:\n")
    click.echo(f"  cd {folder}\n  python -m pip install -e '.[test]'\n  keyquorum plugins check .")


def _write(folder: Path, name: str, licence: str) -> None:
    values = {
        "name": name,
        "Class": name.capitalize(),
        "SYMBOL": name.upper(),
        "license": licence if licence != LICENSES[-1] else "LicenseRef-Proprietary",
        "year": str(datetime.now(UTC).year),
    }
    for path, template in _templates(files("keyquorum_gateway.plugin_template")):
        if path.startswith("LICENSE-"):
            if path != f"LICENSE-{licence}":
                continue
            path = "LICENSE"  # noqa: PLW2901 the chosen one
        file = folder / path.replace("src/package/", f"src/keyquorum_{name}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        text = template.read_text(encoding="utf-8")
        file.write_text(re.sub(r"@(\w+)@", lambda found: values[found[1]], text), encoding="utf-8")


def _templates(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    """Paths below the template's folder, without the suffix that keeps tools from taking them for code."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            yield prefix + entry.name.removesuffix(_SUFFIX), entry
