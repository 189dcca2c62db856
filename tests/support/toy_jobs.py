"""Job factories for worker processes under test."""

import ctypes
import os
import time
from typing import Any

from keyquorum_core_signer.runtime.job import JobOpener, JobRefused
from keyquorum_core_signer.runtime.session import Session
from support.toy_protocol import toy_session

SECRET_TEXT = "hunter2-in-an-exception"


class ToyJob:
    """Runs one party of the toy protocol; a worker may hold sessions of several parties."""

    def __init__(self, session: Session[int]) -> None:
        self.session = session

    def checkpoint(self, value: Any) -> bytes:
        """The total in decimal."""
        return b"checkpoint %d" % value

    def result(self, value: Any) -> bytes:
        """The total in decimal."""
        return b"%d" % value


def make_jobs(setup: bytes) -> JobOpener:
    """Jobs are ``b"<me> <parties> <session id in hex>"``; some words make trouble."""

    def open_job(data: bytes) -> ToyJob:
        if data == b"explode":
            raise ValueError(SECRET_TEXT)
        if data == b"refuse":
            raise JobRefused("key-not-found", "no such key")
        if data == b"die":
            os._exit(3)
        if data.startswith(b"sleep "):
            time.sleep(float(data.split()[1]))
            return ToyJob(toy_session(1, 2))
        me, parties, session_id = data.split()
        return ToyJob(toy_session(int(me), int(parties), bytes.fromhex(session_id.decode())))

    if setup != b"setup":
        raise ValueError(SECRET_TEXT)
    return open_job


def refuse_setup(setup: bytes) -> JobOpener:
    """A factory that gives its reason."""
    raise JobRefused("roster-invalid", "the roster names nobody")


def inspect_process(setup: bytes) -> JobOpener:
    """Every job answers what the kernel says about the worker."""

    def open_job(data: bytes) -> ToyJob:
        dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
        raise JobRefused("inspected", f"dumpable={dumpable} environment={' '.join(sorted(os.environ))}")

    return open_job
