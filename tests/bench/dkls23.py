"""What DKLs23's mathematics costs one party: pairing, presigning, the online round, and all of it in one session."""

from collections.abc import Callable
from itertools import count

from bench.protocols import COMMITTEES, REQUIRED, Cost, measure, repeated, row
from bench.rows import Row
from keyquorum_core_signer.groups.suites import ECDSA
from support.committee import shares_of
from support.dkls23 import finish_programs, pair_programs, presign_programs, presigned, sign_programs


def presigning(threshold: int, n: int) -> Callable[[int], Cost]:
    """Presigning by ``threshold`` of ``n``; each party works with ``threshold - 1`` peers."""
    shares = shares_of(ECDSA, threshold, n)
    return lambda seed: measure(ECDSA, presign_programs(shares, seed))


def signing(threshold: int, n: int) -> Callable[[int], Cost]:
    """The cold path: presigning and the online round in one session."""
    shares = shares_of(ECDSA, threshold, n)
    return lambda seed: measure(ECDSA, sign_programs(shares, seed))


def finishing() -> Callable[[int], Cost]:
    """The warm path of a 2-of-3 key, with a presignature made beforehand for each run."""
    shares = shares_of(ECDSA, *REQUIRED)
    seeds = count()
    return lambda _: measure(ECDSA, finish_programs(presigned(shares, next(seeds))))


def rows(scale: float = 1.0) -> list[Row]:
    """Cost per party; the first presigning row has one peer, so that it is the cost per party and peer."""
    few, many = max(5, int(20 * scale)), max(5, int(60 * scale))
    found = [row("dkls23_pair_setup", repeated(few, lambda seed: measure(ECDSA, pair_programs(seed=seed))))]
    for t, n in COMMITTEES:
        plain = "" if (t, n) == REQUIRED else f"_{t}of{n}"
        runs = many if n <= 3 else few
        found.append(row(f"dkls23_presign_compute_per_party{plain}", repeated(runs, presigning(t, n))))
    found.append(row("dkls23_online_compute_per_party", repeated(few, finishing())))
    found.append(row("dkls23_cold_compute_per_party", repeated(few, signing(*REQUIRED))))
    return found
