"""The appliance's own root disk in real VirtualBox: BIOS, GRUB and kernel from the SATA disk."""

import mmap
import time
from pathlib import Path

import driverless
import pytest

from provision.build import places
from provision.config import Config
from provision.config.model import Forward, Network
from provision.machine.virtualbox import VirtualBoxMachine
from vbox import VBoxManage, machine

DEADLINE_SECONDS = 1800  # an interpreter: 3 to 10 minutes to the first lines of the kernel


@pytest.mark.slow
@pytest.mark.timeout(DEADLINE_SECONDS + 300)
def test_grub_and_the_kernel_start_from_the_sata_disk(
    running_manage: VBoxManage, tmp_path: Path
) -> None:
    built = sorted(
        (places.cache() / "stages").glob("*/disks/root.raw"), key=lambda path: path.stat().st_mtime
    )
    assert built, "no root disk in the cache: run `appliance build` first"
    network = Network.model_construct(
        forwards={"ssh": Forward(host=driverless.free_port(), guest=22)}, auto=True
    )
    config = Config.model_construct(
        **{**dict(Config()), "name": "real", "cpus": 1, "memory": 1 << 30, "network": network}
    )
    vm = VirtualBoxMachine(config, running_manage, tmp_path / "data/real", tmp_path / "key")
    try:
        made = vm.define([built[-1], built[-1].with_name("home.raw")])
        _make_the_kernel_talk(made.attachments[0].medium)
        machine.modify(running_manage, made, vm_execution_engine="interpreter")
        vm.power_on()
        deadline = time.monotonic() + DEADLINE_SECONDS
        for stage in ("GRUB", "Linux version"):
            while stage not in _said(vm):
                assert time.monotonic() < deadline, f"no {stage!r} in {_said(vm)[-500:]!r}"
                assert vm.get().state == "running"
                time.sleep(2)
    finally:
        vm.destroy()


def _make_the_kernel_talk(disk: Path) -> None:
    """Change ``quiet`` to ``debug`` in the copy's GRUB configuration, in place."""
    with disk.open("r+b") as file, mmap.mmap(file.fileno(), 0) as image:
        at = image.find(b" ro quiet console=")
        assert at > 0, "no kernel arguments on the root disk"
        image[at : at + 9] = b" ro debug"


def _said(vm: VirtualBoxMachine) -> str:
    return vm.console.read_text(errors="replace") if vm.console.exists() else ""
