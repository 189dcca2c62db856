"""Rows of build/bench.json, and how samples become them."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]


def latency(name: str, seconds: Sequence[float], **more: Any) -> Row:
    """A latency row; ``seconds`` are its samples, unrounded."""
    ordered = sorted(1000 * value for value in seconds)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {
        "name": name,
        "n": len(ordered),
        "p50_ms": round(statistics.median(ordered), 3),
        "p95_ms": round(p95, 3),
        **more,
    }


def throughput(name: str, n: int, seconds: float, **more: Any) -> Row:
    """A throughput row: ``n`` things in ``seconds``."""
    return {"name": name, "n": n, "per_s": round(n / seconds, 1), **more}


def sample(n: int, action: Callable[[], Any], warm_up: int = 3) -> list[float]:
    """Seconds of each of ``n`` calls, after a few that do not count."""
    for _ in range(warm_up):
        action()
    taken = []
    for _ in range(n):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return taken
