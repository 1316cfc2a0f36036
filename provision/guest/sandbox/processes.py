"""Count what the processes of a box use, from /proc, where no cgroup counts for us."""

import contextlib
import functools
import os
from typing import NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_LISTENS = b"0A"
_SPARE = 1 << 16  # a buffer is full only when it is beyond its size, by a packet
_STREAM = 32 << 20  # more than a TCP socket ever holds, by Linux's defaults


def tree(pid: int) -> list[int]:
    """A process and all of its descendants; orphans of a box are children of its first."""
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        found.append(parent)
        with contextlib.suppress(OSError, ValueError):
            for thread in os.listdir(f"/proc/{parent}/task"):  # noqa: PTH208 (names only, twice as fast)
                waiting.extend(map(int, _read(f"/proc/{parent}/task/{thread}/children").split()))
    return found


class Usage(NamedTuple):
    """What a process tree uses.

    Args:
        memory: bytes of resident memory that is each process's own. Forked copies look larger
            than they are: what they still share is counted once for each.
        shared: bytes of resident memory that is a file system's in memory, or nobody's: shared
            mappings without a file. Counted once for each process that has it mapped.
        cpu: processor seconds, of children too that have ended and were waited for.
        user: those of ``cpu`` that were spent outside the kernel.
    """

    memory: int
    shared: int
    cpu: float
    user: float


def usage(pid: int) -> Usage:
    """What a process and its descendants use now."""
    memory, shared, user, system = 0, 0, 0, 0
    for member in tree(pid):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = _read(f"/proc/{member}/stat").rpartition(b")")[2].split()
            user += int(fields[11]) + int(fields[13])  # its own, and that of children who ended
            system += int(fields[12]) + int(fields[14])
            own, with_others = _resident(member)
            memory, shared = memory + own, shared + with_others
    return Usage(memory, shared, (user + system) / _TICK, user / _TICK)


def _resident(pid: int) -> tuple[int, int]:
    """Bytes that a process has alone, and those in shared memory.

    Its first thread may have ended while others run: then it looks as if it had none, and any
    other thread knows.
    """
    place = f"/proc/{pid}"
    if not int(_read(f"{place}/statm").split()[1]):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 (as above)
            with contextlib.suppress(OSError):
                if int(_read(f"/proc/{pid}/task/{thread}/statm").split()[1]):
                    place = f"/proc/{pid}/task/{thread}"
                    break
        else:
            return 0, 0
    resident, shared = map(int, _read(f"{place}/statm").split()[1:3])
    found = _read(f"{place}/status").partition(b"RssShmem:")[2].split(maxsplit=1)
    return (resident - shared) * _PAGE, int(found[0]) * 1024 if found else 0


def networks(pid: int) -> list[int]:
    """One process of each network, but ours, that a process and its descendants have."""
    found: dict[int, int] = {}
    ours = os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116 (as above)
    for member in tree(pid):
        with contextlib.suppress(OSError):
            found.setdefault(os.stat(f"/proc/{member}/ns/net").st_ino, member)  # noqa: PTH116
    return [member for network, member in found.items() if network != ours]


def buffers(pid: int, room: int) -> int:
    """Bytes that the kernel may hold in sockets of a process's network namespace.

    No process and no resource limit counts them. A socket that is not TCP's may be full to its
    default size, which the system call filter lets no box change, see socket(7). One of TCP grows
    by itself, see tcp(7), and is counted by what waits in it.

    Args:
        pid: a process in a network namespace of its own.
        room: bytes that are of no interest: where the sockets could not hold as many, those of
            TCP are not looked at.
    """
    try:
        stat = _read(f"/proc/{pid}/net/sockstat") + _read(f"/proc/{pid}/net/sockstat6")
    except OSError:
        return 0
    streams = _after(stat, b"TCP: inuse ") + _after(stat, b"TCP6: inuse ")
    plain = max(_after(stat, b"sockets: used ") - streams, 0) * (_SPARE + _default())
    # To list them takes the kernel milliseconds.
    return plain + (_waiting(pid) if streams and plain + streams * _STREAM > room else 0)


def _waiting(pid: int) -> int:
    total = 0
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in _read(f"/proc/{pid}/net/{name}").splitlines()[1:]:
                state, queues = line.split()[3:5]
                if state != _LISTENS:  # its numbers are those of connections
                    waiting = [int(part, 16) for part in queues.split(b":")]
                    # The kernel's own share of a queue is as large as what is in it, and more.
                    total += sum(_SPARE + 2 * size for size in waiting if size)
    return total


@functools.cache
def _default() -> int:
    """Bytes of a socket's buffer unless its program says; Linux's own where it cannot be read."""
    try:
        return max(
            int(_read(f"/proc/sys/net/core/{name}")) for name in ("rmem_default", "wmem_default")
        )
    except (OSError, ValueError):
        return 212_992


def _after(text: bytes, mark: bytes) -> int:
    found = text.partition(mark)[2].split(maxsplit=1)
    return int(found[0]) if found else 0


def _read(path: str) -> bytes:
    """A file of /proc; a third of what pathlib takes, many times in a task's life."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 1 << 16):  # the kernel gives a page at a time
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)
