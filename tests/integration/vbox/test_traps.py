"""Every trap of VBoxManage that we know, met with the real one."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from vbox import VBoxManage, extradata, machine, medium, nat, snapshot
from vbox.errors import (
    CommandError,
    FileFailedError,
    InterruptedError,
    InvalidValueError,
    LockedError,
    NotFoundError,
    NotOursError,
    VBoxError,
)
from vbox.nat import Forward

MIB = 1 << 20
ODD = "we\"ird\nna'me \\ ünï, =x"


@pytest.fixture
def vm(manage: VBoxManage, tmp_path: Path) -> machine.Machine:
    return machine.create(manage, "vm", "me", folder=tmp_path / "machines")


def test_version(manage: VBoxManage) -> None:
    assert manage.version() >= (7, 0, 0)


def test_results_come_without_progress(manage: VBoxManage, tmp_path: Path) -> None:
    percents: list[float] = []
    out = manage.run(
        "createmedium", "disk", "--filename", str(tmp_path / "a.vdi"), "--size", "64",
        "--variant", "Fixed", on_progress=percents.append,
    )  # fmt: skip
    assert out.startswith("Medium created. UUID: ")
    assert "%" not in out
    assert percents[-1] == 100


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nosuchverb",), "Invalid command 'nosuchverb'"),
        (("modifyvm", "vm", "--no-such-option", "3"), "Unknown option: --no-such-option"),
        (("modifyvm", "vm", "--memory", "much"), ""),
    ],
)
def test_our_own_mistakes_are_told_from_failures(
    manage: VBoxManage, vm: machine.Machine, arguments: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(CommandError) as caught:
        manage.run(*arguments)
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 200, "the manual does not belong into an error"


def test_a_refused_value_is_not_our_mistake(manage: VBoxManage, vm: machine.Machine) -> None:
    with pytest.raises(InvalidValueError, match="Invalid RAM size: 0 MB") as caught:
        machine.modify(manage, vm, memory=0)
    assert caught.value.code == "NS_ERROR_INVALID_ARG"


def test_a_missing_machine(manage: VBoxManage) -> None:
    with pytest.raises(NotFoundError, match="'nope'"):
        machine.show(manage, "nope")


def test_names_with_quotes_newlines_and_umlauts(manage: VBoxManage, tmp_path: Path) -> None:
    made = machine.create(manage, ODD, "me", folder=tmp_path / 'fol"der ü')
    plain = machine.create(manage, "plain", "me", folder=tmp_path)
    assert made.name == ODD
    assert [each.uuid for each in machine.find(manage, ODD)] == [made.uuid]
    machine.modify(manage, made, description='one\nt"wo\\\nx=y')
    assert machine.show(manage, made.uuid).properties["description"] == 'one\nt"wo\\\nx=y'
    disk = medium.create(manage, tmp_path / 'di "sk ü.vdi', 8 * MIB).location
    machine.ensure_controller(manage, made, 'S "A')
    made = machine.show(manage, made.uuid)
    medium.attach(manage, made, 'S "A', 0, disk)
    assert [(a.controller, a.medium) for a in machine.show(manage, made.uuid).attachments] == [
        ('S "A', disk)
    ]
    snapshot.take(manage, made, 'be"fore\nü')
    snapshot.take(manage, made, "after")
    assert [(s.name, s.depth, s.current) for s in snapshot.snapshots(manage, made)] == [
        ('be"fore\nü', 0, False),
        ("after", 1, True),
    ]
    machine.delete(manage, made)
    assert machine.find(manage, "plain") == (plain,)
    assert not disk.exists()


def test_a_serial_ports_path_is_not_escaped(
    manage: VBoxManage, vm: machine.Machine, tmp_path: Path
) -> None:
    log = tmp_path / 'se"rial.log'
    manage.run("modifyvm", vm.uuid, "--uart1", "0x3f8", "4", "--uartmode1", "file", str(log))
    values = machine.show(manage, vm.uuid).properties
    assert values["uartmode1"] == f"file,{log}"
    assert values["uarttype1"] == "16550A"


def test_extradata_with_newlines_and_separators(manage: VBoxManage, vm: machine.Machine) -> None:
    extradata.write(manage, vm.uuid, "note", "a\nb, Value: c")
    assert extradata.read(manage, vm.uuid) == {"appliance/id": "me", "note": "a\nb, Value: c"}
    extradata.write(manage, vm.uuid, "note", None)
    assert "note" not in extradata.read(manage, vm.uuid)


def test_a_rename_moves_the_directory(manage: VBoxManage, vm: machine.Machine) -> None:
    machine.modify(manage, vm, name="renamed")
    now = machine.show(manage, vm.uuid)
    assert now.settings != vm.settings
    assert now.settings.exists()


def test_parallel_changes_wait_for_each_other(manage: VBoxManage, vm: machine.Machine) -> None:
    def at_once(how: VBoxManage) -> list[BaseException | None]:
        with ThreadPoolExecutor(6) as pool:
            tries = [pool.submit(machine.modify, how, vm, description=f"{n}") for n in range(6)]
        return [each.exception() for each in tries]

    impatient = replace(manage, patience=0)
    rounds = (at_once(impatient) for _ in range(20))  # on a busy host they may miss each other
    assert any(isinstance(each, LockedError) for met in rounds for each in met), "no trap to avoid"
    assert at_once(manage) == [None] * 6


class TestOwnership:
    def test_a_foreign_machine_of_the_name_is_never_touched(
        self, manage: VBoxManage, tmp_path: Path
    ) -> None:
        folder = tmp_path / "theirs"
        manage.run("createvm", "--name", "vm", "--register", "--basefolder", str(folder))
        before = manage.run("showvminfo", "vm", "--machinereadable")
        for attempt in (machine.ensure, machine.create):
            with pytest.raises(NotOursError, match="did not make"):
                attempt(manage, "vm", "me", folder=tmp_path / "ours")
        with pytest.raises(NotOursError):
            machine.find_owned(manage, "vm", "me")
        assert manage.run("showvminfo", "vm", "--machinereadable") == before
        assert machine.find_owned(manage, "other", "me") is None

    def test_ensure_is_idempotent(self, manage: VBoxManage, tmp_path: Path) -> None:
        first = machine.ensure(manage, "vm", "me", folder=tmp_path)
        assert machine.ensure(manage, "vm", "me", folder=tmp_path).uuid == first.uuid
        assert len(machine.find(manage, "vm")) == 1

    def test_one_that_was_killed_half_made_is_taken_over(
        self, manage: VBoxManage, tmp_path: Path
    ) -> None:
        manage.run("createvm", "--name", "vm", "--register", "--basefolder", str(tmp_path))
        made = machine.ensure(manage, "vm", "me", folder=tmp_path)
        assert machine.owner(manage, made) == "me"

    def test_settings_in_the_way_of_a_new_machine(
        self, manage: VBoxManage, vm: machine.Machine, tmp_path: Path
    ) -> None:
        manage.run("unregistervm", vm.uuid)
        with pytest.raises(NotOursError, match="already exists"):
            machine.ensure(manage, "vm", "me", folder=tmp_path / "machines")
        assert vm.settings.exists()


class TestMediaBehindItsBack:
    def test_the_trap_is_real(self, manage: VBoxManage, tmp_path: Path) -> None:
        path = tmp_path / "disk.vdi"
        medium.create(manage, path, 8 * MIB)
        path.unlink()
        with pytest.raises(InvalidValueError, match="already exists"):
            manage.run("createmedium", "disk", "--filename", str(path), "--size", "8")
        assert path.exists(), "VirtualBox left a file that it does not know"

    def test_a_registered_medium_that_is_gone_is_made_anew(
        self, manage: VBoxManage, vm: machine.Machine, tmp_path: Path
    ) -> None:
        path = tmp_path / "disk.vdi"
        first = medium.create(manage, path, 8 * MIB)
        machine.ensure_controller(manage, vm, "SATA")
        medium.attach(manage, machine.show(manage, vm.uuid), "SATA", 0, path)
        path.unlink()
        second = medium.ensure(manage, path, 16 * MIB)
        assert second.uuid != first.uuid
        assert second.capacity == 16 * MIB
        assert machine.show(manage, vm.uuid).attachments == ()

    def test_a_medium_replaced_by_another_image(self, manage: VBoxManage, tmp_path: Path) -> None:
        path, other = tmp_path / "disk.vdi", tmp_path / "other.vdi"
        medium.create(manage, path, 8 * MIB)
        medium.create(manage, other, 8 * MIB)
        medium.forget(manage, other)
        other.rename(path)
        assert not medium.inspect(manage, path).usable
        medium.clone(manage, path, tmp_path / "copy.vdi")
        assert medium.inspect(manage, tmp_path / "copy.vdi").usable

    def test_a_machine_whose_disk_is_gone_can_be_deleted(
        self, manage: VBoxManage, vm: machine.Machine, tmp_path: Path
    ) -> None:
        path = tmp_path / "disk.vdi"
        medium.create(manage, path, 8 * MIB)
        machine.ensure_controller(manage, vm, "SATA")
        medium.attach(manage, machine.show(manage, vm.uuid), "SATA", 0, path)
        path.unlink()
        machine.delete(manage, vm)
        assert machine.find(manage, "vm") == ()
        assert not vm.settings.exists()


class TestMedia:
    def test_ensure_grows_and_never_shrinks(self, manage: VBoxManage, tmp_path: Path) -> None:
        path = tmp_path / "d.vdi"
        made = medium.ensure(manage, path, 8 * MIB)
        assert medium.ensure(manage, path, 8 * MIB) == made
        assert medium.ensure(manage, path, 20 * MIB).capacity == 20 * MIB
        assert medium.ensure(manage, path, 8 * MIB).capacity == 20 * MIB
        medium.compact(manage, path)
        medium.delete(manage, path)
        medium.delete(manage, path)
        assert medium.find_registered(manage, path) is None

    def test_attach_and_detach_are_idempotent(
        self, manage: VBoxManage, vm: machine.Machine, tmp_path: Path
    ) -> None:
        path = medium.create(manage, tmp_path / "d.vdi", 8 * MIB).location
        for _ in range(2):
            machine.ensure_controller(manage, machine.show(manage, vm.uuid), "SATA")
            medium.attach(manage, machine.show(manage, vm.uuid), "SATA", 1, path)
        values = machine.show(manage, vm.uuid).properties
        assert values["SATA-nonrotational-1-0"] == values["SATA-discard-1-0"] == "on"
        assert medium.inspect(manage, path).users == (vm.uuid,)
        for _ in range(2):
            medium.detach(manage, vm, "SATA", 1)
        assert machine.show(manage, vm.uuid).attachments == ()

    def test_a_clone_leaves_the_source_as_unknown_as_it_was(
        self, manage: VBoxManage, tmp_path: Path
    ) -> None:
        source = medium.create(manage, tmp_path / "s.vdi", 8 * MIB)
        medium.forget(manage, source.location)
        copy = medium.clone(manage, source.location, tmp_path / "new" / "c.vdi")
        assert copy.uuid != source.uuid
        assert medium.find_registered(manage, source.location) is None
        with pytest.raises(FileFailedError, match="exists already"):
            medium.clone(manage, source.location, copy.location)

    def test_nothing_to_clone(self, manage: VBoxManage, tmp_path: Path) -> None:
        with pytest.raises(FileFailedError, match="VERR_FILE_NOT_FOUND"):
            medium.clone(manage, tmp_path / "none.vdi", tmp_path / "c.vdi")
        assert not (tmp_path / "c.vdi").exists()


@pytest.fixture(scope="module")
def source(fetched: VBoxManage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("source")
    raw, disk = directory / "raw", directory / "source.vdi"
    with raw.open("wb") as file:
        chunk = os.urandom(MIB)
        for _ in range(512):
            file.write(chunk)
    fetched.run("convertfromraw", str(raw), str(disk))  # asks no service
    raw.unlink()
    return disk


class TestInterruption:
    """A clone of 512 MiB takes long enough to be caught in the act."""

    def test_out_of_time_it_cleans_up(
        self, manage: VBoxManage, source: Path, tmp_path: Path, eventually: Callable[..., object]
    ) -> None:
        target = tmp_path / "target.vdi"
        with pytest.raises(InterruptedError, match="stopped after"):
            manage.run("clonemedium", "disk", str(source), str(target), timeout=0.15)
        eventually(lambda: not target.exists())  # the service takes its time on a busy host
        assert medium.find_registered(manage, target) is None

    def test_killed_mid_clone_the_next_one_works(
        self, manage: VBoxManage, source: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "target.vdi"
        killer = threading.Thread(target=_kill_when_there, args=(target, manage))
        killer.start()
        with pytest.raises(VBoxError):
            medium.clone(manage, source, target)
        killer.join()
        assert not target.exists()
        assert medium.clone(manage, source, target).usable

    def test_python_killed_mid_clone_leaves_no_vboxmanage(
        self, manage: VBoxManage, source: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "target.vdi"
        code = (
            "import sys; from pathlib import Path; from vbox import VBoxManage, medium;"
            "medium.clone(VBoxManage(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))"
        )
        python = subprocess.Popen(
            [os.sys.executable, "-c", code, str(manage.path), str(source), str(target)],
            env={**os.environ, **manage.env},
        )
        deadline = time.monotonic() + 60
        while not target.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        python.kill()
        python.wait()
        while any(_is_vboxmanage(p, manage) for p in Path("/proc").glob("[0-9]*")):
            assert time.monotonic() < deadline, "VBoxManage went on"
            time.sleep(0.1)
        assert medium.clone(manage, source, tmp_path / "second.vdi").usable


def _is_vboxmanage(process: Path, manage: VBoxManage) -> bool:
    mark = f"VBOX_IPC_SOCKETID={manage.env['VBOX_IPC_SOCKETID']}".encode()
    try:
        mine = mark in (process / "environ").read_bytes().split(b"\0")
        return mine and (process / "comm").read_text().strip() == "VBoxManage"
    except OSError:
        return False


def _kill_when_there(target: Path, manage: VBoxManage) -> None:
    while not target.exists():
        time.sleep(0.01)
    for process in Path("/proc").glob("[0-9]*"):
        if _is_vboxmanage(process, manage):
            os.kill(int(process.name), signal.SIGKILL)


class TestForwards:
    SSH = Forward("ssh", 2222, 22)
    WEB = Forward("notebook", 8000, 8000, host_ip="")

    def test_ensure_changes_only_what_differs(
        self, manage: VBoxManage, vm: machine.Machine
    ) -> None:
        machine.modify(manage, vm, nic1="nat", nic2="nat")
        manage.run("modifyvm", vm.uuid, "--natpf2", "other,tcp,,4444,,44")
        for wanted in ([self.SSH, self.WEB], [self.SSH], [replace(self.SSH, host_port=2223)], []):
            for _ in range(2):
                nat.ensure(manage, machine.show(manage, vm.uuid), wanted)
            assert set(nat.read_forwards(machine.show(manage, vm.uuid))) == set(wanted)
        assert len(nat.read_forwards(machine.show(manage, vm.uuid), adapter=2)) == 1

    def test_two_that_swap_their_ports(self, manage: VBoxManage, vm: machine.Machine) -> None:
        machine.modify(manage, vm, nic1="nat")
        for a, b in ((1000, 1001), (1001, 1000)):
            wanted = (Forward("a", a, 1), Forward("b", b, 2))
            nat.ensure(manage, machine.show(manage, vm.uuid), wanted)
            assert set(nat.read_forwards(machine.show(manage, vm.uuid))) == set(wanted)

    def test_forwards_of_2008_are_migrated(self, manage: VBoxManage, vm: machine.Machine) -> None:
        machine.modify(manage, vm, nic1="nat")
        base = "VBoxInternal/Devices/pcnet/0/LUN#0/Config"
        for key, value in (
            ("ssh/HostPort", "2222"), ("ssh/GuestPort", "22"), ("ssh/Protocol", "TCP"),
            ("web/HostPort", "8000"), ("web/GuestPort", "8000"), ("broken/HostPort", "1"),
        ):  # fmt: skip
            extradata.write(manage, vm.uuid, f"{base}/{key}", value)
        found = nat.legacy(dict(extradata.read(manage, vm.uuid)))
        wanted = {Forward("ssh", 2222, 22, host_ip=""), Forward("web", 8000, 8000, host_ip="")}
        assert {old.forward for old in found} == wanted
        assert set(nat.migrate(manage, vm)) == wanted
        assert set(nat.read_forwards(machine.show(manage, vm.uuid))) == wanted
        left = extradata.read(manage, vm.uuid)
        assert [key for key in left if "LUN#0" in key] == [f"{base}/broken/HostPort"]
        assert nat.migrate(manage, vm) == ()


class TestSnapshots:
    def test_take_restore_delete(
        self, manage: VBoxManage, vm: machine.Machine, tmp_path: Path
    ) -> None:
        assert snapshot.snapshots(manage, vm) == ()
        machine.ensure_controller(manage, vm, "SATA")
        disk = medium.create(manage, tmp_path / "d.vdi", 8 * MIB).location
        medium.attach(manage, machine.show(manage, vm.uuid), "SATA", 0, disk)
        machine.modify(manage, vm, memory=100)
        taken = snapshot.take(manage, vm, "clean", "as built")
        machine.modify(manage, vm, memory=200)
        with pytest.raises(VBoxError, match="already"):
            snapshot.take(manage, vm, "clean")
        snapshot.restore(manage, vm, "clean")
        assert machine.show(manage, vm.uuid).properties["memory"] == "100"
        snapshot.delete(manage, vm, taken.uuid)
        assert snapshot.snapshots(manage, vm) == ()
        assert machine.show(manage, vm.uuid).attachments[0].medium == disk

    def test_an_unknown_one_lists_those_there_are(
        self, manage: VBoxManage, vm: machine.Machine
    ) -> None:
        with pytest.raises(NotFoundError, match="there are: none"):
            snapshot.restore(manage, vm, "x")
        snapshot.take(manage, vm, "clean")
        with pytest.raises(NotFoundError, match="there are: clean"):
            snapshot.restore(manage, vm, "x")


def test_without_a_driver_the_start_says_so(manage: VBoxManage, vm: machine.Machine) -> None:
    with pytest.raises(VBoxError) as caught:
        machine.start(manage, vm)
    assert "vboxdrv" in caught.value.hint
