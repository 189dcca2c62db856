"""Imports of the pinned package, from the very bytes that were hashed.

A file that is changed after the hash was taken, before it is imported or between two imports, is not executed: each module's
bytes are compared with the artifact's once more when they are loaded. (An extension module is read a second time by the system's
loader; between the two, its folder has to be as it was. What a codec reads as data is not looked at.)
"""

import hashlib
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    ExtensionFileLoader,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from types import ModuleType


class ChangedFile(ImportError):
    """Proves that a file of the package is not what was pinned."""


class PinnedFinder(MetaPathFinder):
    """Finds one package, and what is below it, in its folder and nowhere else."""

    def __init__(self, folder: Path, files: Mapping[Path, bytes]) -> None:
        self._folder = folder
        self._files = dict(files)

    def install(self) -> None:
        """Ask this finder before every other one, for good."""
        importlib.invalidate_caches()
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module of the package, with a loader that compares; None for modules of others."""
        package = self._folder.name
        if fullname != package and not fullname.startswith(f"{package}."):
            return None
        spec = PathFinder.find_spec(fullname, [str(self._folder.parent)] if path is None else path, target)
        if spec is None:
            raise ModuleNotFoundError(f"{fullname} is not in the pinned artifact", name=fullname)
        if spec.origin is not None:
            spec.loader = self._loader(fullname, spec)
        return spec

    def require(self, path: str, data: bytes) -> bytes:
        """The same data, if it is what was pinned."""
        if self._files.get(Path(path).resolve()) != hashlib.sha256(data).digest():
            raise ChangedFile(f"{Path(path).name} was changed after the artifact was pinned")
        return data

    def _loader(self, fullname: str, spec: ModuleSpec) -> "_Source | _Sourceless | _Extension":
        if isinstance(spec.loader, SourceFileLoader):
            return _Source(fullname, str(spec.origin), self)
        if isinstance(spec.loader, SourcelessFileLoader):
            return _Sourceless(fullname, str(spec.origin), self)
        if isinstance(spec.loader, ExtensionFileLoader):
            return _Extension(fullname, str(spec.origin), self)
        raise ModuleNotFoundError(f"{fullname} is of no kind that can be pinned", name=fullname)


class _Source(SourceFileLoader):
    def __init__(self, fullname: str, path: str, finder: PinnedFinder) -> None:
        super().__init__(fullname, path)
        self._finder = finder

    def get_data(self, path: str) -> bytes:
        return self._finder.require(path, super().get_data(path))


class _Sourceless(SourcelessFileLoader):
    def __init__(self, fullname: str, path: str, finder: PinnedFinder) -> None:
        super().__init__(fullname, path)
        self._finder = finder

    def get_data(self, path: str) -> bytes:
        return self._finder.require(path, super().get_data(path))


class _Extension(ExtensionFileLoader):
    def __init__(self, fullname: str, path: str, finder: PinnedFinder) -> None:
        super().__init__(fullname, path)
        self._finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        self._finder.require(self.path, Path(self.path).read_bytes())
        return super().create_module(spec)
