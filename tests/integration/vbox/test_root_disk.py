"""The root disk of a real VM, exchanged, put back and confirmed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import driverless
import pytest

from provision.config import Config
from provision.config.model import Forward, Network
from provision.errors import HypervisorError, UsageError
from provision.machine import keys
from provision.machine.root_disk import RootDisk
from provision.machine.virtualbox import VirtualBoxMachine
from vbox import VBoxManage, medium, snapshot

MIB = 1 << 20


@pytest.fixture
def root(manage: VBoxManage, tmp_path: Path) -> RootDisk:
    keys.generate(tmp_path / "key", comment="test")
    for name in ("root", "home", "newer"):
        (tmp_path / f"{name}.raw").write_bytes(name.encode().ljust(4 * MIB, b"\0"))
    config = Config.model_construct(**{**dict(Config()), "name": "tiny"})
    vm = VirtualBoxMachine(config, manage, tmp_path / "data/tiny", tmp_path / "key")
    vm.define([tmp_path / "root.raw", tmp_path / "home.raw"])
    return RootDisk(vm)


def disks(root: RootDisk, place: Path) -> list[str]:
    """What is written at the start of each disk."""
    found = []
    for each in root.vm.get().attachments:
        raw = place / "look.raw"
        root.vm.manage.run("clonemedium", "disk", str(each.medium), str(raw), "--format", "RAW")
        found.append(raw.read_bytes()[:8].rstrip(b"\0").decode())
        medium.delete(root.vm.manage, raw)
    return found


def test_the_old_root_waits_until_it_is_confirmed(root: RootDisk, tmp_path: Path) -> None:
    image = tmp_path / "newer.raw"
    root.exchange(root.prepare(image))
    assert disks(root, tmp_path) == ["newer", "home"]
    assert root.old_disk() is not None
    with pytest.raises(UsageError, match="still kept"):
        root.prepare(image)
    root.put_back()
    assert disks(root, tmp_path) == ["root", "home"]
    with pytest.raises(UsageError, match="is kept"):
        root.put_back()
    root.exchange(root.prepare(image))
    old = root.confirm()
    assert (old.exists(), root.old_disk(), disks(root, tmp_path)) == (
        False,
        None,
        ["newer", "home"],
    )
    again = root.prepare(image)
    assert len(list(again.parent.glob("root-*.vdi"))) == 2  # the one in use, and the new


def test_a_kill_before_the_exchange_changes_nothing(root: RootDisk, tmp_path: Path) -> None:
    """The note is written first: with the old disk still in its slot it means nothing."""
    from vbox import extradata

    found = root.vm.get()
    left = root.prepare(tmp_path / "newer.raw")
    extradata.write(
        root.vm.manage, found.uuid, "appliance/kept-root", str(found.attachments[0].medium)
    )
    assert root.old_disk() is None
    new = root.prepare(tmp_path / "newer.raw")
    assert not left.exists()
    root.exchange(new)
    assert disks(root, tmp_path) == ["newer", "home"]


def test_snapshots_hold_on_to_disks(root: RootDisk, tmp_path: Path) -> None:
    snapshot.take(root.vm.manage, root.vm.get(), "before")
    with pytest.raises(HypervisorError, match="has snapshots"):
        root.prepare(tmp_path / "newer.raw")


class KilledError(BaseException):
    """Stands for SIGKILL between two calls of VBoxManage."""


def killed_after(monkeypatch: pytest.MonkeyPatch, calls: int, what: Callable[[], object]) -> bool:
    """Do something until so many calls have changed something; whether it was killed."""
    real, made = VBoxManage.run, 0

    def run(self: VBoxManage, *words: str, **options: Any) -> str:
        nonlocal made
        if made == calls:
            raise KilledError
        told = real(self, *words, **options)
        made += words[0] not in ("showvminfo", "showmediuminfo", "list", "getextradata")
        return told

    with monkeypatch.context() as patched:
        patched.setattr(VBoxManage, "run", run)
        try:
            what()
        except KilledError:
            return True
        return False


@pytest.mark.slow
def test_killed_anywhere_there_is_a_whole_root(
    root: RootDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exchange, back, exchange, confirm: each killed after every call, and done once more."""
    image, calls = tmp_path / "newer.raw", 0
    while killed_after(monkeypatch, calls, lambda: root.exchange(root.prepare(image))):
        calls += 1
        now = disks(root, tmp_path)
        assert now in (["root", "home"], ["newer", "home"])
        assert (root.old_disk() is not None) == (now == ["newer", "home"])
        if root.old_disk():
            root.put_back()
        assert disks(root, tmp_path) == ["root", "home"]
    assert calls >= 3
    back = 0
    while killed_after(monkeypatch, back, root.put_back):
        back += 1
        now = disks(root, tmp_path)
        assert now in (["root", "home"], ["newer", "home"])
        assert (root.old_disk() is not None) == (now == ["newer", "home"])
        if root.old_disk() is None:
            root.exchange(root.prepare(image))
    assert (back >= 2, disks(root, tmp_path)) == (True, ["root", "home"])
    root.exchange(root.prepare(image))
    confirmed = 0
    while root.old_disk() and killed_after(monkeypatch, confirmed, root.confirm):
        confirmed += 1
        assert disks(root, tmp_path) == ["newer", "home"]
    assert (root.old_disk(), disks(root, tmp_path)) == (None, ["newer", "home"])
    root.exchange(root.prepare(image))


@pytest.mark.slow
def test_a_vm_that_runs(
    running_manage: VBoxManage, tiny_image: Path, tmp_path: Path, eventually: Callable[..., object]
) -> None:
    """The copy is made while it runs, the exchange is refused until it is off; it then starts."""
    keys.generate(tmp_path / "key", comment="test")
    network = Network.model_construct(
        forwards={"ssh": Forward(host=driverless.free_port(), guest=22)}, auto=True
    )
    config = Config.model_construct(
        **{**dict(Config()), "name": "tiny", "cpus": 1, "memory": 32 * MIB, "network": network}
    )
    vm = VirtualBoxMachine(config, running_manage, tmp_path / "data/tiny", tmp_path / "key")

    def up() -> None:
        driverless.interpreted(running_manage, vm.get())
        vm.power_on()
        eventually(lambda: vm.console.exists() and b"ready" in vm.console.read_bytes(), 120)

    try:
        vm.define([tiny_image])
        up()
        root = RootDisk(vm)
        new = root.prepare(tiny_image)
        before = vm.get().attachments[0].medium
        with pytest.raises(HypervisorError):
            root.exchange(new)
        assert (vm.get().state, vm.get().attachments[0].medium) == ("running", before)
        assert root.old_disk() is None
        vm.stop()
        root.exchange(new)
        up()
        assert vm.get().attachments[0].medium == new
        assert root.confirm() == before
        assert (before.exists(), vm.get().state) == (False, "running")
    finally:
        vm.destroy()
