"""A process tree that ends as one: whoever kills its first process ends all that it started.

For a guest of another architecture it also has, for itself alone, what runs programs of that one
(binfmt_misc of a user namespace: Linux 6.7).
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from provision.config.architectures import ARCHITECTURES, of_this_host
from provision.config.architectures import Name as ArchName
from provision.errors import HostNotReadyError
from provision.jeos.layers import CLONE_NEWNS, make_private, roots_namespace
from provision.process import CommandFailedError, require, run

CLONE_NEWPID = 0x20000000
CLONE_NEWUSER = 0x10000000
USERS = 1 << 16  # as many as a guest's files belong to
BINFMT = Path("/proc/sys/fs/binfmt_misc")
PR_SET_PDEATHSIG = 1


# As one who owns the user's own files and the range of /etc/subuid, and nothing else of the host.
ROOT_OF_ONES_OWN = ("unshare", "--user", "--map-auto", "--map-root-user")


def rules_the_host() -> bool:
    """Whether this process is root, and of the host itself rather than of a user namespace."""
    return os.geteuid() == 0 and roots_namespace()


def contain(arch: ArchName | None = None) -> None:
    """Go on in a child with PID and mount namespaces of its own.

    The caller's process stays behind, hands signals on, and ends with the child's status; it
    never returns from here. When it is killed the child is killed, and with the child, being
    PID 1, everything in the namespace. An ordinary user becomes the root of a user namespace
    first, and so does root who builds for another architecture. Where the kernel refuses, nothing
    happens.

    Args:
        arch: of the guest whose programs are run here; None: none are.

    Raises:
        HostNotReadyError: nothing runs programs of that architecture here.
    """
    foreign = arch if arch != of_this_host() else None
    if os.geteuid() != 0 and _succeeds(*ROOT_OF_ONES_OWN, "true"):
        command = (sys.executable, *sys.orig_argv[1:])
        os.execvp(ROOT_OF_ONES_OWN[0], (*ROOT_OF_ONES_OWN, "--", *command))  # noqa: S606
    libc = ctypes.CDLL(None, use_errno=True)
    if foreign and rules_the_host():
        _have_users(libc)
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
        if foreign:
            _interpret(foreign)
        return

    def hand_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, hand_on)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _have_users(libc: ctypes.CDLL) -> None:
    """Become the root of a user namespace with the host's own numbers for users."""
    parent, (waiting, made) = os.getpid(), os.pipe()
    writer = os.fork()
    if writer == 0:
        os.read(waiting, 1)
        for kind in ("uid", "gid"):
            Path(f"/proc/{parent}/{kind}_map").write_text(f"0 0 {USERS}")
        os._exit(0)
    unshared = libc.unshare(CLONE_NEWUSER) == 0
    os.write(made, b".")
    os.waitpid(writer, 0)
    if not unshared:
        raise HostNotReadyError("this host's kernel makes no user namespaces")


def _interpret(arch: ArchName) -> None:
    """Have QEMU run an architecture's programs, in this process tree or by the host's rule."""
    rule = ARCHITECTURES[arch].rule
    with contextlib.suppress(CommandFailedError, OSError):
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
        (BINFMT / "register").write_bytes(rule.read_bytes().strip())
    if not _succeeds(require("arch-test", "arch-test"), arch):
        raise HostNotReadyError(
            f"programs for {arch} do not run on this host",
            hint="sudo apt-get install qemu-user-static; before Linux 6.7 the host itself must know"
            " them: sudo systemctl restart systemd-binfmt",
        )


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
