"""OVAs that VirtualBox takes in part, not at all, or to a place that is not there."""

import os
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.config import Config
from provision.errors import HostNotReadyError, HypervisorError
from provision.machine.virtualbox import VirtualBoxMachine
from provision.ova.model import OvaAppliance, OvaDisk
from provision.ova.writer import write_ova
from vbox import VBoxManage

MIB = 1 << 20


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OVA of ours with two small disks."""
    place = tmp_path_factory.mktemp("ova")
    disks = []
    for name in ("root", "home"):
        raw = place / f"{name}.raw"
        with raw.open("wb") as file:
            file.truncate(32 * MIB)
            file.write(os.urandom(6 * MIB))
        disks.append(OvaDisk(name=name, raw_path=raw))
    made = OvaAppliance(
        name="tiny", product="p", vendor="v", version="1.0", description="d",
        epoch=1_700_000_000, cpus=1, memory=64 * MIB, forwards=[],
    )  # fmt: skip
    write_ova(place / "good.ova", made, disks)
    return place / "good.ova"


@pytest.fixture
def vm(manage: VBoxManage, tmp_path: Path) -> VirtualBoxMachine:
    config = Config.model_construct(
        **{**dict(Config()), "name": "tiny", "cpus": 1, "memory": 64 * MIB}
    )
    return VirtualBoxMachine(config, manage, tmp_path / "data/tiny", tmp_path / "key")


@pytest.fixture
def mounted(vm: VirtualBoxMachine) -> Iterator[Callable[[str], Path]]:
    """Mount a disk on the VM's folder, as a host does: seen by all that runs already."""
    above = vm.folder.parent
    above.mkdir(parents=True)
    for words in (["--bind", above, above], ["--make-shared", above]):
        subprocess.run(["mount", *words], check=True)
    vm.folder.mkdir()

    def mount(size: str) -> Path:
        words = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", vm.folder]
        subprocess.run(["mount", *words], check=True)
        return vm.folder

    yield mount
    subprocess.run(["umount", "-R", "-l", above], check=True)


def cut(data: bytes) -> bytes:
    return data[: len(data) * 3 // 4]


def flip(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(data) * 7 // 8] ^= 1
    return bytes(changed)


def registry(manage: VBoxManage) -> str:
    return manage.run("list", "hdds").strip() + manage.run("list", "vms").strip()


def rewritten(ova: Path, target: Path, change: Callable[[str], str]) -> Path:
    """The OVA with another envelope, and without its manifest."""
    with tarfile.open(ova) as source, tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as out:
        for member in source:
            content = source.extractfile(member)
            assert content is not None
            if member.name.endswith(".mf"):
                continue
            if member.name.endswith(".ovf"):
                envelope = target.with_suffix(".ovf")
                envelope.write_text(change(content.read().decode()))
                out.add(envelope, member.name)
            else:
                out.addfile(member, content)
    return target


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_failed_import_leaves_the_name_free(
    vm: VirtualBoxMachine, good: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    bad = tmp_path / "bad.ova"
    bad.write_bytes(damage(good.read_bytes()))
    with pytest.raises(HypervisorError):
        vm.bring(bad)
    assert registry(vm.manage) == ""
    assert len(vm.bring(good).attachments) == 2
    assert vm.destroy()
    assert registry(vm.manage) == ""


def test_what_an_earlier_version_left_in_the_registry_is_forgotten(
    vm: VirtualBoxMachine, good: Path
) -> None:
    for disk in vm.bring(good).attachments:
        vm.manage.run(
            "storageattach", "tiny", "--storagectl", disk.controller, "--port", str(disk.port),
            "--device", "0", "--medium", "none",
        )  # fmt: skip
        disk.medium.unlink()
    assert vm.destroy()
    assert str(vm.folder / "machines/tiny") in registry(vm.manage)
    assert len(vm.bring(good).attachments) == 2


def test_a_full_disk_is_the_hosts_fault_and_leaves_nothing(
    vm: VirtualBoxMachine, good: Path, mounted: Callable[[str], Path]
) -> None:
    disk = mounted("9M")
    with pytest.raises(HostNotReadyError, match="full") as refused:
        vm.bring(good)
    assert refused.value.hint
    assert registry(vm.manage) == ""
    subprocess.run(["mount", "-o", "remount,size=100M", disk], check=True)
    vm.bring(good)


def test_a_name_that_begins_with_a_dash_is_a_name(
    vm: VirtualBoxMachine, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "-x.ova").write_bytes(good.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert vm.bring(Path("-x.ova")).name == "tiny"


def test_a_licence_must_be_accepted(vm: VirtualBoxMachine, good: Path, tmp_path: Path) -> None:
    licence = "<EulaSection><Info>i</Info><License>All rights reserved</License></EulaSection>"

    def change(envelope: str) -> str:
        return re.sub(r"(<VirtualSystem [^>]*>\s*<Info>.*?</Info>)", rf"\1{licence}", envelope)

    ova = rewritten(good, tmp_path / "licence.ova", change)
    with pytest.raises(HypervisorError, match="licence to accept") as refused:
        vm.bring(ova)
    assert "--accept-licence" in (refused.value.hint or "")
    assert registry(vm.manage) == ""
    assert vm.bring(ova, accept_licence=True).name == "tiny"


def test_two_machines_are_refused_whole(vm: VirtualBoxMachine, good: Path, tmp_path: Path) -> None:
    def change(envelope: str) -> str:
        found = re.search(r"<VirtualSystem .*</VirtualSystem>", envelope, re.DOTALL)
        assert found is not None
        second = found[0].replace('id="tiny"', 'id="other"')
        both = f"<VirtualSystemCollection ovf:id='c'><Info>i</Info>{found[0]}{second}"
        return envelope.replace(found[0], f"{both}</VirtualSystemCollection>")

    with pytest.raises(HypervisorError, match="holds 2 machines"):
        vm.bring(rewritten(good, tmp_path / "two.ova", change))
    assert registry(vm.manage) == ""


def test_a_vm_on_a_disk_that_is_away_is_waited_for(
    vm: VirtualBoxMachine, vbox_home, good: Path, mounted: Callable[[str], Path], tmp_path: Path
) -> None:
    disk = mounted("200M")
    vm.bring(good)
    vbox_home.close()  # the service looks for it only when it starts anew
    aside = tmp_path / "aside"
    aside.mkdir()
    subprocess.run(["mount", "--bind", disk, aside], check=True)
    subprocess.run(["umount", "-l", disk], check=True)
    try:
        for attempt in (vm.find, vm.power_on, vm.destroy, lambda: vm.bring(good)):
            with pytest.raises(HypervisorError, match=re.escape(str(disk))) as refused:
                attempt()
            assert "mount" in (refused.value.hint or "")
        assert not list(disk.iterdir())
        subprocess.run(["mount", "--bind", aside, disk], check=True)
        vbox_home.close()
        found = vm.find()
        assert found is not None
        assert len(found.attachments) == 2
    finally:
        subprocess.run(["umount", "-l", aside], check=True)


@pytest.mark.parametrize("propagation", ["shared", "private"])
def test_what_is_mounted_while_the_service_lives_is_seen(
    vm: VirtualBoxMachine, good: Path, mounted: Callable[[str], Path], propagation: str
) -> None:
    subprocess.run(["mount", f"--make-{propagation}", vm.folder.parent], check=True)
    assert vm.find() is None  # starts the service
    disk = mounted("200M")
    vm.bring(good)
    assert len(list(disk.rglob("*.vdi"))) == 2
    subprocess.run(["umount", "-l", disk], check=True)
    assert not list(disk.rglob("*.vdi"))
