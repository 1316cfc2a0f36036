"""The appliance for the hypervisor that the school has: one file for each."""

from collections.abc import Mapping

from provision.export.hypervisors import hyperv, libvirt, proxmox, utm, vmware
from provision.export.hypervisors.machine import Definition, Product, export

__all__ = ["HYPERVISORS", "Definition", "Product", "export"]

HYPERVISORS: Mapping[str, Product] = {
    "proxmox": proxmox.PROXMOX,
    "libvirt": libvirt.LIBVIRT,
    "hyperv": hyperv.HYPERV,
    "vmware": vmware.VMWARE,
    "utm": utm.UTM,
}
