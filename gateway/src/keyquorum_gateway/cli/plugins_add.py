"""``keyquorum plugins add``: installs a plugin with pip, imports nothing of it, and says what operators write down then."""
# ruff: noqa: D301 - click's mark for a paragraph that it must not rewrap is a real backspace

import importlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import click

from keyquorum_gateway.plugins import normalized
from keyquorum_gateway.wheels import NoPluginWheel, PluginWheel, read_wheel
from keyquorum_plugin_api.artifact import ArtifactError, artifact_hash, find_codec

TIMEOUT_S: Final = 600

_PINNED: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.+!_-]*)")
_OUTPUT_CHARS: Final = 3_000


@dataclass(frozen=True, slots=True)
class Pip:
    """Where pip looks. What else it obeys is in its own configuration and environment."""

    no_index: bool
    find_links: tuple[str, ...]

    def run(self, command: str, *arguments: str) -> None:
        """Run it, or say what it said."""
        options = ["--disable-pip-version-check", "--no-input", "--quiet"]
        options += ["--no-index"] if self.no_index else []
        for link in self.find_links:
            options += ["--find-links", link]
        try:
            done = subprocess.run(  # noqa: S603 our own interpreter; arguments are checked by the caller
                [sys.executable, "-m", "pip", command, *options, *arguments],
                capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise click.ClickException(f"pip did not end within {TIMEOUT_S} s") from None
        if done.returncode:
            raise click.ClickException(f"pip {command} failed:\n{done.stderr.strip()[-_OUTPUT_CHARS:]}")


@click.command("add")
@click.argument("spec")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="An empty or new folder for this version alone, beside others. [default: this environment]",
)
@click.option("--no-index", is_flag=True, help="Ask no package index.")
@click.option("--find-links", multiple=True, help="A folder of wheels; may be given several times.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The gateway's configuration, to print its whole allow line.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def add(  # click passes names
    *, spec: str, into: Path | None, no_index: bool, find_links: tuple[str, ...], config: Path | None, as_json: bool
) -> None:
    """Install the plugin SPEC: NAME==VERSION, a wheel, or a source folder.

    With --into, the plugin alone is installed there: what it depends on has to be installed in this environment. Nothing of
    the plugin is imported; but a source folder is built first, by what its own pyproject.toml names. Review its code before
    you pin it.

    \b
    Examples:
      keyquorum plugins add keyquorum-acme==1.4.0
      keyquorum plugins add keyquorum-acme==1.5.0 --into /opt/keyquorum/plugins/acme-1.5.0
      keyquorum plugins add dist/keyquorum_acme-1.5.0-py3-none-any.whl --no-index --find-links wheels
    """
    if into is not None and into.is_dir() and any(into.iterdir()):
        raise click.ClickException(f"{into} is not empty: each version has a folder of its own")
    allowed = _allowed(config)
    pip = Pip(no_index, find_links)
    with tempfile.TemporaryDirectory(prefix="keyquorum-add-") as temporary:
        try:
            wheel = read_wheel(_wheel(spec, pip, Path(temporary)))
        except NoPluginWheel as error:
            raise click.ClickException(str(error)) from None
        _require_asked_for(spec, wheel)
        if into is None:
            pip.run("install", str(wheel.file))
        else:
            _require_dependencies(wheel)
            _install_into(into, wheel, pip)
    name = normalized(wheel.distribution)
    answer = {
        "distribution": name,
        "version": wheel.version,
        "folder": str(into.absolute()) if into else "",
        "allow_line": f"allow = {json.dumps(sorted({*allowed, name}))}",
        "codecs": [_pin(codec, wheel, into) for codec in wheel.codecs],
    }
    click.echo(json.dumps(answer, indent=2) if as_json else _instructions(answer, known=config is not None))


def _allowed(config: Path | None) -> list[str]:
    if config is None:
        return []
    try:
        table = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise click.ClickException(f"{config} is no TOML file") from None
    allow = table.get("plugins", {}).get("allow", [])
    return [normalized(str(name)) for name in allow]


def _wheel(spec: str, pip: Pip, temporary: Path) -> Path:
    path = Path(spec)
    if spec.endswith(".whl") and path.is_file():
        return path
    is_source = path.is_dir() and (path / "pyproject.toml").is_file()
    if not is_source and not _PINNED.fullmatch(spec):
        raise click.ClickException(f"{spec}: neither NAME==VERSION, nor a wheel, nor a folder with a pyproject.toml")
    pip.run("wheel", "--no-deps", "--wheel-dir", str(temporary), str(path.absolute()) if is_source else spec)
    wheels = list(temporary.glob("*.whl"))
    if len(wheels) != 1:
        raise click.ClickException(f"pip made {len(wheels)} wheels of {spec}")
    return wheels[0]


def _require_asked_for(spec: str, wheel: PluginWheel) -> None:
    asked = _PINNED.fullmatch(spec)
    if asked and (normalized(asked[1]), asked[2]) != (normalized(wheel.distribution), wheel.version):
        raise click.ClickException(f"asked for {spec}, and got {wheel.distribution} {wheel.version}")


def _require_dependencies(wheel: PluginWheel) -> None:
    missing = []
    for name, requirement in wheel.requirements.items():
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(requirement)
    if missing:
        raise click.ClickException(f"{wheel.distribution} needs what is not installed here: {', '.join(missing)}")


def _install_into(into: Path, wheel: PluginWheel, pip: Pip) -> None:
    was_there = into.is_dir()
    try:
        pip.run("install", "--no-deps", "--target", str(into.absolute()), str(wheel.file))
    except BaseException:
        if not was_there:
            shutil.rmtree(into, ignore_errors=True)
        raise


def _pin(codec: str, wheel: PluginWheel, into: Path | None) -> dict[str, Any]:
    importlib.invalidate_caches()
    folder = into.absolute() if into else None
    try:
        distribution, _ = find_codec(codec, folder)
        sha256 = artifact_hash(distribution).hex()
    except ArtifactError as error:
        raise click.ClickException(
            f"{wheel.distribution} is installed, but its codec cannot be pinned: {error}"
        ) from None
    found = (normalized(distribution.metadata["Name"]), distribution.version)
    if found != (normalized(wheel.distribution), wheel.version):
        raise click.ClickException(f"the codec {codec!r} is that of {' '.join(found)}, not of what was just installed")
    return {"name": codec, "version": wheel.version, "sha256": sha256, **({"path": str(folder)} if folder else {})}


def _instructions(answer: dict[str, Any], *, known: bool) -> str:
    where = f" into {answer['folder']}" if answer["folder"] else ""
    lines = [f"{answer['distribution']} {answer['version']} is installed{where}; nothing of it was imported.", ""]
    beside = "" if known else ", beside those that are allowed already"
    lines += [f"The gateway's operator writes under [plugins]{beside}:", "", answer["allow_line"], ""]
    if answer["folder"]:
        lines += [f"and starts the gateway again, with PYTHONPATH={answer['folder']} in its environment.", ""]
    else:
        lines += ["and starts the gateway again.", ""]
    lines += ["Each party's operator installs the same version, reviews it, and pins it in party.toml:", ""]
    for codec in answer["codecs"]:
        lines += ["[[codecs]]", *(f"{key} = {json.dumps(value)}" for key, value in codec.items()), ""]
    at_party = f" --path {answer['folder']}" if answer["folder"] else ""
    lines += [
        f"keyquorum-signer codec {answer['codecs'][0]['name']}{at_party} prints the same at a party, or it is not the same."
    ]
    return "\n".join(lines)
