"""Random vector oblivious linear evaluation: Doerner, Kondi, Lee, shelat (2023/765), Protocol 5.2, for two inputs.

Alice has a_1, a_2, Bob gets a random b; they end with c_k + d_k = a_k * b, one message after Bob's transfer extension.
b is <g, beta> for Bob's 512 random choices beta and a public random g: a dishonest Alice that guesses s of them, and goes
unnoticed with chance 2^-s, still finds b uniform up to 2^-128, as there are 2 * 128 choices more than b has bits.

One check input is enough: an a~ that is not the same a everywhere passes only where beta_j is zero, or with one theta of
2^256, which is hashed after all of a~ is fixed.

Alice's masks hang on Bob's whole message and on a nonce of her own, and not on the transfers' rows alone: were a session
to run twice, Bob could turn his choices over, so that her two answers add up to twice her inputs.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hmac import compare_digest
from operator import mul
from typing import Annotated, Any, Final, TypeAlias

import gmpy2

from keyquorum_core_signer.groups.ciphersuite import Group, Scalar
from keyquorum_core_signer.primitives.hedging import hedged
from keyquorum_core_signer.primitives.ot import extension
from keyquorum_core_signer.primitives.ot.bits import join, split, to_bytes
from keyquorum_core_signer.primitives.ot.extension import (
    TRANSFERS,
    ExtensionMessage,
    ReceivedRows,
    ReceiverSeeds,
    SenderSeeds,
)
from keyquorum_core_signer.primitives.transcript import challenge, digest
from keyquorum_core_signer.wire.codec import Bytes32, Length

Rng: TypeAlias = Callable[[int], bytes]

INPUTS: Final = 2  # ell
CHECKS: Final = 1  # rho = ceil(128 bits of security / 256 bits of the field)
_WIDTH: Final = INPUTS + CHECKS
_SCALAR_BITS: Final = 256
_WIDE_BITS: Final = 384  # of hash per scalar: no measurable bias modulo the order
_WIDE_BYTES: Final = 64  # of randomness per scalar
_NONCE_BYTES: Final = 32
_MASKED_BYTES: Final = TRANSFERS * _WIDTH * _SCALAR_BITS // 8
_TAG: Final = "keyquorum/rvole/v1"


class InconsistentInputs(ValueError):
    """Proves that Alice did not use one pair of inputs throughout, or not scalars, inside a session that both match.

    That Bob noticed tells Alice bits of beta, and she may have cheated to learn about the transfers: the pair is over.
    """


@dataclass(frozen=True, slots=True)
class MultiplicationMessage:
    """From Alice: her inputs under the transfers' masks, and what lets Bob check that they are the same everywhere."""

    nonce: Bytes32  # a session that repeats by mistake must not repeat a mask
    masked: Annotated[bytes, Length(_MASKED_BYTES)]  # a~: per transfer 3 scalars of 32 bytes, little-endian
    eta: Scalar
    mu: Bytes32


