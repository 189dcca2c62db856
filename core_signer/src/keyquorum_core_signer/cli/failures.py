"""How the command says no: one readable line per problem, and an exit status that scripts can tell apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, ClassVar

import click

from keyquorum_core_signer.config.files import SecretFileError
from keyquorum_core_signer.config.source import ConfigError
from keyquorum_core_signer.intents.errors import RosterError


class Failure(click.ClickException):
    """Something did not work."""

    exit_code: ClassVar[int] = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Write each line of the message with the same prefix."""
        for line in self.message.splitlines():
            click.echo(f"error: {line}", file=file, err=file is None)


class InvalidFile(Failure):
    """A file is missing, exposed, or not what it must be."""

    exit_code = 3


class NotConfirmed(Failure):
    """A fingerprint differs from the expected one, or nobody confirmed it."""

    exit_code = 4


@contextmanager
def readable_failures() -> Iterator[None]:
    """Turn what an operator can cause into a :class:`Failure`; everything else is our bug and stays a traceback."""
    try:
        yield
    except (ConfigError, RosterError, SecretFileError) as error:
        raise InvalidFile(str(error)) from None
    except OSError as error:
        raise InvalidFile(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None
