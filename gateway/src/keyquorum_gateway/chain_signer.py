"""The ``Signer`` that adapters get: the gRPC client of the core signer, tied to one approved payload at a time.

An adapter runs in this process and chooses when to call; it does not choose what is signed. Within an operation exactly
one payload is open for signing, the one whose effects the gateway approved, under the one intent that was made (and, for
a client-initiated wallet, signed by the client) for it. Outside an operation nothing is signed at all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from keyquorum_plugin_api.codec import UnsignedTransaction
from keyquorum_plugin_api.signer import Signer, SigningError


@dataclass(slots=True)
class SigningTicket:
    """Permission to have one approved payload signed, once.

    ``error`` keeps what went wrong on the signing side, so that an adapter can neither hide nor rename it. ``shown`` says
    that parties may have seen the payload, now or before: from then on it counts as signed.
    """

    approved: UnsignedTransaction
    obtain: Callable[[], Awaitable[tuple[bytes, ...]]]
    shown: bool = False
    used: bool = False
    signatures: tuple[bytes, ...] = field(default=(), repr=False)
    error: Exception | None = None


_ticket: ContextVar[SigningTicket | None] = ContextVar("signing_ticket", default=None)


class OperationSigner(Signer):
    """Signs the payload of the operation in whose context it is called, and no other."""

    async def sign(self, unsigned: UnsignedTransaction) -> tuple[bytes, ...]:
        """The signatures of the approved payload; ``SigningError`` for any other, and for a second time."""
        ticket = _ticket.get()
        if ticket is None:
            raise SigningError("adapter-refused", "nothing is signed outside an operation")
        if (unsigned.chain, unsigned.payload) != (ticket.approved.chain, ticket.approved.payload):
            raise SigningError("adapter-refused", "the adapter wants another payload signed than the approved one")
        if ticket.used:
            raise SigningError("adapter-refused", "the payload was signed already")
        ticket.used = ticket.shown = True
        try:
            ticket.signatures = await ticket.obtain()
        except SigningError as error:
            ticket.error = error
            raise
        except asyncio.CancelledError:
            ticket.error = SigningError("outcome-unknown", "the adapter gave up while the parties may have signed")
            raise
        except Exception as error:  # noqa: BLE001 - kept for the operation, which raises it again
            ticket.error = error
            raise SigningError("internal", "the operation failed before the payload was signed") from None
        return ticket.signatures


@contextmanager
def signing(ticket: SigningTicket) -> Iterator[None]:
    """Open a payload for signing to what is called in this context."""
    token = _ticket.set(ticket)
    try:
        yield
    finally:
        _ticket.reset(token)
        ticket.used = True
