"""The root disk of a real VM, exchanged, put back and confirmed."""

from pathlib import Path

import pytest

from provision.config import Config
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
    assert root.kept() is not None
    with pytest.raises(UsageError, match="still kept"):
        root.prepare(image)
    root.put_back()
    assert disks(root, tmp_path) == ["root", "home"]
    with pytest.raises(UsageError, match="is kept"):
        root.put_back()
    root.exchange(root.prepare(image))
    old = root.confirm()
    assert (old.exists(), root.kept(), disks(root, tmp_path)) == (False, None, ["newer", "home"])
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
    assert root.kept() is None
    new = root.prepare(tmp_path / "newer.raw")
    assert not left.exists()
    root.exchange(new)
    assert disks(root, tmp_path) == ["newer", "home"]


def test_snapshots_hold_on_to_disks(root: RootDisk, tmp_path: Path) -> None:
    snapshot.take(root.vm.manage, root.vm.get(), "before")
    with pytest.raises(HypervisorError, match="has snapshots"):
        root.prepare(tmp_path / "newer.raw")
