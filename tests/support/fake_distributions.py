"""Distributions on disk, as pip would leave them: the toy chain, and whatever a test makes up."""

from pathlib import Path

TOY_SITE = Path(__file__).parent / "toysite"
"""Where the toy chain is installed; on ``sys.path`` for the tests that use it."""


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
