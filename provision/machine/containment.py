"""A process tree that ends as one: whoever kills its first process ends all that it started."""

import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

from provision.jeos.layers import CLONE_NEWNS, make_private, roots_namespace
from provision.process import run

CLONE_NEWPID = 0x20000000
PR_SET_PDEATHSIG = 1


# As one who owns the user's own files and the range of /etc/subuid, and nothing else of the host.
ROOT_OF_ONES_OWN = ("unshare", "--user", "--map-auto", "--map-root-user")


def rules_the_host() -> bool:
    """Whether this process is root, and of the host itself rather than of a user namespace."""
    return os.geteuid() == 0 and roots_namespace()


def contain() -> None:
    """Go on in a child with PID and mount namespaces of its own.

    The caller's process stays behind, hands signals on, and ends with the child's status; it
    never returns from here. When it is killed the child is killed, and with the child, being
    PID 1, everything in the namespace. An ordinary user becomes the root of a user namespace
    first. Where the kernel refuses, nothing happens.
    """
    if os.geteuid() != 0 and _allowed(*ROOT_OF_ONES_OWN, "true"):
        command = (sys.executable, *sys.orig_argv[1:])
        os.execvp(ROOT_OF_ONES_OWN[0], (*ROOT_OF_ONES_OWN, "--", *command))  # noqa: S606
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNS | CLONE_NEWPID) != 0:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # Out of the terminal's foreground group: its Ctrl-C reaches us once, through the parent.
        os.setpgid(0, 0)
        if os.getppid() not in (0, parent):
            os._exit(1)
        make_private()
        run(["mount", "-t", "proc", "proc", "/proc"])
        return

    def hand_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, hand_on)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _allowed(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
