"""A seccomp filter: the system calls that pure code has no use for fail with EPERM.

It is a list of what is denied, so it complements the other walls and replaces none. Numbers are those of each
architecture's unistd.h; an unknown architecture gets no filter.
"""

import errno
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from keyquorum_plugin_api.codec_host.libc import install_filter

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_NUMBER_OFFSET: Final = 0
_ARCHITECTURE_OFFSET: Final = 4
_FIRST_ARGUMENT_OFFSET: Final = 16  # its low half: both architectures are little-endian

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_DENY: Final = 0x00050000 | errno.EPERM
_ABSENT: Final = 0x00050000 | errno.ENOSYS  # for clone3, so that a library falls back to clone, whose flags can be seen

_CLONE_THREAD: Final = 0x10000
_CLONE3: Final = 435
_X32_BIT: Final = 0x40000000


@dataclass(frozen=True, slots=True)
class _Architecture:
    audit: int
    clone: int
    prlimit: int
    denied: tuple[int, ...]


# pidfd_send_signal, io_uring_{setup,enter,register}, pidfd_open, pidfd_getfd, process_madvise, process_mrelease
_COMMON: Final = (424, 425, 426, 427, 434, 438, 440, 448)

_ARCHITECTURES: Final = {
    "x86_64": _Architecture(
        audit=0xC000003E,
        clone=56,
        prlimit=302,
        denied=(
            *(41, 53),  # socket, socketpair
            *(57, 58, 59, 322),  # fork, vfork, execve, execveat
            *(62, 200, 101, 310, 311),  # kill, tkill, ptrace, process_vm_{readv,writev}
            *(272, 308, 165, 155, 161),  # unshare, setns, mount, pivot_root, chroot
            *(321, 298, 323, 319, 304),  # bpf, perf_event_open, userfaultfd, memfd_create, open_by_handle_at
            *(248, 249, 250),  # add_key, request_key, keyctl
            *(
                141,
                142,
                144,
                203,
                251,
                314,
            ),  # setpriority, sched_{setparam,setscheduler,setaffinity}, ioprio_set, sched_setattr
            *(256, 279, 312),  # migrate_pages, move_pages, kcmp
            *(29, 64, 68, 240),  # shmget, semget, msgget, mq_open
            *_COMMON,
        ),
    ),
    "aarch64": _Architecture(
        audit=0xC00000B7,
        clone=220,
        prlimit=261,
        denied=(
            *(198, 199),  # socket, socketpair
            *(221, 281),  # execve, execveat
            *(129, 130, 117, 270, 271),  # kill, tkill, ptrace, process_vm_{readv,writev}
            *(97, 268, 40, 41, 51),  # unshare, setns, mount, pivot_root, chroot
            *(280, 241, 282, 279, 265),  # bpf, perf_event_open, userfaultfd, memfd_create, open_by_handle_at
            *(217, 218, 219),  # add_key, request_key, keyctl
            *(
                140,
                118,
                119,
                122,
                30,
                274,
            ),  # setpriority, sched_{setparam,setscheduler,setaffinity}, ioprio_set, sched_setattr
            *(238, 239, 272),  # migrate_pages, move_pages, kcmp
            *(194, 190, 186, 180),  # shmget, semget, msgget, mq_open
            *_COMMON,
        ),
    ),
}


def filter_syscalls() -> None:
    """Install the filter for good; OSError where the kernel or the architecture has none."""
    machine = os.uname().machine
    architecture = _ARCHITECTURES.get(machine)
    if architecture is None:
        raise OSError(errno.ENOSYS, f"no system call filter for {machine}")
    install_filter(b"".join(_program(architecture, x32=machine == "x86_64")))


def _program(architecture: _Architecture, *, x32: bool) -> Iterator[bytes]:
    yield _instruction(_LOAD, _ARCHITECTURE_OFFSET)
    yield from _when(_EQUAL, architecture.audit, otherwise=[_instruction(_RETURN, _KILL)])
    yield _instruction(_LOAD, _NUMBER_OFFSET)
    if x32:
        yield from _when(_AT_LEAST, _X32_BIT, then=[_instruction(_RETURN, _DENY)])
    for number in architecture.denied:
        yield from _when(_EQUAL, number, then=[_instruction(_RETURN, _DENY)])
    yield from _when(_EQUAL, _CLONE3, then=[_instruction(_RETURN, _ABSENT)])
    only_threads = [
        _instruction(_LOAD, _FIRST_ARGUMENT_OFFSET),
        *_when(_ANY_BIT, _CLONE_THREAD, otherwise=[_instruction(_RETURN, _DENY)]),
        _instruction(_RETURN, _ALLOW),
    ]
    yield from _when(_EQUAL, architecture.clone, then=only_threads)
    only_oneself = [  # the limits of the party that we serve are within reach of its user otherwise
        _instruction(_LOAD, _FIRST_ARGUMENT_OFFSET),
        *_when(_EQUAL, 0, otherwise=[_instruction(_RETURN, _DENY)]),
        _instruction(_RETURN, _ALLOW),
    ]
    yield from _when(_EQUAL, architecture.prlimit, then=only_oneself)
    yield _instruction(_RETURN, _ALLOW)


def _when(test: int, value: int, *, then: Iterable[bytes] = (), otherwise: Iterable[bytes] = ()) -> Iterator[bytes]:
    """A test that runs ``then`` if it holds, or ``otherwise`` if not, and goes on behind them; only one is given."""
    held, failed = list(then), list(otherwise)
    yield _instruction(test, value, if_true=len(failed), if_false=len(held))
    yield from held or failed


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
