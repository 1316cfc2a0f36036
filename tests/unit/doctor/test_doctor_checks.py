"""What the doctor says of hosts that lack something."""

import dataclasses
from pathlib import Path

import pytest

from provision.config import Config
from provision.doctor import HostFacts, examine, packages
from provision.doctor.facts import Mirror, Room, VirtualBoxFacts, _cpu_flags, _header, _kernel
from provision.doctor.tools import TOOLS, needed_tools, present

NOW = 1_800_000_000.0
BOX = VirtualBoxFacts(Path("/usr/bin/VBoxManage"), (7, 2, 4))
ROOM = Room(Path("/var/cache"), 1, 200 << 30)
GOOD = HostFacts(
    virtualbox=BOX,
    rooms={purpose: ROOM for purpose in ("cache", "output", "temporary", "data", "state")},
    mirror=Mirror("http://mirror/InRelease", signature="good", clock=0.2),
    time=NOW,
)


def checks(config=None, **changes):
    """The checks that are not ok, by name, for the good host with these changes."""
    found = examine(dataclasses.replace(GOOD, **changes), config or Config())
    return {check.name: check for check in found if check.status != "ok"}


def only(**changes):
    """The single complaint about the good host with these changes."""
    (check,) = checks(**changes).values()
    return check


def test_a_good_host():
    assert checks() == {}


def test_every_complaint_says_how_to_mend_it():
    poor = HostFacts(
        root=False,
        user="teacher",
        architecture="x86_64",
        kernel=(6, 12),
        modules=frozenset({"kvm_intel"}),
        cpu=frozenset({"amx_tile"}),
        kvm=False,
        secure_boot=True,
        driver=False,
        virtualbox=BOX,
        missing=TOOLS,
        memory=1 << 30,
        available=1 << 20,
        rooms={p: Room(Path("/"), 1, 1 << 20) for p in GOOD.rooms},
        taken={2222: "sshd (pid 1)", 8000: "python3 (pid 2)"},
        namespaces=False,
        sysctls={"user.max_user_namespaces": 0},
        subordinate=False,
        mirror=Mirror("http://m", trouble="refused"),
        time=NOW,
    )
    found = [check for check in examine(poor, Config()) if check.status != "ok"]
    assert len(found) > 20
    assert all(check.mend for check in found)


@pytest.mark.parametrize(
    ("version", "kernel", "at_load", "trouble"),
    [
        ((7, 0, 20), (6, 1), None, False),
        ((7, 2, 4), (6, 12), True, True),
        ((7, 2, 4), (6, 12), False, False),
        ((7, 2, 4), (6, 12), None, True),
        ((7, 2, 10), (6, 18), True, False),
        ((7, 2, 10), (6, 18), False, True),
    ],
)
def test_kvm_that_holds_the_hardware(version, kernel, at_load, trouble):
    found = checks(
        modules=frozenset({"kvm", "kvm_amd"}),
        kernel=kernel,
        kvm_at_load=at_load,
        virtualbox=dataclasses.replace(BOX, version=version),
    )
    assert ("VirtualBox beside KVM" in found) is trouble
    if trouble:
        assert "modprobe --remove kvm_amd kvm" in found["VirtualBox beside KVM"].mend


def test_old_virtualbox_is_told_to_turn_kvm_off_at_load():
    check = only(modules=frozenset({"kvm_intel"}), kernel=(6, 12), kvm_at_load=True, root=True)
    assert check.status == "warning"
    assert check.mend == (
        "echo options kvm enable_virt_at_load=0 | tee /etc/modprobe.d/virtualbox-kvm.conf"
        " && modprobe --remove kvm_intel kvm"
    )


def test_no_virtualbox_does_not_stop_a_build():
    assert only(virtualbox=None).status == "warning"
    assert only(virtualbox=dataclasses.replace(BOX, portable=True)).status == "warning"


def test_a_virtualbox_that_does_not_answer():
    check = only(virtualbox=VirtualBoxFacts(Path("/usr/bin/VBoxManage"), None, trouble="no driver"))
    assert check.found == "/usr/bin/VBoxManage does not work: no driver"


def test_a_driver_that_secure_boot_refuses():
    assert only(driver=False, secure_boot=True).mend.startswith("mokutil --import")
    assert only(driver=False, secure_boot=False).mend == "modprobe vboxdrv"


