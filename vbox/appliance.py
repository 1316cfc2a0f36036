"""Bring an OVA into VirtualBox, and write one with VirtualBox's own exporter."""

import contextlib
import re
import shutil
from pathlib import Path

from vbox import extradata, machine, medium, parse
from vbox.errors import LicenceError, NotOursError, VBoxError
from vbox.machine import OWNER_KEY, Machine
from vbox.runner import Progress, VBoxManage


def bring(
    manage: VBoxManage,
    ova: Path,
    name: str,
    mark: str,
    *,
    folder: Path,
    accept_licence: bool = False,
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
        accept_licence: agree to the licence that the OVA may have.
        on_progress: called with 0 to 100.

    Raises:
        NotOursError: the name is taken.
        LicenceError: it has a licence that was not accepted.
        VBoxError: not an OVA, one of several machines, or VirtualBox failed.
    """
    if taken := machine.find(manage, name):
        raise NotOursError(
            f"a VM named {name!r} exists already ({taken[0].settings})",
            hint="give another name with --name",
        )
    source = str(ova.resolve())  # a name that begins with - would be taken for an option
    _check(manage.run("import", source, "--dry-run"), ova, accept_licence=accept_licence)
    before = {uuid for _, uuid in parse.machines(manage.run("list", "vms"))}
    home = folder / name
    fresh = not home.exists()
    home.mkdir(parents=True, exist_ok=True)
    medium.forget_below(manage, home)
    licence = ("--eula", "accept") if accept_licence else ()
    try:
        manage.run(
            "import", source, "--options", "importtovdi",
            "--vsys", "0", "--vmname", name, "--basefolder", str(folder), *licence,
            timeout=None, on_progress=on_progress,
        )  # fmt: skip
        (*rest, made) = [m for m in machine.find(manage, name) if m.uuid not in before] or (None,)
        if made is None or rest:
            raise VBoxError(f"VirtualBox imported no machine {name!r} from {ova}, and says not why")
        extradata.write(manage, made.uuid, OWNER_KEY, mark)
    except BaseException:
        for each in machine.find(manage, name):
            if each.uuid not in before:
                with contextlib.suppress(VBoxError):
                    machine.delete(manage, each)
        medium.forget_below(manage, home, all_of_them=fresh)
        if fresh:
            shutil.rmtree(home, ignore_errors=True)
        raise
    return machine.show(manage, made.uuid)


def _check(plan: str, ova: Path, *, accept_licence: bool) -> None:
    """Refuse what VirtualBox would import in part, or not at all and without a word.

    Args:
        plan: what ``import --dry-run`` says.
        ova: the file.
        accept_licence: a licence is no obstacle.
    """
    machines = len(re.findall(r"^Virtual system \d+:", plan, re.MULTILINE))
    if machines > 1:
        raise VBoxError(
            f"{ova} holds {machines} machines, an appliance is one",
            hint="export the one that you want by itself",
        )
    if "--eula accept" in plan and not accept_licence:
        raise LicenceError(
            f"{ova} has a licence to accept first",
            hint=f"read it: VBoxManage import {ova} --vsys 0 --eula show",
        )


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
            "export", looked.uuid, "--output", str(ova.resolve()), "--ovf20",
            timeout=None, on_progress=on_progress,
        )  # fmt: skip
    except BaseException:
        ova.unlink(missing_ok=True)
        raise
