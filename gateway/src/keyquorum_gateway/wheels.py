"""Wheels of plugins, looked at before anything of them is installed, and never imported."""

import configparser
import re
import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

from keyquorum_gateway.plugins import CHAINS_GROUP, CODECS_GROUP

METADATA_BYTES_MAX: Final = 1_000_000

_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class NoPluginWheel(Exception):
    """The file is no wheel, or not that of a plugin; the text says why."""


@dataclass(frozen=True, slots=True)
class PluginWheel:
    """What a wheel says of itself. ``codecs`` and ``chains`` are entry points by name."""

    file: Path
    distribution: str
    version: str
    requires: tuple[str, ...]
    chains: tuple[str, ...]
    codecs: tuple[str, ...]

    @property
    def requirements(self) -> dict[str, str]:
        """Each distribution that is needed without extras, with the whole requirement."""
        found = {}
        for line in self.requires:
            name = _REQUIREMENT.match(line)
            if name and "extra ==" not in line:
                found[name[0]] = line
        return found


class _EntryPoints(configparser.ConfigParser):
    """Names keep their case."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def read_wheel(file: Path) -> PluginWheel:
    """Name, version and entry points."""
    try:
        with zipfile.ZipFile(file) as archive:
            _require_packages_alone(archive)
            metadata = HeaderParser().parsestr(_member(archive, "METADATA"))
            entry_points = _EntryPoints(delimiters=("=",), interpolation=None)
            entry_points.read_string(_member(archive, "entry_points.txt", missing=""))
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError, configparser.Error) as error:
        raise NoPluginWheel(f"{file.name} is no wheel: {type(error).__name__}") from None
    name, version = metadata["Name"], metadata["Version"]
    groups = [
        tuple(entry_points[group]) if entry_points.has_section(group) else () for group in (CHAINS_GROUP, CODECS_GROUP)
    ]
    if not name or not version:
        raise NoPluginWheel(f"{file.name} does not say its name and version")
    if not groups[0] or not groups[1]:
        raise NoPluginWheel(f"{name} {version} is no plugin: it declares no {CHAINS_GROUP} or no {CODECS_GROUP}")
    return PluginWheel(file, name, version, tuple(metadata.get_all("Requires-Dist", ())), groups[0], groups[1])


def _require_packages_alone(archive: zipfile.ZipFile) -> None:
    """Refuse what an installation would put beside packages: a .pth file runs in every interpreter of the environment, a
    party's included, whether or not anybody allows the plugin; scripts and data go wherever they say."""
    for name in archive.namelist():
        top, _, below = name.partition("/")
        if not below or top.endswith(".data"):
            raise NoPluginWheel(f"the wheel installs {name[:200]!a} outside of a package")


def _member(archive: zipfile.ZipFile, name: str, missing: str | None = None) -> str:
    found = [info for info in archive.infolist() if re.fullmatch(rf"[^/]+\.dist-info/{name}", info.filename)]
    if not found and missing is not None:
        return missing
    if len(found) != 1 or found[0].file_size > METADATA_BYTES_MAX:
        raise NoPluginWheel(f"{Path(str(archive.filename)).name} is no wheel: it has no single {name}")
    return archive.read(found[0]).decode()
