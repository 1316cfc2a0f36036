"""A nursery's child becomes a process of the session that asked for it.

Everything comes from the kernel's own view of who connected. It takes the account's identity
first, so that the kernel lets it enter what the account itself could enter, and nothing else.
"""

import ctypes
import os
import resource
import struct
from pathlib import Path

from provision.guest.nursery.peer import Caller
from provision.guest.nursery.wire import ForkRefusedError
from provision.guest.pool.namespaces import CALLS, forbid

CGROUPS = Path("/sys/fs/cgroup")
SETPCAP, SYS_CHROOT, SYS_ADMIN = 8, 18, 21  # capabilities(7)
NEEDED = (SETPCAP, SYS_CHROOT, SYS_ADMIN)
PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_DROP = 4, 8, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
CAPABILITY_VERSION = 0x20080522
# Mounts, cgroup, host name, System V's IPC, network.
NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x40000000
RESOURCES = 16  # that setrlimit(2) knows
SHARED = ("user", "pid")  # namespaces that a session has in common with us
libc = ctypes.CDLL(None, use_errno=True)


def settle(peer: Caller) -> None:
    """Become a process of the peer's session, for good.

    Raises:
        ForkRefusedError: the peer is no process of a session, or has ended.
        OSError: the kernel refuses a step.
    """
    process = Path("/proc", str(peer.pid))
    cgroup = _cgroup(process)
    (CGROUPS / cgroup / "cgroup.procs").write_text("0")
    Path("/proc/self/oom_score_adj").write_text((process / "oom_score_adj").read_text())
    _same_sandbox(process)
    os.setsid()
    _take_identity(peer)
    if any(_namespace(process, name) != _namespace(Path("/proc/self"), name) for name in SHARED):
        raise ForkRefusedError("it is in another namespace of users or processes")
    _call(libc.setns, peer.pidfd, NAMESPACES)
    for limit in range(RESOURCES):
        resource.setrlimit(limit, resource.prlimit(peer.pid, limit))
    os.sched_setaffinity(0, os.sched_getaffinity(peer.pid))
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, peer.pid))
    if peer.gone:  # then what was read may have been another's
        raise ForkRefusedError("who asked has ended")
    _drop_capabilities()
    forbid()


def _cgroup(process: Path) -> str:
    """The peer's place in the tree of cgroups."""
    for line in (process / "cgroup").read_text().splitlines():
        number, _, path = line.split(":", 2)
        if number == "0" and ".." not in path:
            return path.lstrip("/")
    raise ForkRefusedError("it is in no cgroup that we see")


def _same_sandbox(process: Path) -> None:
    """What cannot be taken over must be the same: a child has our filters of system calls."""
    theirs, ours = _status(process), _status(Path("/proc/self"))
    filters = int(ours.get("Seccomp_filters", 0)) + (os.uname().machine in CALLS)
    if int(theirs.get("Seccomp_filters", 0)) != filters:
        raise ForkRefusedError("it is not in the sandbox of sessions")
    if theirs["NoNewPrivs"] != "1" or int(theirs["CapEff"], 16):
        raise ForkRefusedError("it may gain privileges")


def _status(process: Path) -> dict[str, str]:
    lines = (process / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _namespace(process: Path, name: str) -> int:
    return (process / "ns" / name).stat().st_ino


def _take_identity(peer: Caller) -> None:
    """Take the account's identity; keep what the next steps need."""
    _call(libc.prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups(peer.groups)
    os.setresgid(peer.gid, peer.gid, peer.gid)
    os.setresuid(peer.uid, peer.uid, peer.uid)
    set_capabilities(sum(1 << number for number in NEEDED))


def _drop_capabilities() -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in range(last + 1):
        _call(libc.prctl, PR_CAPBSET_DROP, number, 0, 0, 0)
    _call(libc.prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _call(libc.prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0)
    set_capabilities(0)
    _call(libc.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # As after execve(2): the account may look at its own process.
    _call(libc.prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)


def set_capabilities(wanted: int) -> None:
    """Have these capabilities, as bits of capabilities(7), and no others.

    Raises:
        OSError: the kernel refuses.
    """
    low, high = wanted & 0xFFFFFFFF, wanted >> 32
    header = ctypes.create_string_buffer(struct.pack("Ii", CAPABILITY_VERSION, 0))
    data = ctypes.create_string_buffer(struct.pack("6I", low, low, 0, high, high, 0))
    _call(libc.capset, header, data)


def _call(function: object, *arguments: object) -> None:
    words = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    if function(*words):  # type: ignore[operator]  # ctypes' functions have no types
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
