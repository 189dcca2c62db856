"""A hardened process keeps its memory to itself, and says what it could not achieve."""

import os
import subprocess
import sys

import pytest

from keyquorum_core_signer.runtime.hardening import Hardening

REPORT = """
import ctypes, resource
from keyquorum_core_signer.runtime.hardening import harden
hardening = harden(dumpable={dumpable})
locked = next(line for line in open("/proc/self/status") if line.startswith("VmLck")).split()[1]
print(hardening.undumpable, hardening.core_files_off, hardening.memory_locked,
      ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE), int(locked) > 0)
"""


def run(program: str) -> str:
    """Output of a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


@pytest.mark.parametrize(("dumpable", "expected"), [(False, "0"), (True, "1")])
def test_process_is_undumpable_unless_told_otherwise(dumpable, expected):
    """The kernel agrees with the report, in both positions of the switch, and core files are off in both."""
    words = run(REPORT.format(dumpable=dumpable)).split(maxsplit=4)
    assert words[0] == str(not dumpable)
    assert words[3] == expected
    assert words[1] == "True"
    assert words[4].startswith("(0, 0)")


def test_memory_is_locked_where_that_cannot_hurt():
    """What the report says about locking is what the kernel did."""
    words = run(REPORT.format(dumpable=False)).split()
    assert words[2] == words[-1]


# Everything is imported before root's rights are given up, because the interpreter may be in root's home.
AS_NOBODY = """
import ctypes, os, resource
from keyquorum_core_signer.runtime import hardening
def become_nobody():
    if os.getuid() == 0:
        os.setgid(65534), os.setuid(65534)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of user closed the memory
"""


def test_memory_is_not_locked_under_a_finite_limit():
    """A process that may lock only a little does not lock at all: later allocations would fail."""
    program = """
resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 16, 1 << 16))
become_nobody()
print(hardening.harden().memory_locked, len(bytes(1 << 24)))
"""
    assert run(AS_NOBODY + program) == f"False {1 << 24}"


@pytest.mark.parametrize(("dumpable", "expected"), [(True, "open"), (False, "closed")])
def test_undumpable_memory_is_closed_to_its_own_user(dumpable, expected):
    """A process of the same unprivileged user cannot read it; the switch leaves it open."""
    program = f"""
become_nobody()
reader, writer = os.pipe()
hardening.harden(dumpable={dumpable})
child = os.fork()
if child == 0:
    os.read(reader, 1)
    os._exit(0)
try:
    os.close(os.open(f"/proc/{{child}}/mem", os.O_RDONLY))
    print("open")
except PermissionError:
    print("closed")
os.write(writer, b"x")
os.waitpid(child, 0)
"""
    assert run(AS_NOBODY + program) == expected


def test_operator_hears_what_is_missing():
    """A weak spot is named in words."""
    assert Hardening(undumpable=True, core_files_off=True, memory_locked=True).missing() == ()
    missing = Hardening(undumpable=False, core_files_off=True, memory_locked=False).missing()
    assert len(missing) == 2
    assert "memlock" in missing[1]


def test_orphan_dies_at_once():
    """A process whose parent has gone before it could ask to die with it ends by itself."""
    program = (
        "from keyquorum_core_signer.runtime.hardening import die_with_parent; die_with_parent(1 << 22); print('lives')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    lives = f"import os; from keyquorum_core_signer.runtime.hardening import die_with_parent; die_with_parent({os.getpid()}); print(1)"
    assert run(lives) == "1"
