"""Copies on one host, and the way back between lessons, in the real VirtualBox."""

import struct
import time
from pathlib import Path

import driverless
import pytest
from publishing import Publisher, Room

from provision.config import Config
from provision.distribution.clone import clone
from provision.distribution.pull import open_installed
from vbox import VBoxManage, machine, medium, nat

# Of a VDI's header, see provision/distribution/vdi.py.
MAP_AND_DATA = struct.calcsize("<64s4II256s")
ALLOCATED = struct.calcsize("<64s4II256s2I4IIQ3I")


def test_linked_clones_share_the_image_and_nothing_else(room: Room) -> None:
    room.publisher.publish(1)
    room.pull()
    copies = clone(room.here, 2, linked=True)
    assert [copy.name for copy in copies] == ["sage-01", "sage-02"]
    found = [machine.find(room.manage, copy.name)[0] for copy in copies]
    assert len({each.properties["macaddress1"] for each in found}) == 2
    ports = [forward.host_port for each in found for forward in nat.read_forwards(each)]
    assert len(set(ports)) == len(ports) == 2 * len(Config().network.forwards)
    roots = [each.attachments[0].medium for each in found]
    parents = {medium.inspect(room.manage, root).parent for root in roots}
    assert parents == {medium.inspect(room.manage, room.root()).uuid}
    assert all(root.stat().st_size < 4 << 20 for root in roots)
    again = clone(room.here, 2, linked=True)  # nothing left to do
    assert again == copies
    # The source moves on; its copies keep what they stand on.
    room.publisher.publish(2)
    room.pull()
    room.publisher.publish(3)
    room.pull()
    second = open_installed(room.folders, room.hypervisor, "sage-02")
    second.reset()
    assert medium.inspect(room.manage, second.bases()[0]).usable
    # And a copy can be updated by itself.
    room.pull(name="sage-02")
    assert second.version() == room.here.version()


@pytest.mark.slow
def test_thirty_linked_clones(room: Room) -> None:
    room.publisher.publish(1)
    room.pull()
    copies = clone(room.here, 30, linked=True)
    assert [copy.name for copy in copies] == [f"sage-{seat:02d}" for seat in range(1, 31)]
    ports = [port for copy in copies for port in copy.ports.values()]
    assert len(set(ports)) == len(ports) == 30 * len(Config().network.forwards)
    images = [image for copy in copies for image in (room.folders / copy.name).rglob("*.vdi")]
    assert len(images) == 60
    assert sum(image.stat().st_size for image in images) < room.root().stat().st_size * 10


def test_full_clone_stands_on_its_own(room: Room) -> None:
    room.publisher.publish(1)
    room.pull()
    clone(room.here, 1, linked=False)
    copy = open_installed(room.folders, room.hypervisor, "sage-01")
    assert copy.bases()[0].is_relative_to(room.folders / "sage-01")


def test_reset_takes_seconds_and_keeps_home(room: Room) -> None:
    room.publisher.publish(1)
    room.pull()
    root, home = (each.medium for each in room.here.machine.get().attachments)
    begun = time.monotonic()
    room.here.reset()
    assert time.monotonic() - begun < 60
    now = [each.medium for each in room.here.machine.get().attachments]
    assert (now[0] != root, now[1] == home) == (True, True)
    assert not root.exists()
    room.assert_version(1)
    room.here.reset(clear_home=True)
    assert room.here.machine.get().attachments[1].medium != home
    assert not home.exists()


def test_immutable_mode_survives_an_update(room: Room) -> None:
    room.publisher.publish(1)
    room.pull()
    room.here.reset_at_start(wanted=True)
    room.publisher.publish(2)
    room.pull()
    live = room.here.machine.get().attachments[0].medium
    assert "Auto-Reset:     on" in room.manage.run("showmediuminfo", "disk", str(live))
    room.here.reset_at_start(wanted=False)
    assert "Auto-Reset:     off" in room.manage.run("showmediuminfo", "disk", str(live))


def test_immutable_mode_discards_what_was_written_at_each_start(
    publisher: Publisher, running_manage: VBoxManage, tmp_path: Path
) -> None:
    publisher.publish(1)
    room = Room(publisher, running_manage, tmp_path / "seat")
    room.pull()
    room.here.reset_at_start(wanted=True)
    found = room.here.machine.get()
    machine.modify(room.manage, found, memory=64, cpus=1)
    driverless.interpreted(room.manage, found)
    for _ in range(2):
        _write_into(found.attachments[0].medium)
        with pytest.raises(AssertionError, match="not version 1"):
            room.assert_version(1)
        machine.start(room.manage, found)
        machine.power_off(room.manage, found)
        room.assert_version(1)


def _write_into(live: Path) -> None:
    """Give a differencing image a first block of its own, as a guest that writes does."""
    numbers = struct.Struct("<I")
    with live.open("r+b") as file:
        header = file.read(400)
        (places, data) = struct.unpack_from("<2I", header, MAP_AND_DATA)
        file.seek(ALLOCATED)
        file.write(numbers.pack(1))
        file.seek(places)
        file.write(numbers.pack(0))
        file.truncate(data)
        file.seek(data)
        file.write(b"written by a guest".ljust(1 << 20, b"\xaa"))
