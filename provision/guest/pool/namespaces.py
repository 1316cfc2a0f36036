"""Keep student code from making namespaces, whose kernel code is a favourite way out.

In an exam also from sockets of the kernel's own that have names, by which accounts could meet.

Not in sshd's own sandbox, because root needs them to prepare the session: the forced command
closes them for itself and all that it becomes. The filter is classic BPF as in seccomp(2).
"""

import errno
import platform
import struct
from collections.abc import Callable

from provision.guest.sandbox.seccomp import load

# clone, unshare, setns and clone3; on another machine the sysctl of the role base is all there is.
CALLS = {"x86_64": (56, 272, 308, 435), "aarch64": (220, 97, 268, 435)}
MEETINGS = {"x86_64": (41, 53), "aarch64": (198, 199)}  # socket, socketpair
AF_UNIX = 1
NOT_CONNECTED = 2  # a bit of SOCK_DGRAM and SOCK_RAW, not of the others that AF_UNIX has
NEW_ANY = 0x7E020080  # CLONE_NEWTIME, NS, CGROUP, UTS, IPC, USER, PID and NET
FIRST_ARGUMENT, SECOND_ARGUMENT = 16, 24  # of struct seccomp_data; the number of the call is at 0
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def program(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter: (operation, steps if true, steps if false, operand)."""
    clone, unshare, setns, clone3 = CALLS[machine]
    return [
        (LOAD, 0, 0, 0),
        (EQUAL, 6, 0, setns),
        (EQUAL, 4, 0, clone3),  # its flags cannot be seen: libraries fall back to clone
        (EQUAL, 1, 0, unshare),
        (EQUAL, 0, 4, clone),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (ANY_BIT, 1, 2, NEW_ANY),
        (RETURN, 0, 0, ERRNO | errno.ENOSYS),
        (RETURN, 0, 0, ERRNO | errno.EPERM),
        (RETURN, 0, 0, ALLOW),
    ]


def alone(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter of an exam: no socket that can be given a name, or look for one."""
    socket, socketpair = MEETINGS[machine]
    return [
        (LOAD, 0, 0, 0),
        (EQUAL, 1, 0, socket),
        (EQUAL, 2, 4, socketpair),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (EQUAL, 3, 2, AF_UNIX),
        (LOAD, 0, 0, SECOND_ARGUMENT),
        (ANY_BIT, 1, 0, NOT_CONNECTED),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, ERRNO | errno.EPERM),
    ]


def forbid(
    what: Callable[[str], list[tuple[int, int, int, int]]] = program,
) -> None:
    """Forbid this process and all its children what a filter refuses.

    Args:
        what: the filter of a machine; else no namespace is made or entered.

    Raises:
        OSError: the kernel refuses the filter.
    """
    machine = platform.machine()
    if machine not in CALLS:
        return
    load(b"".join(struct.pack("=HBBI", *instruction) for instruction in what(machine)))
