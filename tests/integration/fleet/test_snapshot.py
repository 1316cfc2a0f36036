"""An upgrade of the system with a VM of this host's VirtualBox behind it: a snapshot to go back to.

VirtualBox is real and runs a VM; without its driver that is a tiny one. The appliance itself is a
container whose SSH server has the port that the VM forwards, so that it is taken for the VM.
"""

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from guests import Fleet

sys.path.insert(0, str(Path(__file__).parents[2] / "virtualbox"))
import driverless

from provision.config import Config
from provision.config.model import Forward, Network
from provision.errors import GuestError
from provision.fleet import inventory, local, system
from provision.fleet.system import SystemOptions, upgrade_system
from provision.fleet.upgrade import WentBackError
from provision.machine import fallback, keys
from provision.machine.ports import free_port
from provision.machine.virtualbox import VirtualBox, VirtualBoxMachine
from vbox import VBoxManage, machine, snapshot

_spec = importlib.util.spec_from_file_location(
    "virtualbox_fixtures", Path(__file__).parents[1] / "vbox/conftest.py"
)
assert _spec and _spec.loader
_virtualbox = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_virtualbox)
fetched, vbox_home = _virtualbox.fetched, _virtualbox.vbox_home
driverless_program, running_manage = _virtualbox.driverless_program, _virtualbox.running_manage
tiny_image, eventually = _virtualbox.tiny_image, _virtualbox.eventually

MIB = 1 << 20
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def vm(
    one: Fleet,
    running_manage: VBoxManage,
    tiny_image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[VirtualBoxMachine]:
    """A VM that runs, whose forwarded SSH port is the appliance's."""
    monkeypatch.setattr(local, "of_this_host", lambda: VirtualBox(running_manage))
    keys.generate(tmp_path / "key", comment="test")
    forwards = {"ssh": Forward(host=one.guests[0].ssh, guest=22)}
    network = Network.model_construct(forwards=forwards, auto=False)
    config = Config.model_construct(
        **{**dict(Config()), "name": "tiny", "cpus": 1, "memory": 32 * MIB, "network": network}
    )
    made = VirtualBoxMachine(config, running_manage, tmp_path / "data/tiny", tmp_path / "key")
    try:
        made.define([tiny_image])
        driverless.interpreted(running_manage, made.get())
        machine.start(running_manage, made.get())  # the port is held: VirtualBox starts it anyway
        yield made
    finally:
        made.destroy()


def upgraded(one: Fleet, told: list[str], options: SystemOptions) -> GuestError | None:
    """Upgrade in this process; what it said, step by step, and how it failed."""
    guest = one.guests[0]
    try:
        upgrade_system(
            guest.host, inventory.read(one.inventory), options, lambda step, _: told.append(step)
        )
    except GuestError as error:
        return error
    return None


def test_a_snapshot_is_taken_and_dropped(one: Fleet, vm: VirtualBoxMachine) -> None:
    before, told = vm.get().attachments[0].medium, []
    seen: list[object] = []

    def look(step: str, _: str) -> None:
        told.append(step)
        if step == "record":
            seen.extend(each.name for each in snapshot.snapshots(vm.manage, vm.get()))

    known = inventory.read(one.inventory)
    upgrade_system(one.guests[0].host, known, SystemOptions(packages=False), look)
    assert told == ["connect", "check", "snapshot", "record", "health"]
    assert seen == [fallback.NAME]
    assert snapshot.snapshots(vm.manage, vm.get()) == ()
    assert vm.get().state == "running"
    assert before.parent == vm.get().attachments[0].medium.parent


def test_who_is_lost_in_its_reboot_gets_its_root_disk_back(
    one: Fleet,
    vm: VirtualBoxMachine,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., object],
) -> None:
    guest = one.guests[0]
    monkeypatch.setattr(system, "BOOT_SECONDS", 90.0)
    guest.run("touch /run/reboot-required")
    told: list[str] = []
    outcome: list[GuestError | None] = []
    caller = threading.Thread(
        target=lambda: outcome.append(upgraded(one, told, SystemOptions(packages=False)))
    )
    caller.start()
    assert guest.machine is not None and guest.machine.process is not None
    guest.machine.process.wait(240)  # it goes down for its reboot, and does not come back
    taken = vm.get().attachments[0].medium
    guest.stop()
    eventually(lambda: "back" in told, 240)
    eventually(lambda: not taken.exists(), 240)
    guest.ssh = free_port()  # the VM has the other one now
    guest.start(one.inventory)
    caller.join(300)
    (error,) = outcome
    assert isinstance(error, WentBackError), (error, told)
    assert "its root disk is as it was" in str(error)
    assert (vm.get().state, vm.get().attachments[0].medium != taken) == ("running", True)
    assert snapshot.snapshots(vm.manage, vm.get()) == ()
