"""libvirt with QEMU and KVM: a domain for `virsh define`.

Source: libvirt's domain XML format, https://libvirt.org/formatdomain.html.
"""

from pathlib import Path
from xml.sax.saxutils import quoteattr

from provision.config.architectures import ARCHITECTURES
from provision.export.hypervisors.machine import Definition, Product

# The guest knows its disks by UUID and takes any Ethernet: virtio is the fastest of both.
DOMAIN = """\
<domain type="kvm">
  <name>{name}</name>
  <memory unit="bytes">{memory}</memory>
  <vcpu>{cpus}</vcpu>
  <os{firmware}>
    <type arch="{machine}"{board}>hvm</type>
    <boot dev="hd"/>
  </os>
  <features><acpi/>{features}</features>
  <cpu mode="host-passthrough"/>
  <clock offset="utc"/>
  <devices>
{disks}
    <interface type="network">
      <source network="default"/>
      <model type="virtio"/>
    </interface>
    <console type="pty"/>
    <graphics type="vnc" listen="127.0.0.1"/>
    <rng model="virtio"><backend model="random">/dev/urandom</backend></rng>
  </devices>
</domain>
"""
DISK = """\
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2" discard="unmap"/>
      <source file={path}/>
      <target dev="vd{letter}" bus="virtio"/>
    </disk>"""
IMAGES = Path("/var/lib/libvirt/images")


def _files(machine: Definition) -> dict[str, str]:
    disks = (
        DISK.format(path=quoteattr(str(IMAGES / machine.name / file)), letter="abcdefgh"[number])
        for number, file in enumerate(machine.disks)
    )
    known = ARCHITECTURES[machine.arch]
    efi = known.boot == "efi"
    domain = DOMAIN.format(
        name=machine.name,
        memory=machine.memory,
        cpus=machine.cpus,
        machine=known.machine,
        firmware=' firmware="efi"' * efi,
        board=f' machine="{known.emulator.board}"' * efi,
        features='<gic version="host"/>' if efi else "<apic/>",
        disks="\n".join(disks),
    )
    return {"domain.xml": domain}


def _then(machine: Definition, directory: Path) -> tuple[str, ...]:
    return (
        f"sudo cp --sparse=always -rT {directory} {IMAGES / machine.name}",
        f"virsh --connect qemu:///system define {directory / 'domain.xml'}",
        f"virsh --connect qemu:///system start {machine.name}",
        f"virsh --connect qemu:///system domifaddr {machine.name}    # its address on this host",
        "for the whole room: <interface type='bridge'><source bridge='br0'/> in the domain",
    )


LIBVIRT = Product(
    disk="qcow2",
    disk_name=lambda number: f"disk{number}.qcow2",
    files=_files,
    then=_then,
    architectures=("amd64", "arm64"),
)
