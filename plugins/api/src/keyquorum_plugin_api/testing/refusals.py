"""Asserting that something is refused, for the right reason."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from keyquorum_plugin_api.errors import ChainError
from keyquorum_plugin_api.signer import SigningError


@dataclass(slots=True)
class Refusal:
    """What was raised, once it was."""

    error: ChainError | SigningError | None = None


@contextmanager
def refused(*kinds: type[ChainError] | type[SigningError], what: str = "") -> Iterator[Refusal]:
    """Fail unless one of ``kinds`` is raised inside, with a detail that a client can read."""
    refusal = Refusal()
    try:
        yield refusal
    except kinds as error:
        if not error.detail:
            raise AssertionError(f"{type(error).__name__} says nothing {what}") from error
        refusal.error = error
        return
    raise AssertionError(f"not refused with {' or '.join(kind.__name__ for kind in kinds)} {what}")
