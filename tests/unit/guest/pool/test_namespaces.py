import errno
import struct
from collections.abc import Callable

import pytest

from provision.guest.pool import namespaces as ns
from provision.guest.pool.namespaces import ALLOW, ERRNO, alone, program

NEWUSER, NEWNET, SIGCHLD, THREAD = 0x10000000, 0x40000000, 17, 0x003D0F00


MACHINE = "x86_64"
Filter = Callable[[str], list[tuple[int, int, int, int]]]
CLONE, UNSHARE, SETNS, CLONE3 = ns.CALLS[MACHINE]


def verdict(
    call: int, argument: int = 0, machine: str = MACHINE, second: int = 0, what: Filter = program
) -> int:
    """Interpret the filter as the kernel does."""
    data = struct.pack("=IIQQQ", call, 0xC000003E, 0, argument, second)
    accumulator = position = 0
    while True:
        operation, yes, no, operand = what(machine)[position]
        match operation:
            case ns.LOAD:
                (accumulator,) = struct.unpack_from("=I", data, operand)
            case ns.EQUAL:
                position += yes if accumulator == operand else no
            case ns.ANY_BIT:
                position += yes if accumulator & operand else no
            case ns.RETURN:
                return operand
        position += 1


@pytest.mark.parametrize("flags", [NEWUSER, NEWNET | SIGCHLD, NEWUSER | NEWNET])
def test_namespaces_are_refused(flags: int) -> None:
    assert verdict(UNSHARE, flags) == ERRNO | errno.EPERM
    assert verdict(CLONE, flags) == ERRNO | errno.EPERM


def test_arm_has_its_own_numbers() -> None:
    """As include/uapi/asm-generic/unistd.h has them."""
    for call in (220, 97):
        assert verdict(call, NEWUSER, "aarch64") == ERRNO | errno.EPERM
    assert verdict(268, 3, "aarch64") == ERRNO | errno.EPERM
    assert verdict(435, 0, "aarch64") == ERRNO | errno.ENOSYS
    assert verdict(221, 2**32 - 1, "aarch64") == ALLOW


def test_entering_one_is_refused() -> None:
    assert verdict(SETNS, 3) == ERRNO | errno.EPERM


def test_clone3_is_said_not_to_exist() -> None:
    assert verdict(CLONE3) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("flags", [SIGCHLD, THREAD])
def test_processes_and_threads_are_made_as_ever(flags: int) -> None:
    assert verdict(CLONE, flags) == ALLOW


@pytest.mark.parametrize("call", [0, 1, 57, 58, 59, 231, 257])
def test_all_else_is_allowed(call: int) -> None:
    assert verdict(call, 2**32 - 1) == ALLOW


@pytest.mark.parametrize("machine", ns.MEETINGS)
def test_an_exam_has_no_socket_that_can_be_given_a_name(machine: str) -> None:
    socket, pair = ns.MEETINGS[machine]
    unix, inet, netlink = 1, 2, 16
    stream, datagram, raw, packets, more = 1, 2, 3, 5, 0o2004000  # and not blocking, and closed

    def of(call: int, family: int, kind: int) -> int:
        return verdict(call, family, machine, kind, alone)

    for kind in (stream, datagram, packets, stream | more):
        assert of(socket, unix, kind) == ERRNO | errno.EPERM
        assert of(socket, inet, kind) == of(socket, netlink, kind) == ALLOW
    for kind in (datagram, raw, datagram | more):
        assert of(pair, unix, kind) == ERRNO | errno.EPERM
    for kind in (stream, packets, stream | more):
        assert of(pair, unix, kind) == ALLOW
    assert of(42, unix, datagram) == ALLOW
