"""Seats made from one publication: each is told by its host who it is, and is nobody else."""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import driverless
import pytest
from publishing import Publisher, Room

from provision.build.build import Built
from provision.distribution import installed
from provision.distribution.seats import Seat
from provision.machine import SshEndpoint, credentials, nspawn, qemu
from provision.machine.nspawn import NspawnMachine
from provision.machine.qemu import QemuMachine
from provision.machine.ssh import connect
from provision.verify import disks as images
from vbox import VBoxManage, machine

IDENTITY = {
    "machine-id": "cat /etc/machine-id",
    "host key": "cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub",
    "administrator's key": "sudo cat /home/{admin}/.ssh/id_ed25519.pub",
    "first password": "sudo cat /var/lib/notebook/first-password",
}


def ask(endpoint: SshEndpoint, command: str) -> str:
    with contextlib.closing(connect(endpoint)) as client:
        _, out, err = client.exec_command(command, timeout=60)
        text = out.read().decode().strip()
        assert out.channel.recv_exit_status() == 0, f"{command}: {text} {err.read().decode()}"
    return text


def settled(endpoint: SshEndpoint) -> None:
    """Wait until the notebook runs and has made the first password."""
    there = "sudo test -s /var/lib/notebook/first-password && systemctl is-active -q notebook"
    ask(endpoint, f"for n in $(seq 90); do {there} && exit 0; sleep 1; done; exit 1")


@pytest.fixture(scope="module")
def tree(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of the shared appliance's disks, as a first boot meets them."""
    base = tmp_path_factory.mktemp("tree")
    place = base / "root"
    images.to_tree([images.as_raw(disk, base / disk.name) for disk in built.disks], place)
    yield place
    shutil.rmtree(base)


@pytest.fixture
def boot(
    tree: Path, admin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], contextlib.AbstractContextManager[SshEndpoint]]:
    """Boot a copy, or boot it again, with what its host tells it."""

    @contextlib.contextmanager
    def booted(copy: str, told: str) -> Iterator[SshEndpoint]:
        ours = credentials.sign_in
        with monkeypatch.context() as patched:
            patched.setattr(
                nspawn,
                "sign_in",
                lambda user, key: {**ours(user, key), installed.CREDENTIAL: told},
            )
            with NspawnMachine([tree], tmp_path / copy, user=admin) as guest:
                endpoint = guest.start()
                settled(endpoint)
                yield endpoint

    return booted


def test_two_seats_share_nothing_that_is_a_secret_or_a_name(
    boot: Callable[[str, str], contextlib.AbstractContextManager[SshEndpoint]], admin: str
) -> None:
    found = {}
    for seat, told in ((1, "name=sage-01 pool=2"), (2, "name=sage-02 pool=2")):
        with boot(f"seat{seat}", told) as guest:
            found[seat] = {
                what: ask(guest, command.format(admin=admin)) for what, command in IDENTITY.items()
            }
            for command in ("hostname", "cat /etc/hostname", "hostnamectl hostname"):
                assert ask(guest, command) == f"sage-0{seat}"
            assert ask(guest, "getent hosts 127.0.1.1 | tr -s ' '") == f"127.0.1.1 sage-0{seat}"
            assert ask(guest, "systemctl --failed --plain --no-legend") == ""
    for what in IDENTITY:
        assert found[1][what] and found[1][what] != found[2][what], what


