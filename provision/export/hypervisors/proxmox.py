"""Proxmox VE: a script for `qm`, to be run as root on the node.

Source: qm(1), `import-from` of Proxmox VE 7.2 and later.
"""

from pathlib import Path

from provision.export.hypervisors.machine import Definition, Product

SCRIPT = """\
#!/bin/sh
# proxmox.sh VMID [STORAGE] [BRIDGE]: make the VM from the disks beside this file.
set -eu
vmid=${{1:?usage: proxmox.sh VMID [STORAGE] [BRIDGE]}}
storage=${{2:-local-lvm}} bridge=${{3:-vmbr0}}
here=$(cd "$(dirname "$0")" && pwd)
qm create "$vmid" --name {name} --ostype l26 --memory {memory} --cores {cpus} --cpu host \\
  --scsihw virtio-scsi-single --net0 "virtio,bridge=$bridge" \\
  --serial0 socket --rng0 source=/dev/urandom \\
  {disks} \\
  --boot order=scsi0
echo "qm start $vmid"
"""


def _files(machine: Definition) -> dict[str, str]:
    disks = " ".join(
        f'--scsi{number} "$storage:0,import-from=$here/{file},discard=on"'
        for number, file in enumerate(machine.disks)
    )
    return {
        "proxmox.sh": SCRIPT.format(
            name=machine.name,
            memory=machine.memory >> 20,
            cpus=machine.cpus,
            disks=disks,
        )
    }


def _then(_: Definition, directory: Path) -> tuple[str, ...]:
    return (
        f"scp -r {directory} root@NODE:/var/tmp/",
        f"ssh root@NODE sh /var/tmp/{directory.name}/proxmox.sh VMID local-lvm vmbr0",
        "the VM is on the bridge: the room opens its own address, no port is handed on",
    )


PROXMOX = Product(
    disk="qcow2",
    disk_name=lambda number: f"disk{number}.qcow2",
    files=_files,
    then=_then,
)
