"""Each import-linter contract of the root pyproject.toml holds, and breaks for each module that it forbids."""

import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter.configuration import configure
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract

ROOT = Path(__file__).resolve().parents[2]
SESSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
CONTRACTS = {options["id"]: options for options in SESSION["contracts"]}
KINDS = {"forbidden": ForbiddenContract, "layers": LayersContract, "protected": ProtectedContract}

Import = tuple[str, str]


@pytest.fixture(scope="module")
def graph():
    """Who imports whom today."""
    configure()
    packages = SESSION["root_packages"]
    return grimp.build_graph(*packages, include_external_packages=True, cache_dir=None)


def holds(options: dict[str, Any], graph: Any) -> bool:
    """Whether a contract is kept by a graph."""
    settings = {
        key: str(value) if isinstance(value, bool) else value  # as they come from a file of texts
        for key, value in options.items()
        if key not in {"id", "name", "type"}
    }
    session = {"root_packages": SESSION["root_packages"], "include_external_packages": "True"}
    contract = KINDS[options["type"]](name=options["name"], session_options=session, contract_options=settings)
    return contract.check(graph, verbose=False).kept


def breaches(options: dict[str, Any]) -> list[Import]:
    """Imports that a contract forbids, as (importer, imported)."""
    if options["type"] == "forbidden":
        return [(source, target) for source in options["source_modules"] for target in options["forbidden_modules"]]
    if options["type"] == "protected":
        return [("keyquorum_core_signer.party", module) for module in options["protected_modules"]]
    prefix = f"{options['containers'][0]}." if "containers" in options else ""
    layers = [[prefix + name.strip() for name in layer.split("|")] for layer in options["layers"]]
    upwards = [(low, high) for at, lows in enumerate(layers) for low in lows for highs in layers[:at] for high in highs]
    sideways = [(one, other) for layer in layers for one in layer for other in layer if one != other]
    return upwards + sideways


@pytest.mark.parametrize("options", CONTRACTS.values(), ids=CONTRACTS)
def test_a_contract_holds_and_has_teeth(options, graph):
    """It is kept as things are, and broken by one import too many."""
    assert holds(options, graph)
    forbidden = breaches(options)
    assert forbidden
    for importer, imported in forbidden:
        graph.add_import(importer=importer, imported=imported)
        try:
            assert not holds(options, graph), f"{importer} may import {imported}"
        finally:
            graph.remove_import(importer=importer, imported=imported)
