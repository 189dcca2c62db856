"""What exactly is pinned when a codec is pinned: the one hash that parties, gateways and operator tools compute alike.

A codec's distribution has one top-level package. Its artifact is every file below that package's folder: sources,
extension modules, data. Byte code in ``__pycache__`` is not part of it, and a codec host never reads it. The
distribution's dependencies are pinned by the operator's lock file, not by this hash.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder, all_suffixes
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import Final

CODEC_GROUP: Final = "keyquorum.codecs"

_TAG: Final = b"keyquorum/codec-artifact/v1\x00"
_BYTECODE: Final = "__pycache__"
_IMPORTABLE: Final = tuple(all_suffixes())


class ArtifactError(Exception):
    """Proves that no single, self-contained artifact answers to a codec's name. The text is for an operator."""


def find_codec(name: str, folder: Path | None = None) -> tuple[Distribution, EntryPoint]:
    """The one installed distribution that declares the codec ``name``, and its entry point; imports nothing of it.

    ``folder`` is a folder made with ``pip install --target``: only what is in it counts. Without one, everything that
    this interpreter can import does.
    """
    found = [
        (distribution, entry_point)
        for distribution in (distributions() if folder is None else distributions(path=[str(folder)]))
        for entry_point in distribution.entry_points.select(group=CODEC_GROUP, name=name)
    ]
    if not found:
        raise ArtifactError(f"no distribution declares the codec {name!r}")
    if len({(distribution.metadata["Name"], distribution.version) for distribution, _ in found}) > 1:
        raise ArtifactError(f"several distributions, or versions of one, declare the codec {name!r}")
    return found[0]


def package_folder(distribution: Distribution) -> Path:
    """The folder of the package that holds all codecs of ``distribution``, which may be installed editable."""
    packages = {entry.module.partition(".")[0] for entry in distribution.entry_points.select(group=CODEC_GROUP)}
    if len(packages) != 1:
        raise ArtifactError("a codec's distribution keeps its codecs in one top-level package")
    (package,) = packages
    folder = Path(str(distribution.locate_file(package)))
    if not folder.is_dir():
        spec = PathFinder.find_spec(package)
        if spec is None or spec.origin is None:
            raise ArtifactError(f"the package {package!r} is not importable")
        folder = Path(spec.origin).parent
    if not (folder / "__init__.py").is_file():
        raise ArtifactError(f"{package!r} is not a package with an __init__.py")
    for file in distribution.files or ():
        top = file.parts[0]
        if file.name.endswith(_IMPORTABLE) and top != package and not top.endswith(".dist-info"):
            raise ArtifactError(f"the distribution installs {file} outside of its package {package!r}")
    return folder.resolve()


def artifact_hash(distribution: Distribution, files: Mapping[Path, bytes] | None = None) -> bytes:
    """SHA-256 over the sorted (relative path, SHA-256) of all files of the codec's package, 32 bytes.

    Paths begin with the package's name, so that an editable install and a wheel of the same source agree. ``files`` are
    :func:`artifact_files`, where they were read already.
    """
    folder = package_folder(distribution)
    digest = hashlib.sha256(_TAG)
    for file, content in (artifact_files(distribution) if files is None else files).items():
        path = "/".join((folder.name, *file.relative_to(folder).parts)).encode()
        digest.update(len(path).to_bytes(4, "big") + path)
        digest.update(content)
    return digest.digest()


def artifact_files(distribution: Distribution) -> dict[Path, bytes]:
    """Each file of the artifact and the SHA-256 of what is in it now, in the order in which they are hashed."""
    folder = package_folder(distribution)
    files = sorted(_files(folder), key=lambda file: file.relative_to(folder).parts)
    return {file: hashlib.sha256(file.read_bytes()).digest() for file in files}


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != _BYTECODE]
        for name in (*folders, *names):
            if (Path(root) / name).is_symlink():
                raise ArtifactError(f"{Path(root) / name} is a symbolic link: what it leads to cannot be pinned")
        yield from (Path(root) / name for name in names)
