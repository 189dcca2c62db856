"""Everything that a codec's process gives up before the first line of the codec runs.

What only some kernels offer is tried and reported, never assumed: the party writes the report to its log, and
``describe`` repeats it.
"""

import math
import os
import resource
import signal
import socket
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from keyquorum_plugin_api.codec_host import libc
from keyquorum_plugin_api.codec_host.landlock import restrict_files
from keyquorum_plugin_api.codec_host.seccomp import filter_syscalls

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_DESCRIPTORS_MAX: Final = 64  # importing a large package holds a handful at once
_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")


@dataclass(frozen=True, slots=True)
class Confinement:
    """Which walls stand. ``isolated`` means by the kernel; ``open`` means that only the audit hook objects."""

    network: str
    filesystem: str
    syscalls: str
    capabilities: str

    def report(self) -> dict[str, str]:
        """As it travels."""
        return asdict(self)


def confine(memory_bytes: int, readable: Iterable[Path]) -> Confinement:
    """Give up network, files, processes and capabilities for good, as far as the kernel lets us."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS_MAX, _DESCRIPTORS_MAX))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    network = _stands(_leave_network)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    capabilities = _stands(libc.drop_capabilities)
    libc.forbid_new_privileges()
    paths = list(readable)
    filesystem = _stands(lambda: restrict_files(paths))
    syscalls = _stands(filter_syscalls)
    libc.forbid_inspection()
    libc.die_with_parent(signal.SIGKILL)  # the kernel forgets it when credentials change, so last
    return Confinement(
        network="isolated" if network else "open",
        filesystem="isolated" if filesystem else "open",
        syscalls="filtered" if syscalls else "open",
        capabilities="dropped" if capabilities else "kept",
    )


def importable_paths() -> list[Path]:
    """The folders that importing code has to read."""
    stdlib = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return [Path(entry) for entry in (*sys.path, *stdlib, *_LIBRARIES) if entry]


def allow_cpu_seconds(seconds: int) -> None:
    """Have the kernel end this process once it has used that much more processor time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


_DENIED_EVENTS: Final = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "pty.")
_DENIED_EXACTLY: Final = frozenset(
    {
        "os.chmod",
        "os.chown",
        "os.kill",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.symlink",
        "os.system",
        "os.truncate",
    }
)
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def object_to_io() -> None:
    """Raise PermissionError in Python code that tries I/O, for good.

    A help to honest authors and a second look at hostile ones; native code walks past it, so it is no boundary.
    """
    sys.addaudithook(_objection)


def _objection(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        _, mode, flags = arguments
        denied = bool(flags & _WRITING) or (isinstance(mode, str) and any(letter in mode for letter in "wax+"))
    elif event == "import":
        denied = "__pycache__" in str(arguments[0]).split(".")  # what is there is not part of the artifact
    else:
        denied = event in _DENIED_EXACTLY or event.startswith(_DENIED_EVENTS)
    if denied:
        raise PermissionError(f"a codec does no I/O: {event}")


def _leave_network() -> None:
    try:  # a user namespace of its own needs no privilege, and takes all of them away
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    except OSError:
        libc.unshare(_CLONE_NEWNET)
    if [name for _, name in socket.if_nameindex() if name != "lo"]:
        raise OSError("the new network namespace has interfaces")


def _stands(wall: Callable[[], object]) -> bool:
    try:
        wall()
    except OSError:
        return False
    return True
