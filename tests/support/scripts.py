"""Loads a script of the repository's scripts folder as a module; scripts are not a package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def load_script(name: str) -> ModuleType:
    """A fresh module, so that a test may change what it finds in it."""
    spec = importlib.util.spec_from_file_location(f"keyquorum_script_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