@dataclass(frozen=True, slots=True)
class Bob:
    """Bob between his message and Alice's."""

    group: Group = field(repr=False)
    place: bytes
    gadget: bytes
    transcript: bytes
    received: ReceivedRows = field(repr=False)
    b: Scalar = field(repr=False)

    def finish(self, message: MultiplicationMessage) -> tuple[Scalar, ...]:
        """d_k for each of Alice's inputs; :class:`InconsistentInputs` if the check fails."""
        q = gmpy2.mpz(self.group.order)
        g = _gadget(self.group, self.gadget)
        a_masked = split(message.masked, _SCALAR_BITS)
        if max(a_masked) >= q:
            raise InconsistentInputs("a masked input is not below the group order")
        beta = extension.bits_of(self.received.choices)
        place = _answer_place(self.place, self.transcript, message.nonce)
        gamma = split(extension.hashed(self.received.rows, place, _WIDTH * _WIDE_BITS // 8), _WIDE_BITS)

        # d_{j,k} = gamma_{j,k} + beta_j * a~_{j,k}
        d = [
            [(y + b_j * a) % q for y, b_j, a in zip(gamma[k::_WIDTH], beta, a_masked[k::_WIDTH], strict=True)]
            for k in range(_WIDTH)
        ]
        # mu~_j = d_{j,3} + theta_1 * d_{j,1} + theta_2 * d_{j,2} - beta_j * eta must be what Alice has.
        theta_1, theta_2 = _theta(self.group, place, message.masked)
        eta = gmpy2.mpz(message.eta.value)
        mu = [
            (d_3 + theta_1 * d_1 + theta_2 * d_2 - b_j * eta) % q for d_1, d_2, d_3, b_j in zip(*d, beta, strict=True)
        ]
        if not compare_digest(_mu_hash(place, mu), message.mu):
            raise InconsistentInputs("mu")
        return tuple(self.group.scalar(int(sum(map(mul, g, d[k])))) for k in range(INPUTS))


def begin(group: Group, seeds: ReceiverSeeds, place: bytes, gadget: bytes, rng: Rng) -> tuple[Bob, ExtensionMessage]:
    """Bob's message, and his state with b in it.

    ``place`` is the digest of session, pair and direction; ``gadget``, 32 public bytes, is what g is drawn from.
    """
    received, message = extension.receive(seeds, place, rng)
    g = _gadget(group, gadget)
    beta = extension.bits_of(received.choices)
    b = group.scalar(int(sum(map(mul, g, beta))))
    return Bob(group, place, gadget, _transcript(message), received, b), message


def multiply(
    seeds: SenderSeeds, place: bytes, gadget: bytes, message: ExtensionMessage, *, inputs: Sequence[Scalar], rng: Rng
) -> tuple[tuple[Scalar, ...], MultiplicationMessage]:
    """Alice's c_k for each of her two inputs, and her message.

    :class:`~keyquorum_core_signer.primitives.ot.extension.InconsistentExtension` if Bob's message fails its check.
    """
    a_1, a_2 = inputs
    group = a_1.group
    q = gmpy2.mpz(group.order)
    g = _gadget(group, gadget)
    sent = extension.send(seeds, place, message)
    # Bob's message and the inputs are hashed into what we draw: under a generator that repeats itself the masks must not,
    # and a check input that repeats under another theta would give the inputs away.
    transcript = _transcript(message)
    draw = hedged(rng, f"{_TAG}/answer", place, transcript, a_1, a_2)
    nonce, a_hat = draw(_NONCE_BYTES), group.reduce_wide(draw(_WIDE_BYTES))
    place = _answer_place(place, transcript, nonce)
    zeros, ones = (
        split(extension.hashed(rows, place, _WIDTH * _WIDE_BITS // 8), _WIDE_BITS) for rows in (sent.zeros, sent.ones)
    )
    # a~_{j,k} = alpha0_{j,k} - alpha1_{j,k} + a_k, with a random check input for the last k. Bob, who holds gamma =
    # alpha_beta, is to find alpha0 + beta * a.
    own = [gmpy2.mpz(a.value) for a in (a_1, a_2, a_hat)]
    masked = _pack([(x - y + a) % q for x, y, a in zip(zeros, ones, own * TRANSFERS, strict=True)])
    theta_1, theta_2 = _theta(group, place, masked)
    eta = group.scalar(int(own[2] + theta_1 * own[0] + theta_2 * own[1]))
    columns = [zeros[k::_WIDTH] for k in range(_WIDTH)]
    mu = [(z_3 + theta_1 * z_1 + theta_2 * z_2) % q for z_1, z_2, z_3 in zip(*columns, strict=True)]
    c = tuple(group.scalar(-int(sum(map(mul, g, columns[k])))) for k in range(INPUTS))
    return c, MultiplicationMessage(nonce, masked, eta, _mu_hash(place, mu))


@lru_cache(maxsize=256)  # one per pair of nodes
def _gadget(group: Group, gadget: bytes) -> tuple[Any, ...]:
    """g, 512 scalars."""
    stream = hashlib.shake_128(digest(f"{_TAG}/gadget", group.name, gadget)).digest(TRANSFERS * _WIDE_BITS // 8)
    return tuple(value % group.order for value in split(stream, _WIDE_BITS))


def _transcript(message: ExtensionMessage) -> bytes:
    return digest(f"{_TAG}/extension", message)


def _answer_place(place: bytes, transcript: bytes, nonce: bytes) -> bytes:
    """The digest that separates one answer of Alice's from all others: masks, theta and mu are hashed under it."""
    return digest(f"{_TAG}/answer-place", place, transcript, nonce)


def _theta(group: Group, place: bytes, masked: bytes) -> tuple[Any, Any]:
    """One coefficient per input, hashed after all of a~ is fixed."""
    seed = digest(f"{_TAG}/theta-seed", place, masked)
    theta_1, theta_2 = (gmpy2.mpz(challenge(group, f"{_TAG}/theta", seed, k).value) for k in range(INPUTS))
    return theta_1, theta_2


def _mu_hash(place: bytes, mu: list[Any]) -> bytes:
    return digest(f"{_TAG}/mu", place, _pack(mu))


def _pack(values: list[Any]) -> bytes:
    """32 bytes each, little-endian, for values below 2^256."""
    return to_bytes(join(values, _SCALAR_BITS), len(values) * _SCALAR_BITS // 8)
