"""What the guest is told of its disks."""

from provision.jeos.boot import grub_config
from provision.jeos.disk import FileSystem, fstab

GIB = 1 << 30
ROOT = FileSystem("root", "/", 12 * GIB, 5, "ext4", "sage")
HOME = FileSystem("home", "/home", 8 * GIB, 1, "ext4", "sage")
DATA = FileSystem("data", "/srv/data", GIB, 0, "ext4", "sage")


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


def test_every_disk_is_mounted_by_uuid_root_first() -> None:
    table = lines(fstab([DATA, HOME, ROOT]))
    assert [row[1] for row in table] == ["/", "/home", "/srv/data"]
    assert [row[0] for row in table] == [f"UUID={s.identity}" for s in (ROOT, HOME, DATA)]


def test_only_the_root_disk_can_stop_the_boot() -> None:
    root, home = lines(fstab([ROOT, HOME]))
    assert "nofail" not in root[3].split(",")
    assert "nofail" in home[3].split(",")


def test_data_disks_carry_no_devices_and_no_setuid() -> None:
    _, home = lines(fstab([ROOT, HOME]))
    assert {"nosuid", "nodev", "discard", "usrquota"} <= set(home[3].split(","))


def test_uuids_stay_from_build_to_build_and_differ_between_appliances() -> None:
    again = FileSystem("root", "/", 20 * GIB, 1, "ext4", "sage")
    other = FileSystem("root", "/", 12 * GIB, 5, "ext4", "lab2")
    assert ROOT.identity == again.identity
    assert len({ROOT.identity, HOME.identity, other.identity, ROOT.hash_seed}) == 4


def test_grub_finds_the_root_disk_wherever_it_is() -> None:
    config = grub_config(ROOT.identity)
    assert f"root=UUID={ROOT.identity}" in config
    assert "/dev/sd" not in config
