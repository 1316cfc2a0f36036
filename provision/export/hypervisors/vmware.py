"""VMware Workstation and Fusion: a .vmx; ESXi and vCenter take the OVA itself.

Source: VMware's "Virtual machine hardware versions" and the keys that Workstation writes itself.
"""

from pathlib import Path

from provision.export.hypervisors.machine import Definition, Product

HARDWARE = 14
"""Of Workstation 14, Fusion 10 and ESXi 6.7: the oldest that knows all of this."""


def _files(machine: Definition) -> dict[str, str]:
    pairs = {
        ".encoding": "UTF-8",
        "config.version": "8",
        "virtualHW.version": HARDWARE,
        "displayName": machine.name,
        "guestOS": "debian10-64",
        "firmware": "bios",
        "numvcpus": machine.cpus,
        "memsize": machine.memory >> 20,
        "pciBridge0.present": "TRUE",
        **{
            key: value
            for number in range(4, 8)
            for key, value in {
                f"pciBridge{number}.present": "TRUE",
                f"pciBridge{number}.virtualDev": "pcieRootPort",
                f"pciBridge{number}.functions": "8",
            }.items()
        },
        "scsi0.present": "TRUE",
        "scsi0.virtualDev": "pvscsi",
        "ethernet0.present": "TRUE",
        "ethernet0.connectionType": "nat",
        "ethernet0.virtualDev": "vmxnet3",
        "ethernet0.addressType": "generated",
        "serial0.present": "FALSE",
    }
    for number, file in enumerate(machine.disks):
        pairs[f"scsi0:{number}.present"] = "TRUE"
        pairs[f"scsi0:{number}.fileName"] = file
    return {"appliance.vmx": "".join(f'{key} = "{value}"\n' for key, value in pairs.items())}


def _then(machine: Definition, directory: Path) -> tuple[str, ...]:
    ports = ", ".join(
        f"{host} = ADDRESS:{guest}" for host, guest in sorted(machine.forwards.values())
    )
    return (
        f"open {directory / 'appliance.vmx'} in Workstation or Fusion",
        f"to hand ports on, below [incomingtcp] of vmnetnat.conf: {ports}",
        "for the whole room: ethernet0.connectionType = bridged",
        "ESXi and vCenter take the OVA itself: Deploy OVF template",
    )


VMWARE = Product(
    disk="vmdk",
    options="subformat=monolithicSparse,adapter_type=lsilogic",
    disk_name=lambda number: f"disk{number}.vmdk",
    files=_files,
    then=_then,
)
