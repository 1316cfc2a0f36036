"""Exchange the root disk of a VM for another; the old one is kept until it is confirmed.

For a VM that was built or imported here. One that was pulled has its versions beside each other,
see `provision.distribution.installed`.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path

from provision.errors import UsageError
from provision.machine import SshEndpoint
from provision.machine.hypervisor import PUBLISHED, ROOT_PORT, VirtualMachine, refuse_snapshots
from provision.progress import step

KEPT = "appliance/kept-root"


@dataclass(frozen=True)
class RootDisk:
    """The root disk of a VM.

    Args:
        vm: the VM.
    """

    vm: VirtualMachine

    def old_disk(self) -> Path | None:
        """The old root disk that waits to be confirmed; None: there is none."""
        found = self.vm.get()
        kept = self.vm.notes(found).get(KEPT)
        # Killed before the exchange, the old one is still in its slot; killed while it was
        # confirmed, it is gone.
        old = Path(kept) if kept else None
        return old if old and old != found.disks[ROOT_PORT] and old.exists() else None

    def prepare(self, image: Path) -> Path:
        """Copy an image beside the VM's disks, while the VM runs.

        Args:
            image: the new root disk: raw, VDI or VMDK; it is not changed.

        Raises:
            UsageError: one waits already, or the VM was pulled.
            HypervisorError: the VM has snapshots, or the copy fails.
        """
        found = self.vm.get()
        if PUBLISHED in self.vm.notes(found):
            raise UsageError(
                f"the VM {found.name!r} was pulled", hint="appliance pull brings its next root"
            )
        if self.old_disk():
            raise UsageError(
                f"the old root disk of {found.name!r} is still kept",
                hint="appliance replace-root --confirm, or --rollback",
            )
        refuse_snapshots(found)
        for left in found.settings.parent.glob("root-*.vdi"):
            if left != found.disks[ROOT_PORT]:
                self.vm.remove(left)
        target = found.settings.parent / f"root-{uuid.uuid4().hex[:8]}.vdi"
        with step(f"copy {image.name}"):
            self.vm.copy(image, target)
        return target

    def exchange(self, new: Path) -> None:
        """Put a prepared disk in, the VM being off. Killed, the one or the other is in.

        Raises:
            HypervisorError: VirtualBox refuses.
        """
        with step("exchange the root disk"):
            found = self.vm.get()
            self.vm.note(found, KEPT, str(found.disks[ROOT_PORT]))
            self.vm.attach(found, ROOT_PORT, new)
            self.vm.settle(self.vm.get())

    def put_back(self) -> None:
        """Put the kept disk back, the VM being off, and delete the other.

        Raises:
            UsageError: none is kept.
        """
        kept = self._require()
        with step("put the old root disk back"):
            found = self.vm.get()
            self.vm.attach(found, ROOT_PORT, kept)
            self.vm.note(found, KEPT, None)
            self.vm.remove(found.disks[ROOT_PORT])

    def confirm(self) -> Path:
        """Delete the kept disk; the VM may run. Returns what was deleted.

        Raises:
            UsageError: none is kept.
        """
        kept = self._require()
        with step("delete the old root disk"):
            self.vm.remove(kept)
            self.vm.note(self.vm.get(), KEPT, None)
        return kept

    def start(self) -> SshEndpoint:
        """Power on and wait for SSH."""
        return self.vm.start()

    def stop(self) -> None:
        """Shut down in order."""
        self.vm.stop()

    def _require(self) -> Path:
        kept = self.old_disk()
        if kept is None:
            raise UsageError(f"no old root disk of {self.vm.config.name!r} is kept")
        return kept
