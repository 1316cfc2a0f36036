"""A real VM falls back on its snapshot: the root disk, and nothing else."""

import socket
from collections.abc import Callable
from pathlib import Path

import driverless
import pytest

from provision.config import Config
from provision.config.model import Forward, Network
from provision.fleet import local
from provision.machine import keys
from provision.machine.fallback import NAME, VirtualBoxFallback
from provision.machine.virtualbox import VirtualBox, VirtualBoxMachine
from vbox import VBoxManage, medium, snapshot

MIB = 1 << 20


def test_the_root_goes_back_and_home_stays(manage: VBoxManage, tmp_path: Path) -> None:
    keys.generate(tmp_path / "key", comment="test")
    for name in ("root", "home"):
        (tmp_path / f"{name}.raw").write_bytes(name.encode().ljust(4 * MIB, b"\0"))
    config = Config.model_construct(**{**dict(Config()), "name": "tiny"})
    vm = VirtualBoxMachine(config, manage, tmp_path / "data/tiny", tmp_path / "key")
    vm.define([tmp_path / "root.raw", tmp_path / "home.raw"])
    fallback = VirtualBoxFallback(manage, vm.get().uuid)

    def disks() -> list[Path]:
        return [each.medium for each in vm.get().attachments]

    fallback.take()
    fallback.take()  # what a killed run left makes room
    before = disks()
    assert [each.name for each in snapshot.snapshots(manage, vm.get())] == [NAME]
    frozen = [medium.inspect(manage, path).parent for path in before]
    fallback.back()
    root, home = disks()
    assert (root != before[0], home == before[1]) == (True, True)
    assert not before[0].exists()
    assert [medium.inspect(manage, path).parent for path in (root, home)] == frozen
    fallback.drop()
    fallback.drop()
    assert snapshot.snapshots(manage, vm.get()) == ()
    content = tmp_path / "look.raw"
    for path, name in zip(disks(), ("root", "home"), strict=True):
        assert medium.inspect(manage, path).parent == "base"
        manage.run("clonemedium", "disk", str(path), str(content), "--format", "RAW")
        assert content.read_bytes()[:4] == name.encode()
        medium.delete(manage, content)


@pytest.mark.slow
def test_a_vm_that_runs_is_found_by_its_port_and_goes_back(
    running_manage: VBoxManage,
    tiny_image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., object],
) -> None:
    manage = running_manage
    monkeypatch.setattr(local, "of_this_host", lambda: VirtualBox(manage))
    keys.generate(tmp_path / "key", comment="test")
    ssh, web = driverless.free_port(), driverless.free_port()
    forwards = {"ssh": Forward(host=ssh, guest=22), "notebook": Forward(host=web, guest=8000)}
    network = Network.model_construct(forwards=forwards, auto=False)
    config = Config.model_construct(
        **{**dict(Config()), "name": "tiny", "cpus": 1, "memory": 32 * MIB, "network": network}
    )
    vm = VirtualBoxMachine(config, manage, tmp_path / "data/tiny", tmp_path / "key")

    def greets() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", ssh), timeout=20) as connection:
                return connection.recv(100).startswith(b"SSH-2.0-tiny")
        except OSError:
            return False

    try:
        vm.define([tiny_image])
        driverless.interpreted(manage, vm.get())
        assert local.fallback(ssh) is None  # it does not run
        vm.power_on()
        eventually(greets, 120)
        assert local.fallback(web) is None
        (host,) = local.running()
        assert (host.name, host.address, host.port) == ("tiny", "127.0.0.1", ssh)
        assert host.url == f"https://127.0.0.1:{web}"

        found = local.fallback(ssh)
        assert found is not None
        before = vm.get().attachments[0].medium
        found.take()
        frozen = vm.get().attachments[0].medium
        assert greets(), "it goes on running"
        found.back()
        fresh = vm.get()
        assert (fresh.state, fresh.attachments[0].medium in (before, frozen)) == ("poweroff", False)
        found.start()
        eventually(greets, 120)
        found.drop()
        assert snapshot.snapshots(manage, vm.get()) == ()
        assert greets(), "the snapshot of a VM that runs is dropped"
    finally:
        vm.destroy()
