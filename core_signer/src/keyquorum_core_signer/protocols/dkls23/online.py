"""The online round: one message from each of the quorum, and everybody has the signature."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from keyquorum_core_signer.groups.ciphersuite import Point, Scalar
from keyquorum_core_signer.groups.suites import Ecdsa
from keyquorum_core_signer.primitives.transcript import challenge, digest
from keyquorum_core_signer.protocols.context import bind
from keyquorum_core_signer.protocols.dkls23.messages import OnlineShare, OnlineShares
from keyquorum_core_signer.protocols.dkls23.presignature import Presignature, PresignatureTerms
from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort, ProtocolMisuse, abort_if
from keyquorum_core_signer.protocols.rounds import Context, PartyId, Rounds, exchange

PROTOCOL: Final = "dkls23-online/v1"
SIGNATURES_MAX: Final = 256  # in one exchange; a transaction needs one per input
DIGEST_LENGTH: Final = 32  # bytes of what ECDSA signs

Use: TypeAlias = tuple[Presignature, tuple[int, ...], bytes]
"""A presignature, the path that it must be for, and the digest to sign."""


@dataclass(frozen=True, slots=True)
class EcdsaSignature:
    """r and s of 32 bytes each, s in the lower half, and which of the four points with this r was meant."""

    r_s: bytes
    recovery_id: int  # bit 0: y of R is odd; bit 1: x of R is not below the order

    def to_bytes(self) -> bytes:
        """65 bytes, r || s || recovery id."""
        return self.r_s + bytes([self.recovery_id])


@dataclass(frozen=True, slots=True)
class _Signing:
    """One signature under way: everything that is public once a digest has met its presignature."""

    terms: PresignatureTerms
    digest: bytes
    delta: Scalar
    R: Point  # delta times the presignature's
    r_x: Scalar


def finish(
    ctx: Context, suite: Ecdsa, presignature: Presignature, path: tuple[int, ...], digest: bytes
) -> Rounds[EcdsaSignature]:
    """Sign a 32-byte digest in one message. ``ctx.binding`` is the hash of the intent, which the digest came out of.

    The presignature is gone when the generator first runs, whatever becomes of the signature.
    """
    (signature,) = yield from finish_all(ctx, suite, ((presignature, path, digest),))
    return signature


def finish_all(ctx: Context, suite: Ecdsa, uses: tuple[Use, ...]) -> Rounds[tuple[EcdsaSignature, ...]]:
    """Sign several digests in one message, each with a presignature of its own; signatures come in that order."""
    bound = bind(ctx, suite, PROTOCOL)
    return (yield from finish_bound(ctx, bound, suite, uses))


def finish_bound(ctx: Context, bound: bytes, suite: Ecdsa, uses: tuple[Use, ...]) -> Rounds[tuple[EcdsaSignature, ...]]:
    """:func:`finish_all` inside a protocol with a context digest of its own."""
    _check(ctx, suite, uses)
    secrets = [presignature.take() for presignature, _, _ in uses]
    signings = [_signing(ctx, suite, presignature.terms, message) for presignature, _, message in uses]

    # w_i = m * phi_i + r_x * v_i, and u_i, of which delta makes the inverse of the nonce of R'.
    shares = tuple(
        OnlineShare(_message(suite, signing) * phi_i + signing.r_x * v_i, signing.delta * u_i)
        for signing, (phi_i, u_i, v_i) in zip(signings, secrets, strict=True)
    )
    del secrets
    seen = digest(
        "keyquorum/dkls23/v1/online", bound, tuple((signing.terms, signing.digest, signing.R) for signing in signings)
    )
    inbox = yield from exchange(ctx, OnlineShares(seen, shares))
    answers: Mapping[PartyId, OnlineShares] = inbox.broadcast
    if any(answer.seen != seen for answer in answers.values()):
        raise EchoMismatch("what is signed online")
    abort_if("one share per signature", (i for i, answer in answers.items() if len(answer.shares) != len(uses)))
    return tuple(
        _combine(ctx, suite, signing, [answer.shares[k] for answer in answers.values()])
        for k, signing in enumerate(signings)
    )


def _check(ctx: Context, suite: Ecdsa, uses: tuple[Use, ...]) -> None:
    """Everything that a presignature is bound to, before it is taken."""
    if not 0 < len(uses) <= SIGNATURES_MAX:
        raise ProtocolMisuse("no signatures, or too many")
    for presignature, path, message in uses:
        terms = presignature.terms
        if presignature.me != ctx.me or terms.R.group is not suite.group:
            raise ProtocolMisuse("the presignature is of another party or group")
        if (terms.key_id, terms.epoch) != (ctx.key_id, ctx.epoch):
            raise ProtocolMisuse("the presignature is of another key or epoch")
        if terms.parties != ctx.parties:
            raise ProtocolMisuse("the presignature is of another quorum")
        if terms.path != path:
            raise ProtocolMisuse("the presignature is of another path")
        if len(message) != DIGEST_LENGTH:
            raise ProtocolMisuse("ECDSA signs digests of 32 bytes")


def _signing(ctx: Context, suite: Ecdsa, terms: PresignatureTerms, message: bytes) -> _Signing:
    """R' = delta * R with a delta that depends on what is signed (Groth and Shoup): who knew R beforehand knew nothing.

    The intent, ``ctx.binding``, decides the digest; the digest is hashed too, for callers that bind less to theirs.
    """
    delta = challenge(
        suite.group,
        "keyquorum/dkls23/v1/rerandomisation",
        terms.public_key,
        terms.epoch,
        terms.id,
        terms.R,
        terms.parties,
        ctx.binding,
        message,
    )
    if delta.is_zero():
        raise ProtocolAbort("delta is zero", ())
    R = suite.group.multiply(terms.R, delta)
    r_x = suite.group.scalar(_x(R))
    if r_x.is_zero():
        raise ProtocolAbort("r is zero", ())
    return _Signing(terms, message, delta, R, r_x)


def _combine(ctx: Context, suite: Ecdsa, signing: _Signing, shares: list[OnlineShare]) -> EcdsaSignature:
    """The quotient of the sums of w_i and u_i, in the lower half; only what libsecp256k1 verifies leaves."""
    group = suite.group
    zero = group.zero()
    u = sum((share.u for share in shares), zero)
    w = sum((share.w for share in shares), zero)
    others = ctx.others()
    # Which of several peers sent a wrong share, or a wrong psi while presigning, cannot be told.
    culprits = others if len(others) == 1 else ()
    if u.is_zero():
        raise ProtocolAbort("signature", culprits)
    s = w * u.inverse()
    if s.value > group.order // 2:
        s = -s
    # With -s goes -R'. Not only we turn s: whoever speaks last can, too, so the point is looked for, and not counted.
    expected = group.base_multiply(_message(suite, signing)) + group.multiply(signing.terms.public_key, signing.r_x)
    R = signing.R if group.multiply(signing.R, s) == expected else -signing.R
    recovery_id = (R.to_bytes()[0] & 1) | (2 if _x(R) >= group.order else 0)
    r_s = signing.r_x.to_bytes() + s.to_bytes()
    if not suite.verify(signing.terms.public_key.to_bytes(), signing.digest, r_s):
        raise ProtocolAbort("signature", culprits)
    return EcdsaSignature(r_s, recovery_id)


def _message(suite: Ecdsa, signing: _Signing) -> Scalar:
    """The digest as ECDSA takes it: big-endian, modulo the order."""
    return suite.group.scalar(int.from_bytes(signing.digest, "big"))


def _x(point: Point) -> int:
    return int.from_bytes(point.to_bytes()[1:], "big")