def test_pool_grows_and_shrinks_with_the_seat(
    boot: Callable[[str, str], contextlib.AbstractContextManager[SshEndpoint]],
) -> None:
    def pool(guest: SshEndpoint) -> tuple[list[str], ...]:
        """Accounts; those that sessions lease, that the firewall knows, that sshd lets in."""
        servers = ask(guest, "cat /usr/local/bin/start-notebook")
        doors = ask(guest, "sudo /usr/sbin/sshd -T -f /etc/notebook/sshd_config")
        rules = ask(guest, "sudo nft -n list set inet notebook pool")
        return (
            re.findall(r"(?m)^nb\d+", ask(guest, "getent passwd")),
            re.findall(r'"(nb\d+)@localhost"', servers),
            [f"nb{int(uid) - 2000}" for uid in re.findall(r"\b20\d\d\b", rules)],
            re.findall(r"(?m)^allowusers (\S+)", doors),
        )

    four = ["nb1", "nb2", "nb3", "nb4"]
    with boot("seat", "name=sage-03 pool=4") as guest:
        assert pool(guest) == (four, four, four, four)
        assert ask(guest, "id -nG nb4") == "sageusers"
        assert ask(guest, "sudo stat -c '%U %a' /home/nb4") == "nb4 700"
        limits = "systemctl show user-$(id -u {}).slice -p MemoryMax,TasksMax,SocketBindAllow"
        mine, theirs = (ask(guest, limits.format(name)) for name in ("nb4", "nb1"))
        assert mine.splitlines()[:2] == theirs.splitlines()[:2]
        assert "infinity" not in mine
        assert ask(guest, "sudo passwd -S nb4").split()[1] == "L"
        assert ask(guest, "systemctl is-active sshd-pool notebook-firewall") == "active\nactive"
    with boot("seat", "name=sage-03 pool=1") as guest:  # the same copy, later
        assert pool(guest) == (four, ["nb1"], ["nb1"], ["nb1"])
        assert ask(guest, "systemctl is-active sshd-pool notebook-firewall") == "active\nactive"


def test_what_makes_no_sense_is_left_alone(
    boot: Callable[[str, str], contextlib.AbstractContextManager[SshEndpoint]],
) -> None:
    told = "name=$(reboot) pool=0"
    with boot("seat", told) as guest:
        assert ask(guest, "hostname") == "verify"
        assert "makes no sense: name=$(reboot)" in ask(
            guest, "sudo journalctl --no-pager -u appliance-seat"
        )
        assert ask(guest, "systemctl is-active ssh sshd-pool") == "active\nactive"


@pytest.fixture
def seated(publisher: Publisher, running_manage: VBoxManage, tmp_path: Path) -> Room:
    publisher.publish(1)
    return Room(publisher, running_manage, tmp_path / "seat")


def test_virtualbox_puts_the_longest_name_into_the_machine(seated: Room, tmp_path: Path) -> None:
    """Where the guest's systemd finds it: a string in the SMBIOS tables of the running VM."""
    name = "sage-" + "x" * 58
    seated.pull(seat=Seat(1, name, settings={"memory": "8G", "pool": {"count": 7}}))
    (found,) = machine.find(seated.manage, name)
    machine.modify(seated.manage, found, memory=64, cpus=1)
    driverless.interpreted(seated.manage, found)
    machine.start(seated.manage, found)
    try:
        core = tmp_path / "core"
        seated.manage.run("debugvm", name, "dumpvmcore", "--filename", str(core))
        told = f"io.systemd.credential:appliance.seat=name={name} pool=7\0"
        assert told.encode() in core.read_bytes()
    finally:
        machine.power_off(seated.manage, found)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_booted_machine_reads_it_from_its_firmware(
    built: Built, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, with BIOS, GRUB and kernel, and the string as VirtualBox has it."""
    ours = qemu.smbios
    told = f"type=11,value=io.systemd.credential:{installed.CREDENTIAL}=name=sage-09 pool=3"
    monkeypatch.setattr(qemu, "smbios", lambda passed: [*ours(passed), "-smbios", told])
    with QemuMachine(built.disks, user=admin, memory=2 << 30) as guest:
        endpoint = guest.start()
        assert ask(endpoint, "hostname") == "sage-09"
        assert ask(endpoint, "id -nG nb3") == "sageusers"
        assert ask(endpoint, "sudo stat -c %U /home/nb3") == "nb3"
