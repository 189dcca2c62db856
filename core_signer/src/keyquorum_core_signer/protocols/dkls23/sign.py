"""Signing without presignatures at hand: both rounds of presigning and the online one, in one session."""

from typing import Final

from keyquorum_core_signer.groups.suites import Ecdsa
from keyquorum_core_signer.protocols.context import bind
from keyquorum_core_signer.protocols.dkls23.batch import presign_all_bound
from keyquorum_core_signer.protocols.dkls23.online import EcdsaSignature, finish_bound
from keyquorum_core_signer.protocols.dkls23.presign import Path, Setups, presign_bound
from keyquorum_core_signer.protocols.keys import KeyShare
from keyquorum_core_signer.protocols.rounds import Context, Rng, Rounds

PROTOCOL: Final = "dkls23/v1"


def sign(
    ctx: Context, suite: Ecdsa, share: KeyShare, digest: bytes, path: Path, *, setups: Setups, rng: Rng
) -> Rounds[EcdsaSignature]:
    """Sign a 32-byte digest with the child key at ``path``, by exactly ``ctx.parties``, in three rounds."""
    bound = bind(ctx, suite, PROTOCOL)
    presignature = yield from presign_bound(ctx, bound, suite, share, path=path, setups=setups, rng=rng)
    (signature,) = yield from finish_bound(ctx, bound, suite, ((presignature, path, digest),))
    return signature


def sign_all(
    ctx: Context, suite: Ecdsa, share: KeyShare, messages: tuple[tuple[bytes, Path], ...], *, setups: Setups, rng: Rng
) -> Rounds[tuple[EcdsaSignature, ...]]:
    """Sign every ``(digest, path)`` in the same three rounds, at most ``batch.BATCH_MAX``; signatures in that order."""
    bound = bind(ctx, suite, PROTOCOL)
    paths = tuple(path for _, path in messages)
    made = yield from presign_all_bound(ctx, bound, suite, share, paths=paths, setups=setups, rng=rng)
    uses = tuple((presignature, path, message) for presignature, (message, path) in zip(made, messages, strict=True))
    return (yield from finish_bound(ctx, bound, suite, uses))
