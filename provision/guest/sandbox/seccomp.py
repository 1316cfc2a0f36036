"""The system call filter of a box, as a BPF program that bubblewrap loads.

Everything up to the newest call that we have reviewed is allowed except what is listed here;
newer calls do not exist for the box. The groups are those that container engines deny too
(kernel attack surface), and calls that hold memory which no rlimit counts.
"""

import errno
import os
import struct

from provision.errors import HostNotReadyError

# Numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl.
_NEWEST_REVIEWED = 462  # mseal, Linux 6.10

DENIED = {
    # reach into another process
    "ptrace": 101,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "kcmp": 312,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    # change what is mounted, or enter other namespaces
    "mount": 165,
    "umount2": 166,
    "pivot_root": 155,
    "chroot": 161,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
    "statmount": 457,
    "listmount": 458,
    "unshare": 272,
    "setns": 308,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    # the machine: modules, clock, swap, accounting, ports
    "create_module": 174,
    "init_module": 175,
    "delete_module": 176,
    "get_kernel_syms": 177,
    "query_module": 178,
    "finit_module": 313,
    "kexec_load": 246,
    "kexec_file_load": 320,
    "reboot": 169,
    "swapon": 167,
    "swapoff": 168,
    "acct": 163,
    "quotactl": 179,
    "quotactl_fd": 443,
    "syslog": 103,
    "vhangup": 153,
    "settimeofday": 164,
    "clock_settime": 227,
    "adjtimex": 159,
    "clock_adjtime": 305,
    "iopl": 172,
    "ioperm": 173,
    # large or rarely tested parts of the kernel
    "bpf": 321,
    "perf_event_open": 298,
    "userfaultfd": 323,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "fanotify_init": 300,
    "fanotify_mark": 301,
    "modify_ldt": 154,
    "personality": 135,
    "uselib": 134,
    "ustat": 136,
    "sysfs": 139,
    "_sysctl": 156,
    "nfsservctl": 180,
    "lookup_dcookie": 212,
    "remap_file_pages": 216,
    "vmsplice": 278,
    "mbind": 237,
    "set_mempolicy": 238,
    "migrate_pages": 256,
    "move_pages": 279,
    "set_mempolicy_home_node": 450,
}

# Answered with ENOSYS: libraries fall back to what the rest of the box bounds.
ABSENT = {
    "clone3": 435,  # its flags are behind a pointer, out of a filter's sight
    "memfd_create": 319,  # memory that is no process's and no file system's
    "memfd_secret": 447,
    "shmget": 29,
    "semget": 64,
    "msgget": 68,
}

_CLONE, _SOCKET, _SOCKETPAIR, _IOCTL, _SETSOCKOPT = 56, 41, 53, 16, 54
_NEW_NAMESPACES = 0x7E02_0000  # CLONE_NEWNS and NEWCGROUP to NEWNET
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
_AF_NETLINK, _NETLINK_ROUTE = 16, 0  # getaddrinfo and the JVM list interfaces with it
# A wish for larger buffers is granted in words only: what sockets hold is nobody's memory, and
# `processes.buffers` counts them by their usual size.
_SOL_SOCKET, _SO_SNDBUF, _SO_RCVBUF = 1, 7, 8
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

_ARCH_X86_64 = 0xC000003E
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP_EQUAL, _JUMP_GREATER = 0x15, 0x25
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000


# What User-Mode Linux runs its own processes with.
TRACER = ("ptrace", "personality", "process_vm_readv", "process_vm_writev", "memfd_create")


def program(allowed: tuple[str, ...] = ()) -> bytes:
    """Return the filter as an array of ``struct sock_filter``.

    Args:
        allowed: names of denied or absent calls that are fine in this box.

    Raises:
        HostNotReadyError: this machine is not x86_64, whose call numbers the filter uses.
    """
    if os.uname().machine != "x86_64":
        raise HostNotReadyError(
            f"no system call filter for {os.uname().machine}",
            hint="the sandbox runs on x86_64 (amd64) only",
        )
    return b"".join(struct.pack("=HBBI", *statement) for statement in _statements(allowed))


def _statements(allowed: tuple[str, ...]) -> list[tuple[int, int, int, int]]:
    deny, absent = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    no_family = _ERRNO | errno.EAFNOSUPPORT

    def argument(index: int) -> tuple[int, int, int, int]:
        return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)  # the low half, little-endian

    def give(value: int) -> tuple[int, int, int, int]:
        return (_RETURN, 0, 0, value)

    def when(number: int, body: list[tuple[int, int, int, int]]) -> None:
        code.append((_JUMP_EQUAL, 0, len(body), number))
        code.extend(body)

    code = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, _ARCH_X86_64),
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
    for number in sorted(v for k, v in DENIED.items() if k not in allowed):
        when(number, [give(deny)])
    for number in sorted(v for k, v in ABSENT.items() if k not in allowed):
        when(number, [give(absent)])
    return [*code, give(_ALLOW)]
