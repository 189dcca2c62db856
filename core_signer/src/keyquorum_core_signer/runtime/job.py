"""What a host gives a worker to do. The pool knows nothing about protocols; a job factory knows all.

A factory is named by import path, ``"package.module:function"``, and imported only in the worker. Called once per worker
with the pool's set-up bytes (identity, roster, …), it gives the function that makes a job of each ``open()``'s bytes::

    def make_jobs(setup: bytes) -> JobOpener:
        identity, roster = read(setup)

        def open_job(data: bytes) -> Job:
            order = parse(data)
            return SigningJob(Session(order.ctx, sign(...), codec, identity, roster.keys))

        return open_job
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from keyquorum_core_signer.runtime.session import Session


class Job(Protocol):
    """A session, and how what comes out of it becomes bytes that may leave the worker.

    The encoders run in the worker, so that they can seal: a share leaves it only encrypted.
    """

    @property
    def session(self) -> Session[Any]:
        """The session, not started."""

    def checkpoint(self, value: Any) -> bytes:
        """Encode a checkpoint's value."""

    def result(self, value: Any) -> bytes:
        """Encode the session's result."""


JobOpener: TypeAlias = Callable[[bytes], Job]
JobFactory: TypeAlias = Callable[[bytes], JobOpener]


class JobRefused(Exception):
    """Raised by a factory or a job for a reason that the host should hear: the share does not open, the key is unknown.

    ``code`` is machine-readable; ``detail`` is English and leaves the worker, so it holds no secret.
    """

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}")
