"""``make proof``: run every proof and write build/proof.json, rows of {name, cases, violations}.

A proof is a module of this folder with a ``prove()`` that prints its progress and returns its rows.
"""

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


def proofs() -> dict[str, Path]:
    """Modules of this folder, by name."""
    return {path.stem: path for path in sorted(HERE.glob("*.py")) if path.stem != Path(__file__).stem}


def load(name: str, path: Path):
    """A proof's module."""
    spec = importlib.util.spec_from_file_location(f"proof_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """All proofs, or those that are named; 0 only if every one had cases and none was violated."""
    found = proofs()
    parser = argparse.ArgumentParser(description="prove what the documentation claims")
    parser.add_argument("--report", type=Path, default=ROOT / "build/proof.json")
    parser.add_argument("--only", action="append", choices=sorted(found), help="repeatable; default: all")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    rows = []
    for name in arguments.only or found:
        began = time.monotonic()
        print(f"{name} …", flush=True)
        rows += load(name, found[name]).prove()
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        print(f"{row['name']}: {row['cases']} cases, {row['violations']} violations")
    return 0 if rows and all(row["cases"] and not row["violations"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
