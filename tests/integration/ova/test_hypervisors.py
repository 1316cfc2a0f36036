"""Our OVA for other hypervisors: what real tools say of the disks and the definitions."""

import dataclasses
import json
import plistlib
import socket
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.build.build import Built
from provision.cli import main
from provision.errors import ApplianceError, VerificationError
from provision.export.hypervisors import HYPERVISORS, export
from provision.machine.ports import free_port
from provision.ova import OvaAppliance, OvaDisk, write_ova
from provision.process import require
from provision.waiting import until


@pytest.fixture
def ova(tmp_path: Path, appliance: OvaAppliance, disks: list[OvaDisk]) -> Path:
    path = tmp_path / "appliance.ova"
    write_ova(path, appliance, disks)
    return path


@pytest.mark.parametrize("name", HYPERVISORS)
def test_the_disks_are_the_same_in_each_format(
    name: str,
    ova: Path,
    tmp_path: Path,
    disks: list[OvaDisk],
    same_content: Callable[[Path, Path], None],
) -> None:
    target = tmp_path / "out" / name
    machine = export(ova, HYPERVISORS[name], target)
    qemu_img = require("qemu-img", "qemu-utils")
    for disk, file in zip(disks, machine.disks, strict=True):
        made = target / file
        asked = [qemu_img, "info", "--output", "json", made]
        told = subprocess.run(asked, check=True, capture_output=True)
        assert json.loads(told.stdout)["format"] == HYPERVISORS[name].disk
        if HYPERVISORS[name].disk != "vmdk":  # qemu-img checks no VMDK of this kind
            subprocess.run([qemu_img, "check", "-q", made], check=True)
        same_content(disk.raw_path, made)
    assert HYPERVISORS[name].then(machine, target)
    assert [path.name for path in target.parent.iterdir()] == [name]


