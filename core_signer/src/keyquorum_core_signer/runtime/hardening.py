"""What a process that holds secrets does to itself, before it holds any.

* not dumpable: no core dump, and no process of the same user reads its memory or attaches to it (``ptrace``, /proc/PID/mem);
* no core file, should something else write one;
* memory locked, so that nothing is swapped out, where the process may lock as much as it likes;
* for workers, death with the parent, even in the middle of a computation.

Everything is best effort, because a developer's machine may not allow it, and reported, because an operator's must.
"""

import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# <linux/prctl.h>, <sys/mman.h>, <linux/capability.h>
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4
_CAP_IPC_LOCK: Final = 14


@dataclass(frozen=True, slots=True)
class Hardening:
    """What a process achieved; True is the safe side of each."""

    undumpable: bool
    core_files_off: bool
    memory_locked: bool

    def missing(self) -> tuple[str, ...]:
        """What an operator should hear about, in English."""
        texts = {
            "its memory can be read by processes of the same user": self.undumpable,
            "core files are possible": self.core_files_off,
            "its memory can be swapped out (raise the memlock limit or give CAP_IPC_LOCK)": self.memory_locked,
        }
        return tuple(text for text, achieved in texts.items() if not achieved)


def harden(*, dumpable: bool = False) -> Hardening:
    """Harden this process as far as its system allows.

    ``dumpable`` leaves its memory readable by processes of the same user, for a test that has to look inside.
    """
    return Hardening(
        undumpable=not dumpable and _prctl(_PR_SET_DUMPABLE, 0),
        core_files_off=_forbid_core_files(),
        memory_locked=_lock_memory(),
    )


def die_with_parent(parent_pid: int) -> None:
    """Be killed when the parent ends; end now if it has ended already. Does nothing where the kernel is not Linux."""
    if _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) and os.getppid() != parent_pid:
        sys.exit(1)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    unsigned = ctypes.c_ulong
    return bool(_libc().prctl(option, unsigned(value), unsigned(0), unsigned(0), unsigned(0)) == 0)


def _forbid_core_files() -> bool:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):
        return False
    return True


def _lock_memory() -> bool:
    """Lock all pages, as they come into use. Under a finite limit a later allocation would fail, so then not at all."""
    if sys.platform != "linux" or not _may_lock_without_limit():
        return False
    return bool(_libc().mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)


def _may_lock_without_limit() -> bool:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return soft == resource.RLIM_INFINITY or _has_capability(_CAP_IPC_LOCK)


def _has_capability(number: int) -> bool:
    try:
        status = Path("/proc/self/status").read_bytes()
    except OSError:
        return False
    effective = next((line for line in status.splitlines() if line.startswith(b"CapEff:")), b"CapEff: 0")
    return bool(int(effective.split()[1], 16) >> number & 1)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
