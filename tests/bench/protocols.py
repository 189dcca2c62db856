"""What the mathematics costs one party: generators driven in this process, through the real codec and no network."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.rows import Row, latency
from keyquorum_core_signer.groups.suites import Suite, suite_for
from keyquorum_core_signer.protocols.messages import codec_for
from keyquorum_core_signer.protocols.rounds import Checkpoint, Exchange, Inbox, PartyId, Rounds
from support.committee import keygen_programs, shares_of, sign_programs

COMMITTEES = [(2, 2), (2, 3), (3, 5), (5, 9)]
REQUIRED = (2, 3)
SCHEMES = {"ed25519": "eddsa_ed25519", "secp256k1": "ecdsa_secp256k1"}
FROST = {"ed25519": "eddsa_ed25519", "bip340": "schnorr_bip340"}
MESSAGE_BYTES = {"ed25519": 200, "bip340": 32}  # a small transaction; a digest


@dataclass(frozen=True)
class Cost:
    """One run: seconds of computation of one party, rounds, and payload bytes that it sent."""

    seconds: float
    rounds: int
    bytes_sent: int


def measure(suite: Suite, programs: Mapping[PartyId, Rounds[object]]) -> Cost:
    """Run in lock step and count what the last party computes, its encoding and decoding included."""
    codec, me = codec_for(suite), max(programs)
    inboxes: dict[PartyId, Inbox | None] = dict.fromkeys(programs)
    seconds, rounds, sent = 0.0, 0, 0
    waiting = dict(programs)
    while True:
        steps: dict[PartyId, Exchange] = {}
        wires: dict[PartyId, tuple[bytes, dict[PartyId, bytes]]] = {}
        for party, program in waiting.items():
            began = time.perf_counter()
            try:
                step = program.send(inboxes[party])
                while isinstance(step, Checkpoint):
                    step = program.send(None)
            except StopIteration:
                seconds += time.perf_counter() - began if party == me else 0
                continue
            to_all = codec.encode(step.to_all) if step.to_all is not None else b""
            to_each = {other: codec.encode(message) for other, message in step.to_each.items()}
            steps[party], wires[party] = step, (to_all, to_each)
            if party == me:
                seconds += time.perf_counter() - began
                sent += len(to_all) * (len(programs) - 1) + sum(map(len, to_each.values()))
        if not steps:
            return Cost(seconds, rounds, sent)
        rounds += 1
        for party, step in steps.items():
            began = time.perf_counter()
            to_all, to_each = step.expected()
            others = [other for other in steps if other != party]
            inboxes[party] = Inbox(
                broadcast={o: codec.decode(to_all, wires[o][0]) for o in others} if to_all else {},
                private={o: codec.decode(to_each, wires[o][1][party]) for o in others} if to_each else {},
            )
            seconds += time.perf_counter() - began if party == me else 0


def repeated(n: int, run: Callable[[int], Cost]) -> list[Cost]:
    """Costs of ``n`` runs, after one that warms the caches."""
    run(-1)
    return [run(index) for index in range(n)]


def row(name: str, costs: list[Cost]) -> Row:
    """A latency row with the two figures of the protocol."""
    return latency(name, [c.seconds for c in costs], rounds=costs[-1].rounds, bytes_per_party=costs[-1].bytes_sent)


def signing(kind: str, threshold: int, n: int) -> Callable[[int], Cost]:
    """FROST by ``threshold`` of ``n``."""
    suite = suite_for(FROST[kind])
    shares = shares_of(suite, threshold, n)
    message = secrets.token_bytes(MESSAGE_BYTES[kind])
    return lambda seed: measure(suite, sign_programs(suite, shares, ((message, ()),), seed=seed))


def generation(curve: str, threshold: int, n: int) -> Callable[[int], Cost]:
    """Key generation by ``n``."""
    suite = suite_for(SCHEMES[curve])
    return lambda seed: measure(suite, keygen_programs(suite, threshold, range(1, n + 1), seed=seed))


def rows(scale: float = 1.0) -> list[Row]:
    """Cost per party of every protocol, curve and committee."""
    found = []
    for t, n in COMMITTEES:
        plain = "" if (t, n) == REQUIRED else f"_{t}of{n}"
        runs = max(5, int((100 if n <= 3 else 15) * scale))
        kinds = FROST if (t, n) == REQUIRED else ("ed25519",)
        found += [row(f"frost_{kind}_compute_per_party{plain}", repeated(runs, signing(kind, t, n))) for kind in kinds]
        found += [
            row(f"dkg_{curve}_compute_per_party{plain}", repeated(runs, generation(curve, t, n))) for curve in SCHEMES
        ]
    return found
