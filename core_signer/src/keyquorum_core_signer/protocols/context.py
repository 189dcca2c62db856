"""What every protocol checks of its context, and the digest under which it enters all hashes."""

from typing import Final

from keyquorum_core_signer.groups.suites import Suite
from keyquorum_core_signer.primitives.shamir import InvalidIndices, validate_indices
from keyquorum_core_signer.primitives.transcript import digest
from keyquorum_core_signer.protocols.errors import ProtocolMisuse
from keyquorum_core_signer.protocols.rounds import Context

PARTIES_MAX: Final = 64  # a committee's messages must fit the codec's limits, and a screen


def bind(ctx: Context, suite: Suite, protocol: str) -> bytes:
    """The digest of all that the session's parties share: the context without ``me``.

    Raises :class:`ProtocolMisuse` for a context that belongs to another protocol or suite, or whose parties are not
    ascending indices, non-zero and distinct modulo the group order, ourselves among them and at least ``threshold``.
    """
    if ctx.protocol != protocol or ctx.suite != suite.context_string:
        raise ProtocolMisuse("the context is of another protocol or suite")
    if len(ctx.session_id) != 32 or len(ctx.binding) != 32:
        raise ProtocolMisuse("session id and binding have 32 bytes")
    if list(ctx.parties) != sorted(ctx.parties) or ctx.me not in ctx.parties:
        raise ProtocolMisuse("parties are not ascending or we are not among them")
    if not 2 <= ctx.threshold <= len(ctx.parties) <= PARTIES_MAX:
        raise ProtocolMisuse("too few or too many parties, or a threshold of one")
    try:
        validate_indices(suite.group, ctx.parties)
    except InvalidIndices as error:
        raise ProtocolMisuse(str(error)) from None
    return digest(
        "keyquorum/context/v1",
        ctx.cell_id,
        ctx.protocol,
        ctx.suite,
        suite.scheme,
        ctx.session_id,
        ctx.parties,
        ctx.threshold,
        ctx.key_id,
        ctx.epoch,
        ctx.binding,
    )
