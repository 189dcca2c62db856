"""The import arrows towards other people's modules; import-linter (root pyproject.toml) holds those between our own."""

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = "core_signer/src/keyquorum_core_signer"

CLOCKS = frozenset({"time", "datetime", "sched"})
ENTROPY = frozenset({"secrets", "random", "uuid"})
CONCURRENCY = frozenset({"asyncio", "threading", "multiprocessing", "concurrent", "subprocess", "signal"})
NETWORK = frozenset({"socket", "ssl", "select", "selectors", "http", "urllib", "smtplib", "ftplib"})
FILES = frozenset({"os", "io", "pathlib", "tempfile", "shutil", "sqlite3", "mmap"})
LOGS = frozenset({"logging", "warnings", "syslog"})
DYNAMIC = frozenset({"importlib", "runpy", "ctypes", "pickle", "marshal"})
PURE = CLOCKS | ENTROPY | CONCURRENCY | NETWORK | FILES | LOGS | DYNAMIC


@dataclass(frozen=True, slots=True)
class Arrow:
    """Modules below ``folder`` may import ``allowed`` third parties, and the standard library without ``never``."""

    folder: str
    allowed: frozenset[str]
    never: frozenset[str] = frozenset()


def arrow(folder: str, allowed: str = "", never: frozenset[str] = frozenset()) -> Arrow:
    """A row of the table."""
    return Arrow(folder, frozenset(allowed.split()), never)


ARROWS = [
    arrow("protos/src/keyquorum_protos", "google grpc", NETWORK | FILES),
    arrow("plugins/api/src/keyquorum_plugin_api", "pluggy pydantic"),
    arrow(f"{CORE}/groups", "nacl coincurve", PURE),
    arrow(f"{CORE}/primitives", "nacl cryptography gmpy2", PURE),
    arrow(f"{CORE}/protocols", "", PURE),
    arrow(
        f"{CORE}/wire", "nacl cryptography google", CLOCKS - {"datetime"} | CONCURRENCY | LOGS | frozenset({"socket"})
    ),
    arrow(f"{CORE}/intents", "google cryptography nacl", CLOCKS | ENTROPY | CONCURRENCY | LOGS),
    arrow(f"{CORE}/runtime", "", NETWORK - {"socket"} | LOGS),
    arrow(f"{CORE}/store", "apsw cryptography", NETWORK),
    arrow(f"{CORE}/hsm", "pkcs11 cryptography structlog", NETWORK - {"urllib"}),
    arrow(
        f"{CORE}/party",
        "grpc grpc_health grpc_reflection google structlog opentelemetry prometheus_client cryptography",
    ),
    arrow(
        f"{CORE}/coordinator",
        "grpc grpc_health grpc_reflection google structlog opentelemetry prometheus_client apsw cryptography",
    ),
]

PARTS_OF = {"google": "protobuf", "pydantic_core": "pydantic"}  # import name -> the distribution that documents it

DISTRIBUTIONS = sorted(
    path.parent
    for pattern in ("*/pyproject.toml", "*/*/pyproject.toml")
    for path in ROOT.glob(pattern)
    if (path.parent / "src").is_dir() and not path.is_relative_to(ROOT / "build")
)


@cache
def imported(source: str) -> frozenset[str]:
    """Every module that a source text imports, at any depth of it; relative imports are a violation of their own."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError("relative import")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def violations(source: str, rule: Arrow) -> list[str]:
    """What a source text imports against a rule."""
    names = {name.partition(".")[0] for name in imported(source)}
    foreign = {name for name in names if name not in sys.stdlib_module_names and not name.startswith("keyquorum_")}
    return sorted((foreign - rule.allowed) | (names & rule.never))


def modules(folder: Path) -> list[Path]:
    """The Python files below a folder; an empty list would make every rule hold."""
    found = sorted(folder.rglob("*.py"))
    assert found, f"no modules in {folder}"
    return found


def plugins() -> list[tuple[Path, str]]:
    """Each chain plugin's source folder and its codec module, from its entry points."""
    found = []
    for folder in DISTRIBUTIONS:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        targets = project.get("entry-points", {}).get("keyquorum.codecs", {}).values()
        found += [(folder / "src", target.partition(":")[0]) for target in targets]
    return found


def module_file(source: Path, name: str) -> Path | None:
    """The file of a module, or of the module that holds a name."""
    parts = name.split(".")
    for length in (len(parts), len(parts) - 1):
        base = source.joinpath(*parts[:length])
        for candidate in (base.with_suffix(".py"), base / "__init__.py"):
            if length and candidate.is_file():
                return candidate
    return None