def test_a_missing_tool_stops_the_build_and_names_its_package():
    tool = next(tool for tool in TOOLS if tool.name == "pasta")
    check = only(missing=(tool,))
    assert (check.status, check.mend) == ("failed", "apt-get install --yes passt")
    check = checks(missing=(tool,), root=False)["tool pasta"]
    assert check.mend == "sudo apt-get install --yes passt"


@pytest.mark.parametrize(
    ("sysctl", "mend"),
    [
        ({"kernel.unprivileged_userns_clone": 0}, "kernel.unprivileged_userns_clone=1"),
        ({"user.max_user_namespaces": 0}, "user.max_user_namespaces=15000"),
        (
            {"kernel.apparmor_restrict_unprivileged_userns": 1},
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ],
)
def test_no_user_namespaces_matters_without_root_only(sysctl, mend):
    changes = {"namespaces": False, "sysctls": sysctl}
    assert checks(root=True, **changes) == {}
    check = only(root=False, **changes)
    assert (check.status, check.mend) == ("failed", f"sudo sysctl --write {mend}")


def test_no_subordinate_ids():
    check = only(root=False, user="teacher", subordinate=False)
    assert check.mend.endswith("--add-subgids 100000-165535 teacher")


def test_a_full_disk():
    rooms = GOOD.rooms | {"cache": Room(Path("/small"), 2, 1 << 30)}
    check = only(rooms=rooms)
    assert (check.name, check.status) == ("cache directory", "failed")
    assert check.found == "1.0 GiB free in /small; a build needs 20.0 GiB"


def test_a_disk_that_is_enough_for_each_but_not_for_all():
    found = checks(
        rooms={purpose: dataclasses.replace(ROOM, free=22 << 30) for purpose in GOOD.rooms}
    )
    assert {check.status for check in found.values()} == {"warning"}
    assert "shares with output and temporary" in found["cache directory"].found


@pytest.mark.parametrize(
    ("cached", "free", "ready"),
    [
        ((), 20 << 30, True),
        ((), 19 << 30, False),
        (("base", "packages"), 8 << 30, True),
        (("base", "packages"), 6 << 30, False),
        (("base", "packages", "configure", "seal", "disks"), 2 << 30, True),
        (("base", "packages", "configure", "seal", "disks"), 1 << 30, False),
        (("packages",), 19 << 30, False),  # of another base: it is built anew
    ],
)
def test_what_is_built_already_needs_no_room(cached, free, ready):
    rooms = GOOD.rooms | {"cache": Room(Path("/small"), 2, free)}
    found = checks(rooms=rooms, cached=frozenset(cached))
    assert ("cache directory" not in found) == ready


@pytest.mark.parametrize("purpose", ["data", "state"])
def test_a_home_that_cannot_be_written(purpose):
    rooms = GOOD.rooms | {purpose: Room(Path("/dev/null/x"), 0, 0, writable=False)}
    check = only(rooms=rooms)
    assert (check.name, check.status) == (f"{purpose} directory", "failed")
    assert f"XDG_{purpose.upper()}_HOME" in check.mend


def test_a_virtualbox_that_is_missing_comes_with_its_command():
    check = only(virtualbox=None)
    assert "apt-get install virtualbox-7.2" in check.mend


def test_a_smaller_profile_needs_less_room():
    rooms = {purpose: dataclasses.replace(ROOM, free=10 << 30) for purpose in GOOD.rooms}
    assert checks(Config.model_validate({"sage": {"source": "none"}}), rooms=rooms) == {}


def test_a_read_only_directory():
    rooms = GOOD.rooms | {"output": dataclasses.replace(ROOM, writable=False)}
    assert only(rooms=rooms).found == "/var/cache is not writable"


def test_a_taken_port_is_refused_only_where_it_is_not_corrected():
    taken = {8000: "python3 (pid 42)"}
    check = only(taken=taken)
    assert check.status == "warning"
    assert "python3 (pid 42)" in check.found
    strict = Config.model_validate({"network": {"auto": False}})
    (check,) = checks(strict, taken=taken).values()
    assert check.status == "failed"


def test_little_memory():
    assert only(available=3 << 30).status == "warning"
    assert only(available=1 << 29).status == "failed"


@pytest.mark.parametrize(
    ("mirror", "name", "words"),
    [
        (Mirror("http://m", trouble="refused"), "package mirror", "http://m: refused"),
        (Mirror("http://m", signature="BAD signature"), "package mirror", "BAD signature"),
        (Mirror("http://m", valid_until=NOW - 86400), "package mirror", "expired 1.0 days ago"),
        (Mirror("http://m", clock=3600), "clock", "3600 s behind the mirror's"),
        (Mirror("http://m", clock=-3600), "clock", "3600 s ahead of the mirror's"),
    ],
)
def test_a_mirror_or_a_clock_that_stops_a_build(mirror, name, words):
    check = only(mirror=mirror)
    assert (check.name, check.status) == (name, "failed")
    assert words in check.found


def test_a_foreign_processor():
    assert only(architecture="riscv64").status == "failed"


def test_a_guest_of_another_architecture_is_emulated():
    check = checks(Config(arch="amd64"), architecture="aarch64")["processor"]
    assert check.status == "warning"
    assert "emulates" in check.found
    assert checks(architecture="aarch64") == {}
    foreign = {tool.package for tool in needed_tools("debian", root=True, arch="arm64")}
    assert {"qemu-system-arm", "qemu-efi-aarch64", "arch-test", "mtools"} <= foreign
    assert (
        not foreign & {tool.package for tool in needed_tools("debian", root=True)} & {"arch-test"}
    )


def test_amx_is_only_a_note():
    assert only(cpu=frozenset({"vmx", "amx_tile"})).status == "note"


def test_the_packages_cover_every_tool():
    assert set(packages("ubuntu")) >= {tool.package for tool in TOOLS} | {"ubuntu-keyring"}
    assert {tool.name for tool in needed_tools("debian", root=True)} >= {"pasta", "mmdebstrap"}
    assert "systemd-nspawn" not in {tool.name for tool in needed_tools("debian", root=False)}
    assert "newuidmap" not in {tool.name for tool in needed_tools("debian", root=True)}


def test_tools_are_found_on_the_path_or_by_their_own(tmp_path):
    (tmp_path / "zstd").touch()
    by_name = {tool.name: tool for tool in TOOLS}
    assert present(by_name["zstd"], (tmp_path,))
    assert not present(by_name["pasta"], (tmp_path,))


def test_reading_what_the_host_says():
    assert _kernel("6.12.38+deb13-amd64") == (6, 12)
    assert _kernel("unknown") == (0, 0)
    assert _cpu_flags("processor: 0\nflags\t\t: fpu vmx avx\n") == {"fpu", "vmx", "avx"}
    assert _header("Valid-Until: Sat, 10 May 2025 08:00:00 UTC\n", "Valid-Until") == 1746864000
    assert _header("Date: x\n", "Valid-Until") is None


SEAT = dataclasses.replace(GOOD, system="Windows", rooms={"data": ROOM}, architecture="AMD64")


def seat(**changes):
    """The checks that are not ok, by name, for a good seat at Windows with these changes."""
    found = examine(dataclasses.replace(SEAT, **changes), Config())
    return {check.name: check for check in found if check.status != "ok"}


def test_a_seat_is_asked_only_for_what_a_seat_needs():
    assert set(seat()) == {"this host"}
    assert "Linux" in seat()["this host"].found
    assert seat(virtualbox=None)["VirtualBox"].mend.startswith("winget ")
    assert seat(virtualbox=None, system="Darwin")["VirtualBox"].mend.startswith("brew ")
    assert seat(available=1 << 30)["memory"].status == "warning"
    assert "memory" not in seat(memory=0, available=0)
    assert seat(rooms={"data": dataclasses.replace(ROOM, free=1 << 30)})["data directory"].mend
    small = dataclasses.replace(ROOM, writable=False)
    assert seat(rooms={"data": small})["data directory"].status == "failed"
    apple = {"architecture": "arm64", "system": "Darwin"}
    assert seat(**apple)["processor"].status == "note"
    old = VirtualBoxFacts(Path("/usr/bin/VBoxManage"), (7, 0, 26))
    assert seat(**apple, virtualbox=old)["processor"].status == "warning"


@pytest.mark.parametrize(
    ("feature", "name"),
    [
        ("vbs", "virtualization-based security"),
        ("memory integrity", "virtualization-based security"),
        ("hyper-v", "Hyper-V"),
        ("wsl", "WSL"),
    ],
)
def test_what_windows_has_beside_virtualbox(feature, name):
    found = seat(features=frozenset({feature}))
    assert set(found) == {"this host", name}
    assert found[name].status == "warning"
    assert found[name].mend
