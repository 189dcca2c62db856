"""Distributions on disk, as pip would leave them: the toy chain, and whatever a test makes up."""

import importlib
import sys
from pathlib import Path

TOY_SITE = Path(__file__).parent / "toysite"
"""Where the toy chain is installed."""


def import_toychain() -> None:
    """Make ``toychain`` importable by its name, without leaving its distribution where other tests would find it."""
    sys.path.insert(0, str(TOY_SITE))
    try:
        importlib.import_module("toychain.plugin")
    finally:
        sys.path.remove(str(TOY_SITE))


def write_distribution(folder: Path, name: str, version: str, entry_points: str, files: dict[str, str]) -> None:
    """A distribution's metadata and modules, as ``pip install --target`` leaves them."""
    information = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (information / "entry_points.txt").write_text(entry_points)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    recorded = [*files, f"{information.name}/METADATA"]
    (information / "RECORD").write_text("".join(f"{file},,\n" for file in recorded))
