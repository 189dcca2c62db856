"""What the system call filter leaves of a process, in a process of its own."""

import subprocess
import sys

PROGRAM = """
import os, resource
from keyquorum_plugin_api.codec_host.libc import forbid_new_privileges
from keyquorum_plugin_api.codec_host.seccomp import filter_syscalls
forbid_new_privileges()
try:
    filter_syscalls()
except OSError:
    print("no filter")
    raise SystemExit
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
print(*resource.prlimit(0, resource.RLIMIT_CORE))
try:
    resource.prlimit(os.getppid(), resource.RLIMIT_CORE)
except PermissionError:
    print("denied")
"""


def test_limits_are_ones_own() -> None:
    """A codec's host lowers its own limits for every question; those of its party are out of reach."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=30)
    assert ran.stdout.split() in (["0", "0", "denied"], ["no", "filter"])
