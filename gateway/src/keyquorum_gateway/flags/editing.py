"""Writes the flags file: one chain's table at a time, under a lock, and never half of it.

Everything else in the file stays as it is, ``note`` included. What would not be read back is not written.
"""

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from keyquorum_gateway.flags.document import ChainFlag, FlagsInvalid, parse, read

Table: TypeAlias = Mapping[str, Any]

LOCK_S: Final = 10.0
"""How long a writer waits for another one; each holds the lock for some milliseconds."""

_LOCK_RETRY_S: Final = 0.02
_NEW_FILE_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one chain's table; ``before`` is None where it had none."""

    file: Path
    chain: str
    before: Table | None
    after: Table

    @property
    def is_one(self) -> bool:
        """Whether anything differs."""
        return self.before != self.after


def edit(path: Path, chain: str, change: Callable[[Table], Table]) -> Change:
    """Replace a chain's table by what ``change`` makes of it; a file that is not there is made.

    :class:`FlagsInvalid` where the file cannot be read, would not be readable afterwards, or is locked for too long;
    ``OSError`` where it cannot be written. In each case the file is what it was.
    """
    target = path.resolve()
    with _locked(target):
        exists = target.exists()
        tree = _tree(target) if exists else {"chains": {}}
        before = tree["chains"].get(chain)
        after = dict(change(before or {}))
        made = Change(path, chain, before, after)
        if made.is_one:
            tree["chains"][chain] = after
            data = (json.dumps(tree, indent=2, ensure_ascii=False) + "\n").encode()
            parse(data)
            _replace(target, data, target.stat() if exists else None)
    return made


def enabled(table: Table) -> Table:
    """Open for everybody. The list of tenants stays, for a canary later on."""
    return {**table, "enabled": True, "percent": 100}


def disabled(table: Table) -> Table:
    """Nothing new for anybody. Percentage and tenants stay, and mean nothing until it is enabled."""
    return {**table, "enabled": False}


def killed(table: Table) -> Table:
    """Nothing for anybody, what is under way included."""
    return {**table, "kill": True}


def revived(table: Table) -> Table:
    """As it was before it was killed."""
    return {**table, "kill": False}


def canary(
    table: Table,
    *,
    percent: int | None = None,
    tenants: tuple[str, ...] | None = None,
    sticky: str | None = None,
    salt: str | None = None,
) -> Table:
    """Open for the tenants of a list and a percentage of all others. What is None stays; without a canary before, 0 %."""
    old = ChainFlag.model_validate_json(json.dumps(table)).rollout()
    if percent is None:
        percent = old.percent if old.enabled and old.percent < 100 else 0
    wanted = {"tenants": None if tenants is None else list(dict.fromkeys(tenants)), "sticky": sticky, "salt": salt}
    given = {name: value for name, value in wanted.items() if value is not None}
    return {**table, "enabled": True, "percent": percent, **given}


def _tree(target: Path) -> dict[str, Any]:
    data = read(target)
    parse(data)
    tree: dict[str, Any] = json.loads(data)
    return tree


def _replace(target: Path, data: bytes, like: os.stat_result | None) -> None:
    """Put a complete file in the old one's place, as readable as that was, on the disk before the name is."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if like is not None:
                with suppress(PermissionError):  # only root may give files away
                    os.fchown(file.fileno(), like.st_uid, like.st_gid)
            os.fchmod(file.fileno(), _NEW_FILE_MODE if like is None else like.st_mode & 0o7777)
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """One writer at a time. The lock is its folder's, because the file itself is replaced; it goes with its process."""
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _wait_for(descriptor, target)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, target: Path) -> None:
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise FlagsInvalid(f"somebody else has been writing {target.name} for {LOCK_S:g} s") from None
            time.sleep(_LOCK_RETRY_S)
        else:
            return
