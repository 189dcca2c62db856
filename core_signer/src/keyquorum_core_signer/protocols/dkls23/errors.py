"""What DKLs23 raises beyond other protocols: disagreement before any transfer is used, and a pair that is lost."""

from collections.abc import Iterable
from typing import ClassVar, Final

from keyquorum_core_signer.protocols.errors import EchoMismatch, ProtocolAbort
from keyquorum_core_signer.protocols.rounds import PartyId
from keyquorum_core_signer.wire.codec import plain

PAIR_DESYNC: Final = "pair-desync"
PAIR_COMPROMISED: Final = "pair-compromised"


class Desync(EchoMismatch):
    """Proves that two parties do not stand in one session with one pair set-up, key and path, and nothing about why.

    A restored backup, a lagging node and a relay that mixes sessions look alike, so nobody is blamed and no pair ends.
    ``differing`` says what each peer sees otherwise, and so does the evidence; :func:`decode_desync` reads it.
    """

    code: ClassVar[str] = PAIR_DESYNC

    def __init__(self, differing: Iterable[tuple[PartyId, tuple[str, ...]]]) -> None:
        self.differing = tuple(differing)
        shown = "; ".join(f"party {party} differs in {', '.join(names)}" for party, names in self.differing)
        super().__init__(f"handshake ({shown})")
        self.evidence = plain.encode(self.differing)


class PairCompromised(ProtocolAbort):
    """Proves that each of ``banned`` failed a check that no honest party fails in a matched session.

    Whoever cheats there learns bits of our transfers' secrets by whether we notice. So the pair's set-up must be
    destroyed, the peer banned for all keys until it is paired again by hand, and what was made with the pair voided.
    ``culprits`` are the banned and whoever else failed a check of the same round.
    """

    code: ClassVar[str] = PAIR_COMPROMISED

    def __init__(
        self, step: str, culprits: Iterable[PartyId], banned: Iterable[PartyId], evidence: bytes = b""
    ) -> None:
        self.banned = tuple(sorted(set(banned)))
        super().__init__(step, (*culprits, *self.banned), evidence)


def decode_desync(evidence: bytes) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """Per peer what it sees otherwise: the inverse of what :class:`Desync` carries; ``DecodeError`` for anything else."""
    return plain.decode(tuple[tuple[int, tuple[str, ...]], ...], evidence)
