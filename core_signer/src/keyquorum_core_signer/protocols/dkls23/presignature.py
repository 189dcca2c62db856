"""Presignatures: what is made before a message is known, and can be used once."""

from dataclasses import dataclass, field
from typing import NoReturn

from keyquorum_core_signer.groups.ciphersuite import Point, Scalar
from keyquorum_core_signer.groups.suites import Suite
from keyquorum_core_signer.protocols.errors import ProtocolMisuse
from keyquorum_core_signer.protocols.messages import codec_for, codec_of
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.wire.codec import Bytes32, DecodeError


@dataclass(frozen=True, slots=True)
class PresignatureTerms:
    """The public side, the same at every party of the quorum: what a presignature is good for, and for nothing else."""

    id: Bytes32
    key_id: str
    epoch: int
    path: tuple[int, ...]
    parties: tuple[PartyId, ...]  # the quorum, ascending
    public_key: Point  # the child key at the path
    R: Point


@dataclass(frozen=True, slots=True)
class _Stored:
    """How a presignature is kept at rest."""

    me: PartyId
    terms: PresignatureTerms
    phi: Scalar = field(repr=False)
    u: Scalar = field(repr=False)
    v: Scalar = field(repr=False)


class Presignature:
    """One party's (phi_i, u_i, v_i) under R. Two signatures from one would reveal the key, so it is taken once.

    In memory this object sees to it; a store must do the same durably, before the share of a signature leaves.
    """

    __slots__ = ("_secrets", "me", "terms")

    def __init__(self, me: PartyId, terms: PresignatureTerms, secrets: tuple[Scalar, Scalar, Scalar]) -> None:
        self.me = me
        self.terms = terms
        self._secrets: tuple[Scalar, Scalar, Scalar] | None = secrets

    def take(self) -> tuple[Scalar, Scalar, Scalar]:
        """(phi_i, u_i, v_i), which are gone from here before anything is computed with them."""
        secrets, self._secrets = self._secrets, None
        if secrets is None:
            raise ProtocolMisuse("a presignature was used twice")
        return secrets

    def __repr__(self) -> str:
        return f"<Presignature {self.terms.id.hex()} of party {self.me}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("presignatures are neither pickled nor copied")


def encode_presignature(presignature: Presignature) -> bytes:
    """Canonical bytes, secrets included, for an envelope that encrypts them. The object given is used up by this."""
    phi, u, v = presignature.take()
    return codec_of(phi.group).encode(_Stored(presignature.me, presignature.terms, phi, u, v))


def decode_presignature(suite: Suite, data: bytes) -> Presignature:
    """Inverse of :func:`encode_presignature`. The caller answers for decoding what was stored once at most."""
    stored = codec_for(suite).decode(_Stored, data)
    parties = stored.terms.parties
    if list(parties) != sorted(set(parties)) or stored.me not in parties:
        raise DecodeError("Presignature: parties are not ascending or lack our own")
    return Presignature(stored.me, stored.terms, (stored.phi, stored.u, stored.v))
