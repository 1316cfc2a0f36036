"""Keep student code from making namespaces, whose kernel code is a favourite way out.

Not in sshd's own sandbox, because root needs them to prepare the session: the forced command
closes them for itself and all that it becomes. The filter is classic BPF as in seccomp(2).
"""

import ctypes
import errno
import os
import platform
import struct

# clone, unshare, setns and clone3; on another machine the sysctl of the role base is all there is.
CALLS = {"x86_64": (56, 272, 308, 435), "aarch64": (220, 97, 268, 435)}
NEW_ANY = 0x7E020080  # CLONE_NEWTIME, NS, CGROUP, UTS, IPC, USER, PID and NET
FIRST_ARGUMENT = 16  # of struct seccomp_data; the number of the call is at 0
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2


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


def forbid() -> None:
    """Forbid this process and all its children to make or enter namespaces.

    Raises:
        OSError: the kernel refuses the filter.
    """
    machine = platform.machine()
    if machine not in CALLS:
        return
    statements = program(machine)
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in statements)
    filter_ = ctypes.create_string_buffer(code)
    header = ctypes.create_string_buffer(
        struct.pack("@HP", len(statements), ctypes.addressof(filter_))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
