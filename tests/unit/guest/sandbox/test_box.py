"""What a box is made of, as data."""

import resource
import struct
from pathlib import Path

import pytest

from provision.errors import HostNotReadyError
from provision.guest.sandbox import cgroups, seccomp
from provision.guest.sandbox.box import Box, arguments, resource_limits
from provision.guest.sandbox.limits import Limits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("proc", "dev", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def shown(box: Box) -> list[str]:
    return arguments(box, bwrap="bwrap", info=3, block=4, filter_=5)


def test_a_box_has_every_namespace_and_a_read_only_root(root: Path) -> None:
    argv = shown(Box(root, ("/bin/true",)))
    for kind in ("user", "ipc", "pid", "uts", "net"):
        assert f"--unshare-{kind}" in argv
    text = " ".join(argv)
    assert f"--ro-bind {root} / --proc /proc --remount-ro /proc" in text
    assert "--remount-ro /dev" in text
    assert text.endswith("--seccomp 5 -- /bin/true")
    assert " --bind " not in text


def test_the_one_writable_place_has_a_size(root: Path) -> None:
    text = " ".join(shown(Box(root, ("x",), Limits(disk=12345), directory="/tmp/task")))
    assert "--size 12345 --perms 1777 --tmpfs /tmp --perms 0700 --dir /tmp/task" in text
    assert "--tmpfs /tmp" not in " ".join(shown(Box(root, ("x",), writable=False)))


def test_a_foreign_root_gets_only_what_it_has_a_place_for(tmp_path: Path) -> None:
    text = " ".join(shown(Box(tmp_path, ("x",))))
    assert "--proc" not in text
    assert "--tmpfs" not in text


def test_the_network_is_shared_only_when_asked(root: Path) -> None:
    assert "--unshare-net" not in shown(Box(root, ("x",), shares_network=True))


def test_resource_limits_without_a_cgroup_bound_each_process() -> None:
    alone = resource_limits(Limits(memory=100, tasks=5, cpu=1.2), grouped=False)
    assert alone[resource.RLIMIT_DATA] == 100
    assert alone[resource.RLIMIT_NPROC] == 6
    assert alone[resource.RLIMIT_CPU] == 2
    assert resource.RLIMIT_DATA not in resource_limits(Limits(), grouped=True)


def test_a_cgroup_counts_the_memory_file_system_too() -> None:
    files = cgroups.settings(Limits(memory=100, disk=50, tasks=7))
    assert files["memory.max"] == "150"
    assert files["memory.swap.max"] == "0"
    assert files["memory.oom.group"] == "1"
    assert int(files["pids.max"]) >= 7


def test_a_cgroup_that_cannot_be_limited_is_not_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups.Cgroup, "remove", lambda self: self.path.rmdir())
    with pytest.raises(OSError, match="directory"):
        cgroups.Delegation(tmp_path).group("box", {".": "1"})
    assert not list(tmp_path.iterdir())


class Machine:
    """Runs a filter as the kernel does, on one call."""

    ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000

    def __init__(self, name: str = "x86_64") -> None:
        data = seccomp.program(machine=name)
        self.column, self.arch = seccomp._MACHINES[name]
        self.code = [struct.unpack_from("=HBBI", data, 8 * i) for i in range(len(data) // 8)]

    def call(self, number: int, *arguments: int, arch: int | None = None) -> int:
        given = (*arguments, *[0] * (6 - len(arguments)))
        data = struct.pack("=iIQ6Q", number, arch or self.arch, 0, *given)
        at = value = 0
        while True:
            code, true, false, k = self.code[at]
            at += 1
            if code == 0x20:
                (value,) = struct.unpack_from("=I", data, k)
            elif code == 0x54:
                value &= k
            elif code == 0x15:
                at += true if value == k else false
            elif code == 0x25:
                at += true if value > k else false
            else:
                assert code == 0x06
                answer: int = k
                return answer


@pytest.mark.parametrize("number", [0, 1, 2, 9, 56, 57, 59, 231, 257, 262, 317, 444, 462])
def test_ordinary_calls_are_allowed(number: int) -> None:
    assert Machine().call(number) == Machine.ALLOW


@pytest.mark.parametrize("machine", seccomp._MACHINES)
@pytest.mark.parametrize("name", sorted(seccomp.DENIED | seccomp.ABSENT))
def test_listed_calls_are_refused(name: str, machine: str) -> None:
    box, error = Machine(machine), 1 if name in seccomp.DENIED else 38
    number = (seccomp.DENIED | seccomp.ABSENT)[name][box.column]
    if number is None:
        assert machine == "aarch64", "x86 has had every call that there is"
    else:
        assert box.call(number) == Machine.ERRNO | error


# write, exit_group, execve, mmap and wait4 of include/uapi/asm-generic/unistd.h
@pytest.mark.parametrize("number", [64, 94, 221, 222, 260, 462])
def test_ordinary_calls_of_arm_are_allowed(number: int) -> None:
    assert Machine("aarch64").call(number) == Machine.ALLOW


def test_arm_has_its_own_numbers_for_what_is_judged_by_its_arguments() -> None:
    box = Machine("aarch64")
    assert box.call(220, 0x10000000 | 17) == Machine.ERRNO | 1  # clone, of a user namespace
    assert box.call(220, 0x3D0F00) == Machine.ALLOW
    assert box.call(198, 17, 3, 0) != Machine.ALLOW  # socket, of AF_PACKET
    assert box.call(198, 2, 1, 0) == Machine.ALLOW
    assert box.call(29, 0, 0x5412) == Machine.ERRNO | 1  # ioctl TIOCSTI


def test_a_machine_that_we_do_not_know_has_no_box() -> None:
    with pytest.raises(HostNotReadyError, match="riscv64"):
        seccomp.program(machine="riscv64")


@pytest.mark.parametrize("number", [463, 1000, 0x40000000 | 59])
def test_other_calls_do_not_exist(number: int) -> None:
    assert Machine().call(number) == Machine.ERRNO | 38


@pytest.mark.parametrize("flag", [0x20000, *(1 << bit for bit in range(25, 31))])
def test_clone_makes_no_namespace(flag: int) -> None:
    assert Machine().call(56, flag | 17) == Machine.ERRNO | 1
    assert Machine().call(56, 0x3D0F00) == Machine.ALLOW  # a thread


@pytest.mark.parametrize(
    ("family", "protocol", "allowed"),
    [(1, 0, True), (2, 0, True), (10, 0, True), (16, 0, True), (16, 9, False), (17, 0, False),
     (38, 0, False), (40, 0, False)],
)  # fmt: skip
def test_socket_families(family: int, protocol: int, allowed: bool) -> None:
    assert (Machine().call(41, family, 1, protocol) == Machine.ALLOW) is allowed


def test_other_architectures_are_killed() -> None:
    assert Machine().call(20, arch=0x40000003) == Machine.KILL


def test_terminal_injection_is_refused_and_other_controls_are_not() -> None:
    assert Machine().call(16, 0, 0x5412) == Machine.ERRNO | 1
    assert Machine().call(16, 0, 0x5401) == Machine.ALLOW


@pytest.mark.parametrize(
    ("level", "option", "answer"),
    [(1, 7, Machine.ERRNO), (1, 8, Machine.ERRNO), (1, 2, Machine.ALLOW), (6, 7, Machine.ALLOW)],
)
def test_wishes_for_larger_socket_buffers_come_to_nothing(
    level: int, option: int, answer: int
) -> None:
    """Errno 0: the program is told that all is well."""
    assert Machine().call(54, 3, level, option) == answer
