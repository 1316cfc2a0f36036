"""The system call filter of a box, as a BPF program that bubblewrap loads.

Everything up to the newest call that we have reviewed is allowed except what is listed here;
newer calls do not exist for the box. The groups are those that container engines deny too
(kernel attack surface), and calls that hold memory which no rlimit counts.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Mapping

from provision.errors import HostNotReadyError

# Numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl, and include/uapi/asm-generic/unistd.h for
# AArch64, which never had the oldest ones.
_NEWEST_REVIEWED = 462  # mseal, Linux 6.10

Numbers = tuple[int, int | None]  # of one call, on each machine

DENIED: dict[str, Numbers] = {
    # reach into another process
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    # change what is mounted, or enter other namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "unshare": (272, 97),
    "setns": (308, 268),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # the machine: modules, clock, swap, accounting, ports
    "create_module": (174, None),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "get_kernel_syms": (177, None),
    "query_module": (178, None),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "iopl": (172, None),
    "ioperm": (173, None),
    # large or rarely tested parts of the kernel
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "modify_ldt": (154, None),
    "personality": (135, 92),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    "_sysctl": (156, None),
    "nfsservctl": (180, 42),
    "lookup_dcookie": (212, 18),
    "remap_file_pages": (216, 234),
    "vmsplice": (278, 75),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "set_mempolicy_home_node": (450, 450),
}

# Answered with ENOSYS: libraries fall back to what the rest of the box bounds.
ABSENT: dict[str, Numbers] = {
    "clone3": (435, 435),  # its flags are behind a pointer, out of a filter's sight
    "memfd_create": (319, 279),  # memory that is no process's and no file system's
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
}

_CLONE, _IOCTL, _SETSOCKOPT = (56, 220), (16, 29), (54, 208)
_SOCKET, _SOCKETPAIR = (41, 198), (53, 199)
_NEW_NAMESPACES = 0x7E02_0000  # CLONE_NEWNS and NEWCGROUP to NEWNET
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
_AF_NETLINK, _NETLINK_ROUTE = 16, 0  # getaddrinfo and the JVM list interfaces with it
# A wish for larger buffers is granted in words only: what sockets hold is nobody's memory, and
# `processes.buffers` counts them by their usual size.
_SOL_SOCKET, _SO_SNDBUF, _SO_RCVBUF = 1, 7, 8
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

# The column of a machine, and how audit calls it (include/uapi/linux/audit.h).
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP_EQUAL, _JUMP_GREATER = 0x15, 0x25
_STATEMENT = "=HBBI"  # struct sock_filter
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000


# What User-Mode Linux runs its own processes with.
TRACER = ("ptrace", "personality", "process_vm_readv", "process_vm_writev", "memfd_create")


def program(allowed: tuple[str, ...] = (), machine: str | None = None) -> bytes:
    """Return the filter as an array of ``struct sock_filter``.

    Args:
        allowed: names of denied or absent calls that are fine in this box.
        machine: as uname(2) names it; None: this one.

    Raises:
        HostNotReadyError: we know no call numbers of this machine.
    """
    machine = machine or os.uname().machine
    if machine not in _MACHINES:
        raise HostNotReadyError(
            f"no system call filter for {machine}",
            hint=f"the sandbox runs on {' and '.join(_MACHINES)} only",
        )
    return b"".join(
        struct.pack(_STATEMENT, *each) for each in _statements(allowed, *_MACHINES[machine])
    )


def load(code: bytes) -> None:
    """Have this process and all that come of it filtered, for good.

    Args:
        code: as ``program`` returns it.

    Raises:
        OSError: the kernel refuses the filter.
    """
    filter_ = ctypes.create_string_buffer(code)
    size = len(code) // struct.calcsize(_STATEMENT)
    header = ctypes.create_string_buffer(struct.pack("@HP", size, ctypes.addressof(filter_)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _statements(
    allowed: tuple[str, ...], column: int, arch: int
) -> list[tuple[int, int, int, int]]:
    deny, absent = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    no_family = _ERRNO | errno.EAFNOSUPPORT

    def argument(index: int) -> tuple[int, int, int, int]:
        return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)  # the low half, little-endian

    def give(value: int) -> tuple[int, int, int, int]:
        return (_RETURN, 0, 0, value)

    def when(call: Numbers, body: list[tuple[int, int, int, int]]) -> None:
        if (number := call[column]) is not None:
            code.append((_JUMP_EQUAL, 0, len(body), number))
            code.extend(body)

    def other(calls: Mapping[str, Numbers]) -> list[Numbers]:
        return sorted(numbers for name, numbers in calls.items() if name not in allowed)

    code = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, arch),
        give(_KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_GREATER, 0, 1, _NEWEST_REVIEWED),  # the x32 calls are up there too
        give(absent),
    ]
    namespaces = [argument(0), (_AND, 0, 0, _NEW_NAMESPACES), (_JUMP_EQUAL, 0, 1, 0)]
    when(_CLONE, [*namespaces, give(_ALLOW), give(deny)])
    for call in (_SOCKET, _SOCKETPAIR):
        body = [argument(0)]
        for family in _FAMILIES:
            body += [(_JUMP_EQUAL, 0, 1, family), give(_ALLOW)]
        body += [(_JUMP_EQUAL, 1, 0, _AF_NETLINK), give(no_family)]
        body += [argument(2), (_JUMP_EQUAL, 0, 1, _NETLINK_ROUTE), give(_ALLOW), give(no_family)]
        when(call, body)
    body = [argument(1), (_JUMP_EQUAL, 1, 0, _SOL_SOCKET), give(_ALLOW), argument(2)]
    body += [(_JUMP_EQUAL, 1, 0, _SO_SNDBUF), (_JUMP_EQUAL, 0, 1, _SO_RCVBUF), give(_ERRNO)]
    when(_SETSOCKOPT, [*body, give(_ALLOW)])
    body = [argument(1)]
    for command in _TERMINAL_INJECTION:
        body += [(_JUMP_EQUAL, 0, 1, command), give(deny)]
    when(_IOCTL, [*body, give(_ALLOW)])
    for denied in other(DENIED):
        when(denied, [give(deny)])
    for lacking in other(ABSENT):
        when(lacking, [give(absent)])
    return [*code, give(_ALLOW)]
