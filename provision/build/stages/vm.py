"""The VM in this host's VirtualBox."""

from pathlib import Path

from provision.build import places
from provision.build.artefacts import Product
from provision.config import Config
from provision.errors import HostNotReadyError
from provision.machine.hypervisor import of_this_host
from provision.progress import note


def define_vm(config: Config, disks: tuple[Path, ...], *, fetch: bool) -> Product | None:
    """Define the VM in VirtualBox from copies of the disks.

    A VM that an earlier build defined may hold a class's work: it is left as it is.

    Args:
        config: the appliance.
        disks: raw images, root first.
        fetch: fetch a VirtualBox where none is installed; it starts no VM.

    Returns:
        Where its settings are; None when nothing was defined.
    """
    folder = places.data(config.name)
    try:
        machine = of_this_host(fetch=fetch).machine(config, folder, places.admin_key(config.name))
    except HostNotReadyError as error:
        note(f"no VM is defined: {error}")
        return None
    if machine.find() is not None:
        note(
            f"the VM {config.name!r} is of an earlier build and was left alone:"
            " `appliance destroy`, then build again, to replace it with its disks"
        )
        return None
    return {"path": str(machine.define(disks).settings)}
