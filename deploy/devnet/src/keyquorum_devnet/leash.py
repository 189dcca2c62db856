"""Run a command that cannot outlive whoever started it: ``python -I -S leash.py PARENT_PID COMMAND…``.

The kernel sends the command SIGTERM when its parent dies, however the parent dies. Asking for that between fork and exec
would run Python in a forked child of a threaded process; a program of its own that replaces itself does not.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Ask the kernel, make sure that the parent had not died before, and become the command."""
    parent, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(parent):
        raise SystemExit("whoever started this is gone")
    os.execv(command[0], command)  # noqa: S606  the supervisor's own list of programs, without a shell


if __name__ == "__main__":
    main()
