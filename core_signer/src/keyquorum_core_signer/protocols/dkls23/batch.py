"""Several presignatures in one session: the same program once per signature, its messages in lock step.

A transaction with many inputs needs a signature for each, and a pool is filled by more than one; two rounds serve all.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from keyquorum_core_signer.groups.suites import Ecdsa
from keyquorum_core_signer.primitives.transcript import digest
from keyquorum_core_signer.protocols.context import bind
from keyquorum_core_signer.protocols.dkls23.errors import Desync
from keyquorum_core_signer.protocols.dkls23.messages import (
    PresignCommitment,
    PresignCommitments,
    PresignExtension,
    PresignExtensions,
    PresignMultiplication,
    PresignMultiplications,
    PresignOpening,
    PresignOpenings,
)
from keyquorum_core_signer.protocols.dkls23.presign import PROTOCOL, Path, Setups, presign_bound
from keyquorum_core_signer.protocols.dkls23.presignature import Presignature
from keyquorum_core_signer.protocols.errors import ProtocolMisuse, abort_if
from keyquorum_core_signer.protocols.keys import KeyShare
from keyquorum_core_signer.protocols.rounds import (
    Checkpoint,
    Context,
    Exchange,
    Inbox,
    PartyId,
    Rng,
    Rounds,
    checkpoint,
    exchange,
)

BATCH_MAX: Final = 16  # presignatures in one session: 50 KB each in the largest message, which may have 1 MiB

R = TypeVar("R")

_BATCHES: Final[dict[type, Any]] = {
    PresignCommitment: PresignCommitments,
    PresignExtension: PresignExtensions,
    PresignOpening: PresignOpenings,
    PresignMultiplication: PresignMultiplications,
}


def presign_all(
    ctx: Context, suite: Ecdsa, share: KeyShare, paths: tuple[Path, ...], *, setups: Setups, rng: Rng
) -> Rounds[tuple[Presignature, ...]]:
    """A presignature for each of ``paths``, in that order; a path may occur more than once."""
    bound = bind(ctx, suite, PROTOCOL)
    return (yield from presign_all_bound(ctx, bound, suite, share, paths=paths, setups=setups, rng=rng))


def presign_all_bound(
    ctx: Context, bound: bytes, suite: Ecdsa, share: KeyShare, *, paths: tuple[Path, ...], setups: Setups, rng: Rng
) -> Rounds[tuple[Presignature, ...]]:
    """:func:`presign_all` inside a protocol with a context digest of its own. Each instance is bound to its place."""
    if not 0 < len(paths) <= BATCH_MAX:
        raise ProtocolMisuse("no presignatures, or too many for one session")
    return (
        yield from _in_lockstep(
            ctx,
            [
                presign_bound(
                    ctx,
                    digest("keyquorum/dkls23/v1/instance", bound, k, paths),
                    suite,
                    share,
                    path=path,
                    setups=setups,
                    rng=rng,
                )
                for k, path in enumerate(paths)
            ],
        )
    )


def _in_lockstep(ctx: Context, programs: Sequence[Rounds[R]]) -> Rounds[tuple[R, ...]]:
    """Run programs that exchange alike, each round of all in one exchange.

    What one raises ends all; a checkpoint, which is the same for all, is yielded once.
    """
    answers: list[Inbox | None] = [None] * len(programs)
    while True:
        steps: list[Any] = []
        results: list[R] = []
        for program, answer in zip(programs, answers, strict=True):
            try:
                steps.append(program.send(answer))
            except StopIteration as stop:
                results.append(stop.value)
        if results:
            return tuple(results)
        if isinstance(steps[0], Checkpoint):
            yield from checkpoint(steps[0].value)
            answers = [None] * len(programs)
        else:
            answers = yield from _exchange(ctx, steps)


def _exchange(ctx: Context, steps: Sequence[Exchange]) -> Rounds[list[Inbox | None]]:
    """One exchange for all, and the inbox of each."""
    batch = _BATCHES[type(steps[0].to_all)](tuple(step.to_all for step in steps))
    to_each = {
        j: _BATCHES[type(message)](tuple(step.to_each[j] for step in steps)) for j, message in steps[0].to_each.items()
    }
    inbox = yield from exchange(ctx, batch, to_each)
    others: tuple[PartyId, ...] = ctx.others()
    counts = {j: {len(inbox.broadcast[j].each), len(inbox.private[j].each)} for j in others}
    miscounted = [j for j in others if counts[j] != {len(steps)}]
    if miscounted and isinstance(batch, PresignCommitments):  # before the handshakes agree on the paths
        raise Desync((j, ("count",)) for j in miscounted)
    abort_if("one message per presignature", miscounted)
    return [
        Inbox({j: inbox.broadcast[j].each[k] for j in others}, {j: inbox.private[j].each[k] for j in others})
        for k in range(len(steps))
    ]