def reachable(source: Path, module: str) -> set[Path]:
    """The files of one distribution that importing ``module`` loads, package ``__init__`` files included."""
    package = module.partition(".")[0]
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = module_file(source, name)
        parents = [source.joinpath(*name.split(".")[:depth]) / "__init__.py" for depth in range(1, name.count(".") + 1)]
        for path in [*([file] if file else []), *(parent for parent in parents if parent.is_file())]:
            if path not in found:
                found.add(path)
                text = path.read_text(encoding="utf-8")
                waiting += [each for each in imported(text) if each.partition(".")[0] == package]
    return found


def declared(folder: Path) -> frozenset[str]:
    """Distribution names that a pyproject.toml depends on, normalised."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [project["name"], *(line.split(">")[0].split("=")[0].split("[")[0] for line in project["dependencies"])]
    return frozenset(name.strip().lower().replace("_", "-") for name in names)


def undeclared(names: Iterable[str], allowed: frozenset[str]) -> Iterator[str]:
    """Imported top-level names that no declared distribution provides."""
    providers = packages_distributions()
    for name in sorted(set(names)):
        if name in sys.stdlib_module_names or PARTS_OF.get(name) in allowed:
            continue
        found = {each.lower().replace("_", "-") for each in providers.get(name, [name])}
        if not found & allowed:
            yield name


@pytest.mark.parametrize("rule", ARROWS, ids=lambda rule: rule.folder.removeprefix(f"{CORE}/"))
def test_a_layer_imports_only_what_its_arrow_allows(rule):
    """Every module of a layer keeps to the third parties and the parts of the standard library that its row names."""
    found = {
        str(path.relative_to(ROOT)): violations(path.read_text(encoding="utf-8"), rule)
        for path in modules(ROOT / rule.folder)
    }
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("rule", ARROWS, ids=lambda rule: rule.folder.removeprefix(f"{CORE}/"))
def test_an_arrow_can_be_broken(rule):
    """Each rule finds a stranger, and each module that it rules out, however the import is written."""
    for name in sorted({"requests", *rule.never}):
        for source in (
            f"import {name}",
            f"from {name} import anything",
            f"import {name}.deep as other",
            f"def late():\n    import {name}\n",
            f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from {name} import thing\n",
        ):
            assert violations(source, rule) == [name]
    assert violations("from keyquorum_protos import x\nimport dataclasses\n", rule) == []


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_distribution_declares_what_it_imports(folder):
    """Nothing works only because another distribution happened to install it."""
    allowed = declared(folder)
    names = {
        name.partition(".")[0]
        for path in modules(folder / "src")
        for name in imported(path.read_text(encoding="utf-8"))
    }
    assert list(undeclared(names, allowed)) == []


def test_an_undeclared_import_is_found():
    """The check of declarations has teeth, also for a distribution whose import name is another."""
    assert list(undeclared({"nacl", "json", "google"}, frozenset({"protobuf"}))) == ["nacl"]
    assert list(undeclared({"nacl"}, frozenset({"pynacl"}))) == []


@pytest.mark.parametrize(("source", "module"), plugins(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_codec_does_no_io(source, module):
    """What a party loads to judge a payload reaches no clock, no entropy, no file and no network."""
    rule = Arrow(
        str(source),
        frozenset(
            {
                "solders",
                "base58",
                "embit",
                "coincurve",
                "eth_account",
                "eth_utils",
                "eth_abi",
                "eth_keys",
                "rlp",
                "hexbytes",
            }
        ),
        PURE,
    )
    found = {path.name: violations(path.read_text(encoding="utf-8"), rule) for path in reachable(source, module)}
    assert found
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(("source", "module"), plugins(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_plugin_package_imports_nothing_by_itself(source, module):
    """Loading a codec must not load the adapter, so the package's own file has no imports."""
    assert imported((source / module.partition(".")[0] / "__init__.py").read_text(encoding="utf-8")) == set()


def test_reachability_follows_the_imports_of_a_package(tmp_path):
    """A codec that reaches the network through a neighbour is seen to."""
    package = tmp_path / "keyquorum_toy"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "codec.py").write_text("from keyquorum_toy import shapes\n")
    (package / "shapes.py").write_text("import socket\n")
    (package / "adapter.py").write_text("import asyncio\n")
    found = {path.name for path in reachable(tmp_path, "keyquorum_toy.codec")}
    assert found == {"__init__.py", "codec.py", "shapes.py"}
    assert violations((package / "shapes.py").read_text(), Arrow("", frozenset(), PURE)) == ["socket"]


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_imports_are_absolute(folder):
    """A relative import hides from readers, and from the rules above, where it goes."""
    for path in modules(folder / "src"):
        imported(path.read_text(encoding="utf-8"))
    with pytest.raises(ValueError, match="relative import"):
        imported("from . import neighbour")
