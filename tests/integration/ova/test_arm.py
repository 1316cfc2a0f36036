"""An appliance for ARM64: what VirtualBox makes of its OVA, and what a host without ARM says."""

import contextlib
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from provision.config import Config, architectures
from provision.errors import ApplianceError, HostNotReadyError
from provision.export.hypervisors import HYPERVISORS, export
from provision.jeos.boot import grub_config
from provision.jeos.disk import FileSystem
from provision.machine.qemu import QemuMachine
from provision.machine.virtualbox import VirtualBoxMachine
from provision.ova import OvaAppliance, OvaDisk, inspection, write_ova
from provision.waiting import until
from vbox import VBoxManage, machine
from vbox import appliance as ovas

ARM = {"arch": "arm64", "name": "arm-lab"}
ROOT = FileSystem("root", "/", 1 << 30, 5, "ext4", "arm-lab", "arm64")
BOOT_SECONDS = 180


@pytest.fixture(scope="module")
def ova(disks: list[OvaDisk], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arm") / "arm-lab.ova"
    write_ova(
        path,
        OvaAppliance(
            name="arm-lab", product="Lab", version="1.0", epoch=1_700_000_000, cpus=2,
            memory=2 << 30, os_type="Debian_arm64", platform="arm",
        ),
        disks,
    )  # fmt: skip
    return path


def settings(found: machine.Machine) -> dict[str, str]:
    known = ("platformArchitecture", "chipset", "firmware", "memory", "cpus", "nictype1", "ostype")
    return {key: found.properties[key] for key in known}


def test_virtualbox_keeps_the_platform(
    virtualbox: VBoxManage, ova: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found = ovas.bring(virtualbox, ova, "arm-lab", "lab", folder=tmp_path)
    request.addfinalizer(lambda: machine.delete(virtualbox, machine.show(virtualbox, found.uuid)))
    expected = {
        "platformArchitecture": "ARM", "chipset": "armv8virtual", "firmware": "EFI",
        "memory": "2048", "cpus": "2", "nictype1": "virtio", "ostype": "Debian (ARM 64-bit)",
    }  # fmt: skip
    assert settings(found) == expected
    assert [each.port for each in found.attachments] == [0, 1]
    again = tmp_path / "again.ova"
    virtualbox.run("export", found.uuid, "-o", str(again))
    (theirs,) = inspection.envelope(again).systems
    (ours,) = inspection.envelope(ova).systems
    assert theirs.architecture == ours.architecture == "arm64"
    assert theirs.system == ours.system == "Debian_arm64"


def test_a_defined_vm_is_as_an_imported_one(
    virtualbox: VBoxManage, ova: Path, disks: list[OvaDisk], tmp_path: Path
) -> None:
    config = Config(**ARM)
    vm = VirtualBoxMachine(config, virtualbox, tmp_path / "vm", tmp_path / "key")
    try:
        defined = settings(machine.show(virtualbox, vm.define([d.raw_path for d in disks]).uuid))
        vm.destroy()
        with pytest.MonkeyPatch.context() as patch:  # as on a Mac
            patch.setattr(architectures, "of_this_host", lambda: "arm64")
            imported = settings(machine.show(virtualbox, vm.bring(ova).uuid))
        assert imported == defined
        assert defined["platformArchitecture"] == "ARM"
    finally:
        vm.destroy()


def test_a_host_of_another_kind_refuses_it(
    virtualbox: VBoxManage, ova: Path, tmp_path: Path
) -> None:
    vm = VirtualBoxMachine(Config(name="arm-lab"), virtualbox, tmp_path / "vm", tmp_path / "key")
    with pytest.raises(HostNotReadyError, match=r"arm-lab\.ova is for computers with ARM64"):
        vm.bring(ova)
    assert not vm.find()


@pytest.mark.parametrize("name", HYPERVISORS)
def test_other_hypervisors_get_it_where_they_can_run_it(
    ova: Path, tmp_path: Path, name: str
) -> None:
    hypervisor = HYPERVISORS[name]
    if "arm64" not in hypervisor.architectures:
        with pytest.raises(ApplianceError, match="is for arm64"):
            export(ova, hypervisor, tmp_path / name)
        assert not (tmp_path / name).exists()
        return
    assert export(ova, hypervisor, tmp_path / name).arch == "arm64"
    (definition,) = hypervisor.files(export(ova, hypervisor, tmp_path / "again")).values()
    assert "aarch64" in definition
    assert "x86" not in definition
    assert ('firmware="efi"' if name == "libvirt" else "<key>UEFIBoot</key>\n\t\t<true/>") in (
        definition
    )


@pytest.fixture(scope="module")
def bootable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root disk with nothing on it but GRUB's menu, made by tools for ARM64 of the guest's."""
    place = tmp_path_factory.mktemp("efi")
    tree = place / "tree"
    (place / "grub.cfg").write_text(grub_config(ROOT.identity, "arm64"))
    program = f"""
        import subprocess
        from pathlib import Path
        from provision.jeos.archive import sources
        from provision.jeos.disk import make_disk
        from provision.machine.containment import contain
        from tests.integration.ova.test_arm import ROOT

        contain("arm64")
        place, tree = Path({str(place)!r}), Path({str(tree)!r})
        (main, *_) = sources("debian", "trixie", None, arch="arm64")
        subprocess.run(
            ["mmdebstrap", "--mode=root", "--variant=extract", "--architectures=arm64",
             "--include=grub-efi-arm64-bin,grub-common,e2fsprogs", "trixie", tree, "-"],
            input=main.line() + "\\n", text=True, check=True,
        )
        boot = place / "boot" / "boot/grub"
        boot.mkdir(parents=True)
        (place / "grub.cfg").rename(boot / "grub.cfg")
        for name in ("one", "two"):
            make_disk(ROOT, place / "boot", place / f"{{name}}.raw", tools=tree, epoch=1700000000)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return place


def test_the_same_disk_is_the_same_bytes(bootable: Path) -> None:
    assert (bootable / "one.raw").read_bytes() == (bootable / "two.raw").read_bytes()


def test_efi_finds_grub_and_grub_its_menu(bootable: Path) -> None:
    with QemuMachine([bootable / "one.raw"], arch="arm64", directory=bootable / "vm") as vm:

        def start() -> None:
            with contextlib.suppress(ApplianceError):  # there is no system behind the menu
                vm.start()

        threading.Thread(target=start, daemon=True).start()
        found = until(
            lambda: vm.console.exists() and b"/vmlinuz' not found" in vm.console.read_bytes(),
            BOOT_SECONDS,
        )
        assert found, vm.console.read_text(errors="replace")[-2000:]
