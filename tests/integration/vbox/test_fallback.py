"""A real VM falls back on its snapshot: the root disk, and nothing else."""

from pathlib import Path

from provision.config import Config
from provision.machine import keys
from provision.machine.fallback import NAME, Fallback
from provision.machine.virtualbox import VirtualBoxMachine
from vbox import VBoxManage, medium, snapshot

MIB = 1 << 20


def test_the_root_goes_back_and_home_stays(manage: VBoxManage, tmp_path: Path) -> None:
    keys.generate(tmp_path / "key", comment="test")
    for name in ("root", "home"):
        (tmp_path / f"{name}.raw").write_bytes(name.encode().ljust(4 * MIB, b"\0"))
    config = Config.model_construct(**{**dict(Config()), "name": "tiny"})
    vm = VirtualBoxMachine(config, manage, tmp_path / "data/tiny", tmp_path / "key")
    vm.define([tmp_path / "root.raw", tmp_path / "home.raw"])
    fallback = Fallback(manage, vm.get().uuid)

    def disks() -> list[Path]:
        return [each.medium for each in vm.get().attachments]

    fallback.take()
    fallback.take()  # what a killed run left makes room
    before = disks()
    assert [each.name for each in snapshot.listed(manage, vm.get())] == [NAME]
    frozen = [medium.inspect(manage, path).parent for path in before]
    fallback.back()
    root, home = disks()
    assert (root != before[0], home == before[1]) == (True, True)
    assert not before[0].exists()
    assert [medium.inspect(manage, path).parent for path in (root, home)] == frozen
    fallback.drop()
    fallback.drop()
    assert snapshot.listed(manage, vm.get()) == ()
    content = tmp_path / "look.raw"
    for path, name in zip(disks(), ("root", "home"), strict=True):
        assert medium.inspect(manage, path).parent == "base"
        manage.run("clonemedium", "disk", str(path), str(content), "--format", "RAW")
        assert content.read_bytes()[:4] == name.encode()
        medium.delete(manage, content)
