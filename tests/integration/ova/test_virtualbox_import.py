"""The real VBoxManage takes our OVA as it is, and we take VBoxManage's."""

import tarfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provision.errors import VerificationError
from provision.ova import OvaAppliance, OvaDisk, inspect, write_ova
from vbox import VBoxManage, machine

SameContent = Callable[[Path, Path], None]


@pytest.fixture
def imported(
    virtualbox: VBoxManage, tmp_path: Path, appliance: OvaAppliance, disks: list[OvaDisk]
) -> Iterator[machine.Machine]:
    """Our OVA as a VM in VirtualBox."""
    ova = write_ova(tmp_path / "lab.ova", appliance, disks).path
    virtualbox.run("import", str(ova), "--vsys=0", f"--basefolder={tmp_path}")
    vm = machine.show(virtualbox, appliance.name)
    yield vm
    virtualbox.run("unregistervm", appliance.name, "--delete")


def test_the_imported_vm_is_what_the_ova_says(imported: machine.Machine) -> None:
    properties = imported.properties
    assert properties["memory"] == "1536"
    assert properties["cpus"] == "2"
    assert properties["firmware"] == "BIOS"
    assert properties["ostype"].startswith("Debian")
    assert properties["rtcuseutc"] == "on"
    assert properties["audio"] == "none"
    assert properties["uart1"] == "off"
    assert properties["ioapic"] == "on"
    assert {properties["usb"], properties["ehci"], properties["xhci"]} == {"off"}
    assert properties["nic1"] == "nat"
    assert properties["description"] == "ssh -p 2222\nbrowser: http://localhost:8000/"


def test_forwards_and_disks_are_in_place(imported: machine.Machine) -> None:
    rules = {value for key, value in imported.properties.items() if key.startswith("Forwarding(")}
    assert rules == {"ssh,tcp,127.0.0.1,2222,,22", "notebook,tcp,,8000,,8000"}
    assert imported.properties["storagecontrollertype0"] == "IntelAhci"
    assert [(a.controller, a.port) for a in imported.attachments] == [("SATA", 0), ("SATA", 1)]


def test_every_import_gets_a_mac_and_uuid_of_its_own(
    virtualbox: VBoxManage, tmp_path: Path, appliance: OvaAppliance, disks: list[OvaDisk]
) -> None:
    ova = write_ova(tmp_path / "lab.ova", appliance, disks).path
    seen = []
    for name in ("one", "two"):
        virtualbox.run(
            "import", str(ova), "--vsys=0", f"--vmname={name}", f"--basefolder={tmp_path}"
        )
        seen.append(machine.show(virtualbox, name))
    one, two = (vm.properties for vm in seen)
    for name in ("one", "two"):
        virtualbox.run("unregistervm", name, "--delete")
    assert one["macaddress1"] != two["macaddress1"]
    assert one["UUID"] != two["UUID"]


def test_virtualbox_reads_the_disks_as_we_wrote_them(
    virtualbox: VBoxManage,
    imported: machine.Machine,
    tmp_path: Path,
    disks: list[OvaDisk],
    same_content: SameContent,
) -> None:
    for attachment, disk in zip(imported.attachments, disks, strict=True):
        copy = tmp_path / f"{disk.name}.vdi"
        virtualbox.run("clonemedium", str(attachment.medium), str(copy), "--format=VDI")
        same_content(copy, disk.raw_path)
        virtualbox.run("closemedium", "disk", str(copy), "--delete")


@pytest.mark.parametrize(
    "form", [("--ovf10", "1", "SHA1"), ("--ovf20", "2", "SHA256")], ids=lambda form: form[0]
)
def test_virtualboxs_own_export_passes_our_verifier(
    virtualbox: VBoxManage,
    imported: machine.Machine,
    tmp_path: Path,
    disks: list[OvaDisk],
    form: tuple[str, str, str],
) -> None:
    option, version, algorithm = form
    theirs = tmp_path / "theirs.ova"
    serial = tmp_path / "serial.log"
    virtualbox.run("modifyvm", imported.name, "--uart1=0x3F8", "4", "--uartmode1=file", str(serial))
    virtualbox.run("export", imported.name, f"--output={theirs}", option, "--manifest")
    with theirs.open("rb") as stream:
        found = inspect(stream, theirs.name)
    assert found.envelope.version == version
    assert found.manifest == algorithm
    assert found.envelope.systems[0].memory == 1536 * 2**20
    assert [disk.capacity for disk in found.disks] == [d.raw_path.stat().st_size for d in disks]
    kinds = {leak.kind: leak.value for leak in found.leaks}
    assert kinds["path"] == str(serial)
    assert kinds["mac"] == imported.properties["macaddress1"]


def test_a_damaged_export_of_virtualbox_is_found(
    virtualbox: VBoxManage, imported: machine.Machine, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.ova"
    virtualbox.run("export", imported.name, f"--output={theirs}", "--ovf10", "--manifest")
    data = bytearray(theirs.read_bytes())
    with tarfile.open(theirs) as archive:
        image = archive.getmember("Math Lab-disk001.vmdk")
    data[image.offset_data + image.size // 2] ^= 1
    theirs.write_bytes(data)
    with theirs.open("rb") as stream, pytest.raises(VerificationError, match=r"disk001.vmdk"):
        inspect(stream, theirs.name)


def test_a_vm_name_with_every_hard_character_imports(
    virtualbox: VBoxManage, tmp_path: Path, appliance: OvaAppliance, disks: list[OvaDisk]
) -> None:
    name = f'Übung "1" & <a> {uuid.uuid4().hex[:4]}'
    ova = write_ova(tmp_path / "lab.ova", replace(appliance, name=name), disks).path
    virtualbox.run("import", str(ova), "--vsys=0", f"--basefolder={tmp_path}")
    assert machine.show(virtualbox, name).properties["memory"] == "1536"
    virtualbox.run("unregistervm", name, "--delete")