def test_each_definition_has_the_machine_that_the_ova_describes(ova: Path, tmp_path: Path) -> None:
    def written(name: str, file: str) -> str:
        export(ova, HYPERVISORS[name], tmp_path / name)
        return (tmp_path / name / file).read_text()

    domain = ET.fromstring(written("libvirt", "domain.xml"))  # noqa: S314 (our own)
    assert domain.findtext("name") == "Math-Lab"
    assert domain.findtext("memory") == str(1536 << 20)
    assert domain.findtext("vcpu") == "2"
    assert len(domain.findall("devices/disk")) == 2
    plist = plistlib.loads(written("utm", "config.plist").encode())
    assert plist["System"]["MemorySize"] == 1536
    assert [drive["ImageName"] for drive in plist["Drive"]] == ["disk0.qcow2", "disk1.qcow2"]
    ports = [(f["HostPort"], f["GuestPort"]) for f in plist["Network"][0]["PortForward"]]
    assert ports == [(2222, 22), (8000, 8000)]
    script = written("proxmox", "proxmox.sh")
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "qm").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (fake / "qm").chmod(0o755)
    called = subprocess.run(
        ["sh", tmp_path / "proxmox/proxmox.sh", "120", "pool one", "vmbr7"],
        env={"PATH": f"{fake}:/usr/bin:/bin"}, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert called[:4] == ["create", "120", "--name", "Math-Lab"]
    assert "virtio,bridge=vmbr7" in called
    assert f"pool one:0,import-from={tmp_path}/proxmox/disk0.qcow2,discard=on" in called
    vmx = dict(line.split(" = ") for line in written("vmware", "appliance.vmx").splitlines())
    assert (vmx["memsize"], vmx["numvcpus"]) == ('"1536"', '"2"')
    assert vmx["scsi0:1.fileName"] == '"disk1.vmdk"'
    power = written("hyperv", "hyper-v.ps1")
    assert f"-MemoryStartupBytes {1536 << 20}" in power
    assert "(Join-Path $PSScriptRoot 'disk1.vhdx')" in power


def test_nothing_half_made_stays_and_nothing_is_overwritten(ova: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    damaged = tmp_path / "damaged.ova"
    data = bytearray(ova.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(VerificationError):
        export(damaged, HYPERVISORS["libvirt"], target)
    assert not target.exists()
    target.mkdir()
    (target / "mine").write_text("kept")
    with pytest.raises(ApplianceError, match="not empty"):
        export(ova, HYPERVISORS["libvirt"], target)
    assert (target / "mine").read_text() == "kept"
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"appliance.ova", "damaged.ova", "out"}


def test_the_verb(ova: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "libvirt", str(tmp_path / "out"), "--ova", str(ova), "--json"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["disks"] == ["disk0.qcow2", "disk1.qcow2"]
    with pytest.raises(SystemExit) as ended:
        main(["export", "utm", str(tmp_path / "other"), "--set", "name=nowhere"])
    assert ended.value.code == 1
    assert "is not there" in capsys.readouterr().err


@pytest.mark.slow
def test_libvirt_takes_the_domain(ova: Path, tmp_path: Path) -> None:
    """By its schema, and by its test driver."""
    export(ova, HYPERVISORS["libvirt"], tmp_path / "out")
    validate = require("virt-xml-validate", "libvirt-clients and libxml2-utils")
    subprocess.run([validate, tmp_path / "out/domain.xml", "domain"], check=True)
    virsh = [require("virsh", "libvirt-clients"), "--connect", "test:///default"]
    domain = tmp_path / "test.xml"
    text = (tmp_path / "out/domain.xml").read_text()
    domain.write_text(text.replace('<domain type="kvm">', '<domain type="test">'))
    commands = f"define {domain}; domblklist Math-Lab"
    told = subprocess.run([*virsh, commands], check=True, capture_output=True, text=True).stdout
    assert "/var/lib/libvirt/images/Math-Lab/disk0.qcow2" in told


def test_a_name_steers_nothing(
    tmp_path: Path, appliance: OvaAppliance, disks: list[OvaDisk]
) -> None:
    ova = tmp_path / "appliance.ova"
    write_ova(ova, dataclasses.replace(appliance, name="$(id)'; \"x"), disks[1:])
    for name, hypervisor in HYPERVISORS.items():
        machine = export(ova, hypervisor, tmp_path / name)
        assert machine.name == "id-x"
        for text in (*hypervisor.files(machine).values(), *hypervisor.then(machine, tmp_path)):
            assert "$(id)" not in text


# The devices that each definition names, as QEMU has them.
DEVICES = {
    "libvirt": ("q35", "virtio-net-pci", ("-device", "virtio-blk-pci,drive=disk{0}")),
    "vmware": ("q35", "vmxnet3", ("-device", "scsi-hd,bus=scsi.0,drive=disk{0}")),
    "hyperv": ("pc", "tulip", ("-device", "ide-hd,bus=ide.0,unit={0},drive=disk{0}")),
}


def greeting(port: int) -> bool:
    """Whether an SSH server answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
            return link.recv(4) == b"SSH-"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", DEVICES)
def test_the_appliance_boots_from_the_very_files(name: str, tmp_path: Path, built: Built) -> None:
    """Up to SSH over that network card; without a processor's help that takes minutes."""
    machine = export(built.output, HYPERVISORS[name], tmp_path / "out")
    board, network, device = DEVICES[name]
    console, port = tmp_path / "console", free_port()
    forward = f"restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"
    argv = [
        *(require("qemu-system-x86_64", "qemu-system-x86"), "-machine", f"{board},accel=kvm:tcg"),
        *("-cpu", "max", "-smp", "2", "-m", "2048", "-display", "none", "-snapshot"),
        *("-serial", f"file:{console}", "-nic", f"user,{forward},model={network}"),
        *(("-device", "pvscsi,id=scsi") if name == "vmware" else ()),
    ]
    for number, file in enumerate(machine.disks):
        image = f"file={tmp_path / 'out' / file},format={HYPERVISORS[name].disk}"
        argv += ["-drive", f"if=none,id=disk{number},{image}"]
        argv += [word.format(number) for word in device]
    with subprocess.Popen(argv) as qemu:
        try:
            assert until(lambda: greeting(port), 1800, pause=5), console.read_bytes()[-2000:]
        finally:
            qemu.kill()
