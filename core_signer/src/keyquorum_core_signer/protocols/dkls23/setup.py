"""What two nodes keep about each other: transfers in both directions and a seed, for all keys and sessions."""

from dataclasses import dataclass, field
from typing import Final, NoReturn

from keyquorum_core_signer.primitives.ot.extension import BASE_TRANSFERS, ReceiverSeeds, SenderSeeds
from keyquorum_core_signer.primitives.transcript import digest
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.wire.codec import Bytes32, DecodeError, plain

GENERATION_MAX: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class PairSetup:
    """One node's half of a pair's set-up. It lasts until the pair is refreshed or one check in it fails.

    Every use draws fresh streams from the seeds under :meth:`multiplication_place`, so keys and sessions share nothing.
    """

    me: PartyId
    peer: PartyId
    generation: int  # counts the set-ups of this pair, from 1
    id: Bytes32  # hash of the pairing's transcript: public, and the same at both
    sender: SenderSeeds = field(repr=False)  # we are Alice
    receiver: ReceiverSeeds = field(repr=False)  # we are Bob
    zero_seed: Bytes32 = field(repr=False)

    def multiplication_place(self, bound: bytes, path: tuple[int, ...], *, alice: PartyId) -> bytes:
        """The digest that separates one multiplication in one direction from all others of this pair."""
        bob = self.peer if alice == self.me else self.me
        return digest("keyquorum/dkls23/v1/multiplication", bound, path, self.id, self.generation, alice, bob)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a pair set-up is not pickled")


def encode_setup(setup: PairSetup) -> bytes:
    """Canonical bytes, secrets included: for an envelope that encrypts them. About 13 KB."""
    return plain.encode(setup)


def decode_setup(data: bytes) -> PairSetup:
    """Inverse of :func:`encode_setup`; ``DecodeError`` for what pairing does not make."""
    setup = plain.decode(PairSetup, data)
    if setup.me == setup.peer or not setup.me or not setup.peer or not 1 <= setup.generation <= GENERATION_MAX:
        raise DecodeError("PairSetup: one party twice, or a generation out of range")
    if len(setup.sender.keys) != BASE_TRANSFERS or len(setup.receiver.pairs) != BASE_TRANSFERS:
        raise DecodeError("PairSetup: another number of transfers")
    return setup
