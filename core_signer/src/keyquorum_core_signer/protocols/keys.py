"""A key as its parties hold it: what all of them know, one party's share, and child keys."""

from dataclasses import dataclass, field
from typing import Final, NoReturn

from keyquorum_core_signer.groups.ciphersuite import Point, Scalar
from keyquorum_core_signer.groups.derivation import UnusableIndex
from keyquorum_core_signer.groups.suites import Suite
from keyquorum_core_signer.protocols.messages import codec_for, codec_of
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.wire.codec import Bytes32, DecodeError

PATH_LENGTH_MAX: Final = 255  # BIP-32 counts depth in one byte


@dataclass(frozen=True, slots=True)
class PublicKeyPackage:
    """The public side of a key: the same at every party."""

    public_key: Point
    chain_code: Bytes32
    public_shares: tuple[tuple[PartyId, Point], ...]  # Y_i = s_i * G, ascending
    threshold: int

    def public_share(self, party: PartyId) -> Point:
        """Y_i of one party; ``KeyError`` for a stranger."""
        return dict(self.public_shares)[party]


@dataclass(frozen=True, slots=True)
class KeyShare:
    """One party's share s_i of a key. Never shown, never pickled; stored through :func:`encode_share` alone."""

    party: PartyId
    secret: Scalar = field(repr=False)
    public: PublicKeyPackage
    key_id: str
    epoch: int

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key share is not pickled")


def encode_share(share: KeyShare) -> bytes:
    """Canonical bytes, secret included: for an envelope that encrypts them."""
    return codec_of(share.secret.group).encode(share)


def decode_share(suite: Suite, data: bytes) -> KeyShare:
    """Inverse of :func:`encode_share`; ``DecodeError`` also for a share that is not the one of its public package."""
    share = codec_for(suite).decode(KeyShare, data)
    parties = [party for party, _ in share.public.public_shares]
    if parties != sorted(set(parties)) or share.party not in parties:
        raise DecodeError("KeyShare: parties are not ascending or lack the share's own")
    if not 2 <= share.public.threshold <= len(parties):
        raise DecodeError("KeyShare: a threshold of one, or above the number of parties")
    if suite.group.base_multiply(share.secret) != share.public.public_share(share.party):
        raise DecodeError("KeyShare: the secret does not belong to the public share")
    return share


def derive(suite: Suite, public: PublicKeyPackage, path: tuple[int, ...]) -> tuple[Scalar, PublicKeyPackage]:
    """The tweak to add to every share for the child at ``path``, and the child's public package.

    Paths are non-hardened: BIP-32 on secp256k1, :func:`~keyquorum_core_signer.groups.derivation.ed25519_child` on
    Ed25519. The empty path is the key itself. Raises :class:`UnusableIndex` for an index that has no child.
    """
    if len(path) > PATH_LENGTH_MAX:
        raise UnusableIndex("the path is too long")
    tweak, key, chain_code = suite.group.zero(), public.public_key, public.chain_code
    for index in path:
        step, chain_code = suite.child(key, chain_code, index)
        tweak, key = tweak + step, key + suite.group.base_multiply(step)
    if not path:
        return tweak, public
    offset = suite.group.base_multiply(tweak)
    shares = tuple((party, share + offset) for party, share in public.public_shares)
    if key.is_identity() or any(share.is_identity() for _, share in shares):
        raise UnusableIndex("the child key or one of its shares is the identity")
    return tweak, PublicKeyPackage(key, chain_code, shares, public.threshold)
