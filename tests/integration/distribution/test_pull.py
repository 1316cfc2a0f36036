"""A seat with the real VBoxManage pulls what was published."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from publishing import Publisher, Room, Server

from provision.config import Config, architectures
from provision.distribution.pull import open_installed
from provision.distribution.seats import Seat, mac
from provision.errors import HostNotReadyError, HypervisorError, UsageError
from provision.machine.virtualbox import CREDENTIAL_KEY
from vbox import extradata, machine, nat


def test_first_install_makes_the_vm(room: Room) -> None:
    room.publisher.publish(1)
    pulled = room.pull()
    assert (pulled.changed, pulled.previous) == (True, None)
    found = room.here.machine.get()
    assert [each.port for each in found.attachments] == [0, 1]
    assert found.properties["macaddress1"] == mac("sage")
    assert {each.name for each in nat.read_forwards(found)} == set(Config().network.forwards)
    room.assert_version(1)


def test_one_folder_has_both_architectures_and_a_seat_takes_its_own(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = {
        arch: architectures.channel_of(arch, "stable") for arch in architectures.ARCHITECTURES
    }
    room.publisher.publish(1, channels["amd64"])
    room.publisher.publish(2, channels["arm64"], "arm64")
    room.pull(channel_name=channels["amd64"])
    room.assert_version(1)
    with pytest.raises(HostNotReadyError, match=r"sage 1\.2 is for computers with ARM64"):
        room.pull(channel_name=channels["arm64"])
    room.assert_version(1)
    with monkeypatch.context() as patch:  # as on a Mac, with VirtualBox's ARM machines
        patch.setattr(architectures, "of_this_host", lambda: "arm64")
        room.pull(channel_name=channels["arm64"], name="mac")
    mac_seat = open_installed(room.folders, room.hypervisor, "mac").machine
    assert (
        machine.show(room.manage, mac_seat.get().uuid).properties["platformArchitecture"] == "ARM"
    )
    assert mac_seat.config.architecture == "arm64"


def test_a_first_install_takes_packs_and_nothing_twice(
    room: Room, serve: Callable[[Path], Server]
) -> None:
    """Of which a folder keeps only those of versions that a channel points to."""
    first = room.publisher.publish(1)
    packs = {path.name for path in room.publisher.root.glob("packs/??/*")}
    server = serve(room.publisher.root)
    pulled = room.pull(server.url)
    asked = [path for path in server.requests if path.startswith("/packs/")]
    assert {path.rpartition("/")[2] for path in asked} == packs
    assert len(asked) == len(packs)
    assert not [path for path in server.requests if path.startswith("/chunks/")]
    assert (
        pulled.fetched_size
        == first.size
        < sum(path.stat().st_size for path in room.publisher.root.glob("chunks/??/*"))
    )
    room.assert_version(1)
    room.publisher.publish(2)
    assert not packs <= {path.name for path in room.publisher.root.glob("packs/??/*")}
    server.requests.clear()
    room.pull(server.url)  # has most of it
    assert not [path for path in server.requests if path.startswith("/packs/")]
    room.assert_version(2)
    publisher = room.publisher
    publisher.publication.promote(first.version, "stable", publisher.secret)
    assert packs == {path.name for path in publisher.root.glob("packs/??/*")}


@pytest.mark.parametrize("how", ["gone", "damaged", "another"])
def test_without_packs_a_first_install_takes_chunks(
    room: Room, serve: Callable[[Path], Server], how: str
) -> None:
    room.publisher.publish(1)
    packs = sorted(room.publisher.root.glob("packs/??/*"))
    for path, other in zip(packs, [*packs[1:], packs[0]], strict=True):
        data = other.read_bytes() if how == "another" else path.read_bytes()[:-20]
        path.with_suffix(".new").write_bytes(data)
    for path in packs:
        path.with_suffix(".new").replace(path)
        if how == "gone":
            path.unlink()
    server = serve(room.publisher.root)
    room.pull(server.url)
    assert [path for path in server.requests if path.startswith("/chunks/")]
    room.assert_version(1)


def test_update_fetches_only_what_changed_and_keeps_home(
    room: Room, serve: Callable[[Path], Server]
) -> None:
    room.publisher.publish(1)
    server = serve(room.publisher.root)
    first = room.pull(server.url)
    home = room.here.machine.get().attachments[1].medium
    marked = home.read_bytes()
    server.bytes = 0
    expected = room.publisher.publish(2)
    second = room.pull(server.url)
    assert second.previous == first.version
    assert second.fetched_size <= expected.new_size
    assert server.bytes < 0.3 * expected.size
    assert room.here.machine.get().attachments[1].medium == home
    assert home.read_bytes() == marked
    room.assert_version(2)


def test_chunks_come_in_parallel(room: Room, serve: Callable[[Path], Server]) -> None:
    room.publisher.publish(1)
    server = serve(room.publisher.root)
    server.pause = 0.05
    room.pull(server.url)
    assert server.most_busy >= 4


def test_nothing_new_changes_nothing(room: Room, serve: Callable[[Path], Server]) -> None:
    room.publisher.publish(1)
    server = serve(room.publisher.root)
    room.pull(server.url)
    server.requests.clear()
    again = room.pull(server.url, key=None)
    assert not again.changed
    assert len(server.requests) == 3


def test_rollback_returns_the_old_root_as_it_was_left(room: Room) -> None:
    room.publisher.publish(1)
    first = room.pull()
    left = room.here.machine.get().attachments[0].medium
    room.publisher.publish(2)
    room.pull()
    assert room.here.rollback() == first.version
    assert room.here.machine.get().attachments[0].medium == left
    room.assert_version(1)
    room.here.rollback()  # and forth again
    room.assert_version(2)


def test_only_the_last_version_is_kept(room: Room) -> None:
    versions = []
    for number in (1, 2, 3):
        room.publisher.publish(number)
        versions.append(room.pull().version)
    there = {path.name for path in room.here.versions.iterdir()}
    assert there == set(versions)  # the first one's home disk is still in use
    assert not (room.here.versions / versions[0] / "root.vdi").exists()
    room.assert_version(3)


def test_seat_has_its_own_name_address_and_ports(room: Room) -> None:
    room.publisher.publish(1)
    seat = Seat(
        7, mac="0800270000AA", ports={"ssh": 2207}, settings={"memory": "8G", "pool": {"count": 7}}
    )
    pulled = room.pull(name="{name}-{seat:02d}", seat=seat)
    assert pulled.name == "sage-07"
    found = machine.find(room.manage, "sage-07")[0]
    assert found.properties["macaddress1"] == "0800270000AA"
    assert found.properties["memory"] == "8192"
    told = extradata.read(room.manage, "sage-07")[CREDENTIAL_KEY]
    assert told == "io.systemd.credential:appliance.seat=name=sage-07 pool=7"
    assert open_installed(room.folders, room.hypervisor, "sage-07").machine.config.pool.count == 7
    assert {each.host_port for each in nat.read_forwards(found)} == {2207, 8000, 8443}


def test_a_changed_seat_file_is_taken_without_a_new_version(room: Room) -> None:
    room.publisher.publish(1)
    room.pull(seat=Seat(7), name="lab-{seat}")
    root = machine.find(room.manage, "lab-7")[0].attachments[0].medium
    seat = Seat(7, ports={"ssh": 2208}, settings={"pool": {"count": 3}})
    changed = room.pull(seat=seat, name="lab-{seat}")
    assert (changed.changed, changed.fetched) == (True, 0)
    found = machine.find(room.manage, "lab-7")[0]
    assert {each.host_port for each in nat.read_forwards(found)} == {2208, 8000, 8443}
    assert extradata.read(room.manage, "lab-7")[CREDENTIAL_KEY].endswith("name=lab-7 pool=3")
    assert found.attachments[0].medium == root
    assert not room.pull(seat=seat, name="lab-{seat}").changed


def test_a_seat_that_cannot_be_is_refused_before_anything_is_fetched(room: Room) -> None:
    room.publisher.publish(1)
    with pytest.raises(UsageError, match="seat 7: 1G holds") as caught:
        room.pull(seat=Seat(7, settings={"memory": "1G"}), name="lab-{seat}")
    assert "write memory" in str(caught.value.hint)
    assert machine.find(room.manage, "lab-7") == ()


def test_another_vm_of_that_name_is_left_alone(room: Room, publisher: Publisher) -> None:
    publisher.publish(1)
    room.manage.run("createvm", "--name", "sage", "--register", "--basefolder", str(room.folders))
    with pytest.raises(HypervisorError, match="did not make"):
        room.pull()


def test_a_second_seat_on_this_host_takes_all_from_the_first(room: Room) -> None:
    room.publisher.publish(1)
    room.pull()
    second = room.pull(name="other")
    assert second.fetched == 0
    assert second.local > 0


def test_a_cache_is_taken_before_the_server(
    room: Room, serve: Callable[[Path], Server], tmp_path: Path
) -> None:
    """A folder of the last term: what it has is not fetched, the rest comes from the server."""
    room.publisher.publish(1)
    stick = shutil.copytree(room.publisher.root, tmp_path / "stick")
    expected = room.publisher.publish(2)
    server = serve(room.publisher.root)
    pulled = room.pull(server.url, cache=stick)
    asked = [path for path in server.requests if path.startswith("/chunks/")]
    assert 0 < len(asked) <= expected.new_chunks < expected.chunks / 4
    assert pulled.fetched_size <= expected.new_size
    assert pulled.local > pulled.fetched
    room.assert_version(2)


def test_a_cache_is_believed_as_little_as_a_server(
    room: Room, serve: Callable[[Path], Server], tmp_path: Path
) -> None:
    room.publisher.publish(1)
    stick = shutil.copytree(room.publisher.root, tmp_path / "stick")
    chunks = sorted((stick / "chunks").rglob("*.zst"))
    chunks[0].write_bytes(chunks[1].read_bytes())  # another chunk, whole
    chunks[2].write_bytes(chunks[2].read_bytes()[:-3])
    chunks[3].unlink()
    server = serve(room.publisher.root)
    room.pull(server.url, cache=stick)
    asked = {path.rpartition("/")[2] for path in server.requests if path.startswith("/chunks/")}
    assert asked == {chunks[number].name for number in (0, 2, 3)}
    room.assert_version(1)
