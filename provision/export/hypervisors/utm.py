"""UTM on a Mac: a bundle that a double click opens. Apple's processors emulate amd64, slowly.

Source: UTM's configuration of version 4, UTMQemuConfiguration in its sources.
"""

import plistlib
import uuid
from pathlib import Path
from typing import Any

from provision.config.architectures import ARCHITECTURES
from provision.export.hypervisors.machine import Definition, Product

_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "https://docs.getutm.app/")


def _files(machine: Definition) -> dict[str, str]:
    known = ARCHITECTURES[machine.arch]
    identity = uuid.uuid5(_NAMES, machine.name)
    drives = [
        {
            "Identifier": str(uuid.uuid5(identity, file)).upper(),
            "ImageName": Path(file).name,
            "ImageType": "Disk",
            "Interface": "VirtIO",
            "InterfaceVersion": 1,
            "ReadOnly": False,
        }
        for file in machine.disks
    ]
    forwards = [
        {"Protocol": "TCP", "HostAddress": "127.0.0.1", "HostPort": host, "GuestPort": guest}
        for host, guest in machine.forwards.values()
    ]
    config: dict[str, Any] = {
        "Backend": "QEMU",
        "ConfigurationVersion": 4,
        "Information": {"Name": machine.name, "UUID": str(identity).upper(), "IconCustom": False},
        "System": {
            "Architecture": known.machine,
            "Target": known.emulator.board,
            "CPU": "default",
            "CPUCount": machine.cpus,
            "MemorySize": machine.memory >> 20,
            "JITCacheSize": 0,
            "ForceMulticore": False,
            "CPUFlagsAdd": [],
            "CPUFlagsRemove": [],
        },
        "QEMU": {
            "UEFIBoot": known.boot == "efi",
            "RNGDevice": True,
            "Hypervisor": True,
            "RTCLocalTime": False,
            "AdditionalArguments": [],
        },
        "Drive": drives,
        "Network": [
            {
                "Mode": "Emulated",
                "Hardware": "virtio-net-pci",
                "IsolateFromHost": False,
                "PortForward": forwards,
            }
        ],
        "Display": [
            {
                "Hardware": "virtio-vga" if known.boot == "bios" else "virtio-ramfb",
                "DynamicResolution": False,
            }
        ],
        "Serial": [],
        "Sound": [],
        "Input": {"UsbBusSupport": "2.0", "UsbSharing": False, "MaximumUsbShare": 0},
        "Sharing": {"ClipboardSharing": False, "DirectoryShareMode": "None"},
    }
    return {"config.plist": plistlib.dumps(config).decode()}


def _then(_: Definition, directory: Path) -> tuple[str, ...]:
    bundle = directory if directory.suffix == ".utm" else directory.with_suffix(".utm")
    return (
        *(() if bundle == directory else (f"mv {directory} {bundle}",)),
        f"open {bundle}    # on the Mac; 127.0.0.1 has the same ports as with VirtualBox",
    )


UTM = Product(
    disk="qcow2",
    disk_name=lambda number: f"Data/disk{number}.qcow2",
    files=_files,
    then=_then,
    architectures=("amd64", "arm64"),
)
