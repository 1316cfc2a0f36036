"""A snapshot of a VM to fall back on: its root disk goes back, its other disks do not.

VirtualBox's own restore takes all disks back, and with /home what students wrote since.
"""

import uuid
from dataclasses import dataclass

from provision.machine.hypervisor import ROOT_PORT
from provision.machine.virtualbox import CONTROLLER, translating
from provision.progress import step
from vbox import VBoxManage, machine, medium, snapshot

NAME = "appliance-upgrade"


@dataclass(frozen=True)
class VirtualBoxFallback:
    """The snapshot of one VM.

    Args:
        manage: the VirtualBox.
        vm: the VM's UUID.
    """

    manage: VBoxManage
    vm: str

    def take(self) -> None:
        """Take it, the VM running or not; one that an earlier run left goes first.

        Raises:
            HypervisorError: VirtualBox refuses.
        """
        with translating(), step("take a snapshot"):
            self.drop()
            snapshot.take(self.manage, machine.show(self.manage, self.vm), NAME)

    def back(self) -> None:
        """Cut the power and have the root disk as it was; the VM is off afterwards.

        Raises:
            HypervisorError: VirtualBox refuses.
        """
        with translating(), step("go back to the snapshot"):
            now = machine.show(self.manage, self.vm)
            if now.running:
                machine.power_off(self.manage, now)
                now = machine.show(self.manage, self.vm)
            root = now.disks[ROOT_PORT]
            frozen = medium.inspect(self.manage, root).parent
            fresh = root.with_name(f"root-{uuid.uuid4().hex[:8]}.vdi")
            self.manage.run(
                "createmedium", "disk", "--filename", str(fresh), "--diffparent", str(frozen)
            )
            medium.attach(self.manage, now, CONTROLLER, ROOT_PORT, fresh)
            medium.delete(self.manage, root)

    def start(self) -> None:
        """Power on."""
        with translating():
            machine.start(self.manage, machine.show(self.manage, self.vm))

    def drop(self) -> None:
        """Delete it, if it is there; the disks stay as they are now."""
        with translating():
            now = machine.show(self.manage, self.vm)
            if any(each.name == NAME for each in snapshot.snapshots(self.manage, now)):
                snapshot.delete(self.manage, now, NAME)
