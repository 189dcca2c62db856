"""A disk that fails or forgets, under SQLite: every write and sync of a database passes through here.

``FaultyDisk`` fails one chosen call. ``RecordingDisk`` logs all of them, so that the files can be put together as a power cut
would have left them: what was synced is there; of what was not, nothing, everything, some, or half of the last write.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import apsw

Call = Literal["write", "sync", "truncate", "delete"]


class _File(apsw.VFSFile):
    def __init__(self, disk: "_Disk", inherit: str, name: Any, flags: Any) -> None:
        super().__init__(inherit, name, flags)
        self._disk = disk
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else name).name

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.before("write", self._name, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._disk.before("truncate", self._name, size, b"")
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.before("sync", self._name, 0, b"")
        super().xSync(flags)


class _Disk(apsw.VFS):
    """A VFS whose files report what is about to be done to them."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: Any) -> _File:  # noqa: N802
        return _File(self, "", name, flags)

    def xDelete(self, name: str, sync_folder: bool) -> None:  # noqa: FBT001, N802
        self.before("delete", Path(name).name, int(sync_folder), b"")
        super().xDelete(name, sync_folder)

    def before(self, call: Call, name: str, offset: int, data: bytes) -> None:
        """Called before each change; raises to fail it. ``offset`` of a delete is 1 if the folder is synced too."""
        raise NotImplementedError


class FaultyDisk(_Disk):
    """Fails the ``countdown``-th matching call from when it is armed, and those after it while ``lasting``."""

    def __init__(self, name: str) -> None:
        self._failure: Callable[[], Exception] | None = None
        self._calls: frozenset[Call] = frozenset()
        self._countdown = 0
        self._lasting = False
        self.failures = 0
        super().__init__(name)

    def arm(self, calls: set[Call], failure: Callable[[], Exception], countdown: int, *, lasting: bool) -> None:
        """From now on, fail."""
        self._calls, self._failure = frozenset(calls), failure
        self._countdown, self._lasting = countdown, lasting

    def before(self, call: Call, name: str, offset: int, data: bytes) -> None:
        if self._failure is None or call not in self._calls:
            return
        self._countdown -= 1
        if self._countdown < 0 and (self._lasting or self._countdown == -1):
            self.failures += 1
            raise self._failure()


@dataclass(frozen=True)
class Operation:
    """One change to one file, or the moment at which somebody was told something (``call`` is ``ack``)."""

    call: str
    name: str
    offset: int = 0
    data: bytes = field(default=b"", repr=False)


class RecordingDisk(_Disk):
    """Logs every change. As SQLite's own VFS does, the first sync of a new journal or log syncs the folder too."""

    def __init__(self, name: str) -> None:
        self.operations: list[Operation] = []
        self._named: set[str] = set()  # files whose names are durable
        super().__init__(name)

    def before(self, call: Call, name: str, offset: int, data: bytes) -> None:
        self.operations.append(Operation(call, name, offset, data))
        if call == "delete":
            self._named.discard(name)
        elif call == "sync" and name.endswith(("-wal", "-journal")) and name not in self._named:
            self._named.add(name)
            self.operations.append(Operation("sync-folder", name))

    def acknowledged(self, what: str) -> None:
        """Somebody was told ``what``."""
        self.operations.append(Operation("ack", what))


def power_cuts(
    operations: list[Operation], seed: int, writes_step: int = 1
) -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """What is on the disk, and what had been acknowledged, if the power fails after an operation.

    After each sync, deletion and acknowledgement, and after every ``writes_step``-th write. Gives (how the unsynced writes
    fared, file contents by name, acknowledgements).
    """
    rng = random.Random(seed)
    for cut in range(1, len(operations) + 1):
        done = operations[:cut]
        if done[-1].call == "write" and cut % writes_step:
            continue
        acknowledged = [operation.name for operation in done if operation.call == "ack"]
        for mode in ("drop", "keep", "subset", "torn"):
            names = {operation.name for operation in done if operation.call != "ack"}
            survivors = {name: _survivor(done, name, mode, rng) for name in names}
            files = {name: content for name, content in survivors.items() if content is not None}
            yield f"{mode} at {cut}", files, acknowledged


def _survivor(operations: list[Operation], name: str, mode: str, rng: random.Random) -> bytes | None:
    """What is left of a file, or None if the file is not there."""
    folder_synced = max((at for at, o in enumerate(operations) if o.call == "sync-folder"), default=-1)
    own = [(at, o) for at, o in enumerate(operations) if o.name == name and o.call not in {"ack", "sync-folder"}]
    changes = [o for _, o in own]
    durable = [
        number + 1
        for number, (at, o) in enumerate(own)
        if o.call == "sync" or (o.call == "delete" and (o.offset or at < folder_synced))
    ]
    synced = max(durable, default=0)
    content: bytearray | None = bytearray()
    for at, change in enumerate(changes):
        data = change.data
        if at >= synced:
            if mode == "drop" or (mode == "subset" and rng.random() < 0.5):
                continue
            if mode == "torn" and at == len(changes) - 1:
                data = data[: len(data) // 2]
        if change.call == "delete":
            content = None
        elif change.call == "write":
            content = bytearray() if content is None else content
            content.extend(bytes(max(0, change.offset - len(content))))
            content[change.offset : change.offset + len(data)] = data
        elif change.call == "truncate" and content is not None:
            del content[change.offset :]
    return None if content is None else bytes(content)
