"""``make bench``: measure everything and write build/bench.json."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from bench import adapters, channel, dkls23, ecdsa_served, protocols, served, store
from bench.rows import Row

STATE = ROOT / "build/bench-state"  # beside the sources: a temporary folder may be memory


def main() -> int:
    """Every group of rows, or those that are named."""
    groups: dict[str, Callable[[float], list[Row]]] = {
        "served": lambda scale: served.rows(STATE, scale),
        "ecdsa": lambda scale: ecdsa_served.rows(STATE, scale),
        "protocols": protocols.rows,
        "dkls23": dkls23.rows,
        "channel": channel.rows,
        "adapters": lambda scale: adapters.rows(STATE / "adapters", scale),
        "store": lambda scale: store.rows(STATE / "store", scale),
    }
    parser = argparse.ArgumentParser(description="measure Keyquorum on this machine")
    parser.add_argument("--report", type=Path, default=ROOT / "build/bench.json")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual number of samples")
    parser.add_argument("--only", action="append", choices=sorted(groups), help="repeatable; default: all")
    arguments = parser.parse_args()
    shutil.rmtree(STATE, ignore_errors=True)
    found: list[Row] = []
    for name in arguments.only or groups:
        began = time.monotonic()
        print(f"{name} …", flush=True)
        for row in groups[name](arguments.scale):
            found.append(row)
            print("  " + "  ".join(f"{key}={value}" for key, value in row.items()), flush=True)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    shutil.rmtree(STATE, ignore_errors=True)
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"{arguments.report} written: {len(found)} rows")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
