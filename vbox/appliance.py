"""Bring an OVA into VirtualBox, and write one with VirtualBox's own exporter."""

import contextlib
import shutil
from pathlib import Path

from vbox import extradata, machine, parse
from vbox.errors import NotOursError, VBoxError
from vbox.machine import OWNER_KEY, Machine
from vbox.runner import Progress, VBoxManage


def bring(
    manage: VBoxManage,
    ova: Path,
    name: str,
    mark: str,
    *,
    folder: Path,
    on_progress: Progress | None = None,
) -> Machine:
    """Import an OVA's one machine under ``name`` and mark it ours; interrupted, nothing is left.

    Its disks become VDI, which can be grown, compacted and take discard.

    Args:
        manage: the VirtualBox.
        ova: the file.
        name: the machine's name here.
        mark: our mark.
        folder: the directory in which VirtualBox makes the machine's own.
        on_progress: called with 0 to 100.

    Raises:
        NotOursError: the name is taken.
        VBoxError: not an OVA, or VirtualBox failed.
    """
    if taken := machine.find(manage, name):
        raise NotOursError(
            f"a VM named {name!r} exists already ({taken[0].settings})",
            hint="give another name with --name",
        )
    before = {uuid for _, uuid in parse.listed(manage.run("list", "vms"))}
    home = folder / name
    fresh = not home.exists()
    home.mkdir(parents=True, exist_ok=True)
    try:
        manage.run(
            "import", str(ova), "--options", "importtovdi",
            "--vsys", "0", "--vmname", name, "--basefolder", str(folder),
            timeout=None, on_progress=on_progress,
        )  # fmt: skip
        made = next(each for each in machine.find(manage, name) if each.uuid not in before)
        extradata.write(manage, made.uuid, OWNER_KEY, mark)
    except BaseException:
        for each in machine.find(manage, name):
            if each.uuid not in before:
                with contextlib.suppress(VBoxError):
                    machine.delete(manage, each)
        if fresh:
            shutil.rmtree(home, ignore_errors=True)
        raise
    return machine.show(manage, made.uuid)


def export(
    manage: VBoxManage,
    looked: Machine,
    ova: Path,
    *,
    on_progress: Progress | None = None,
) -> None:
    """Write an OVA as VirtualBox does: not reproducible, with this host's paths in it.

    VirtualBox locks nothing meanwhile: leave the machine off. Interrupted, no file is left.
    """
    if ova.exists():
        raise VBoxError(f"{ova} exists already")
    try:
        manage.run(
            "export", looked.uuid, "--output", str(ova), "--ovf20",
            timeout=None, on_progress=on_progress,
        )  # fmt: skip
    except BaseException:
        ova.unlink(missing_ok=True)
        raise
