"""Agreement between two parties, checked before a transfer of theirs is used: disagreement is no crime."""

from collections.abc import Mapping
from dataclasses import fields

from keyquorum_core_signer.primitives.transcript import digest
from keyquorum_core_signer.protocols.dkls23.errors import Desync
from keyquorum_core_signer.protocols.dkls23.messages import Handshake
from keyquorum_core_signer.protocols.dkls23.setup import PairSetup
from keyquorum_core_signer.protocols.keys import KeyShare
from keyquorum_core_signer.protocols.rounds import PartyId


def handshake(bound: bytes, share: KeyShare, path: tuple[int, ...], setup: PairSetup) -> Handshake:
    """Our view of the session, the key and the pair; ``bound`` is the context's digest.

    It holds no secret and may be compared earlier, such as while a channel's nonces are exchanged.
    """
    return Handshake(
        context=bound,
        epoch=share.epoch,
        key=digest("keyquorum/dkls23/v1/handshake-key", share.key_id, share.public, path),
        generation=setup.generation,
        setup=setup.id,
    )


def compare(ours: Mapping[PartyId, Handshake], theirs: Mapping[PartyId, Handshake]) -> None:
    """:class:`Desync` naming what differs, unless every peer's handshake is the one we sent it."""
    differing = []
    for peer, own in ours.items():
        names = tuple(f.name for f in fields(own) if getattr(own, f.name) != getattr(theirs[peer], f.name))
        if names:
            differing.append((peer, names))
    if differing:
        raise Desync(differing)
