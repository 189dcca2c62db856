"""What went wrong in a protocol, and about whom it proves something."""

from collections.abc import Iterable
from typing import ClassVar

from keyquorum_core_signer.protocols.rounds import PartyId


class ProtocolError(Exception):
    """Base of everything that a running protocol raises because of what others did.

    ``code`` tells a host what it has to do beyond ending the session.
    """

    code: ClassVar[str] = "protocol-abort"
    step: str = ""
    evidence: bytes = b""


class ProtocolAbort(ProtocolError):
    """Proves that each of ``culprits`` sent something that no honest party sends.

    The proof is the signed envelopes of the session together with ``evidence``, which never holds a secret that is
    still of use. ``step`` names the check that failed, in the words of the paper.
    """

    def __init__(self, step: str, culprits: Iterable[PartyId], evidence: bytes = b"") -> None:
        self.step = step
        self.culprits = tuple(sorted(set(culprits)))
        self.evidence = evidence
        super().__init__(f"{step}: parties {', '.join(map(str, self.culprits))}")


class EchoMismatch(ProtocolError):
    """Proves that honest parties saw different broadcasts, and nothing about who made them differ.

    A party that sent two versions and a relay that swapped one look alike from here, so nobody is blamed; the signed
    envelopes of both sides decide it.
    """

    def __init__(self, step: str) -> None:
        self.step = step
        super().__init__(f"{step}: parties do not agree on what was broadcast")


class ProtocolMisuse(Exception):
    """Proves that our own caller broke a precondition: a wrong share, too few parties, a nonce used twice."""


def abort_if(step: str, culprits: Iterable[PartyId], evidence: bytes = b"") -> None:
    """Raise :class:`ProtocolAbort` naming all of ``culprits``, if there are any."""
    found = tuple(culprits)
    if found:
        raise ProtocolAbort(step, found, evidence)
