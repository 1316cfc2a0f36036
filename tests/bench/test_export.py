"""OVA export: ours against VBoxManage's own, on the same two disks, in one run."""

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.ova import OvaAppliance, OvaDisk, inspect, write_ova
from provision.process import require
from vbox import VBoxManage, portable

CONTENT = 1_600_000_000  # bytes of files on the root disk, all of them the host's own programs
ROUNDS = 3
TIME_RATIO = 0.3
SIZE_RATIO = 1.03


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory that does not keep its 5 GB for pytest's next three runs."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture
def disks(place: Path) -> list[Path]:
    """A root disk filled from /usr and a small home disk, raw and sparse."""
    tree = place / "tree"
    taken = 0
    for directory in ("lib", "bin", "share", "include"):
        for path in sorted(Path("/usr", directory).rglob("*")):
            if taken < CONTENT and path.is_file() and not path.is_symlink():
                copy = tree / path.relative_to("/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
                taken += path.stat().st_size
    assert taken >= CONTENT * 0.9, "this host's /usr is too small for the benchmark"
    mke2fs = require("mke2fs", "e2fsprogs")
    home = place / "home"
    shutil.copytree("/usr/share/perl5", home, ignore_dangling_symlinks=True)
    for name, size, content in (("root", "12G", tree), ("home", "8G", home)):
        command = [mke2fs, "-q", "-t", "ext4", "-d", content, place / f"{name}.raw", size]
        subprocess.run(command, check=True)
        shutil.rmtree(content)
    return [place / "root.raw", place / "home.raw"]


@pytest.fixture
def manage(disks: list[Path], place: Path) -> VBoxManage:
    """A VirtualBox of our own with a VM that has the same disks as VDI."""
    home = place / "virtualbox"
    manage = VBoxManage(
        portable.fetch().path,
        env={"VBOX_USER_HOME": str(home), "VBOX_IPC_SOCKETID": f"bench{os.getpid()}"},
    )
    base = f"--basefolder={home}"
    manage.run("createvm", "--name=bench", "--ostype=Debian_64", base, "--register")
    manage.run("storagectl", "bench", "--name=SATA", "--add=sata", "--portcount=2")
    for port, raw in enumerate(disks):
        image = raw.with_suffix(".vdi")
        manage.run("convertfromraw", str(raw), str(image), "--format=VDI", timeout=None)
        manage.run(
            *("storageattach", "bench", "--storagectl=SATA", f"--port={port}", "--device=0"),
            *("--type=hdd", f"--medium={image}"),
        )
    return manage


def seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def test_export_against_vboxmanage(disks: list[Path], manage: VBoxManage, place: Path) -> None:
    ours, theirs = place / "ours.ova", place / "theirs.ova"
    machine = OvaAppliance(name="x", product="x", version="1", epoch=0, cpus=1, memory=2**30)
    their_times, our_times = [], []
    for _ in range(ROUNDS):
        theirs.unlink(missing_ok=True)
        ours.unlink(missing_ok=True)  # or what is in it would not be compressed again
        export = ("export", "bench", f"--output={theirs}", "--ovf20", "--manifest")
        their_times.append(seconds(lambda export=export: manage.run(*export, timeout=None)))
        images = [OvaDisk(name=raw.stem, raw_path=raw) for raw in disks]
        our_times.append(seconds(lambda images=images: write_ova(ours, machine, images)))
    again_time = seconds(lambda: write_ova(ours, machine, images))
    with ours.open("rb") as stream:
        verify_time = seconds(lambda: inspect(stream, "ours.ova"))
    their_time, our_time = statistics.median(their_times), statistics.median(our_times)
    their_size, our_size = theirs.stat().st_size, ours.stat().st_size
    data = sum(raw.stat().st_blocks for raw in disks) * 512 / 1e9
    rows = (
        f"export of two disks, {data:.2f} GB, {os.cpu_count()} cores, medians of {ROUNDS}",
        f"  VBoxManage export {their_time:6.1f} s  {their_size / 1e6:6.1f} MB",
        f"  write_ova         {our_time:6.1f} s  {our_size / 1e6:6.1f} MB",
        f"  ratio             {our_time / their_time:6.2f}    {our_size / their_size:6.3f}",
        f"  over the same     {again_time:6.1f} s",
        f"  inspect           {verify_time:6.1f} s",
    )
    print("\n" + "\n".join(rows))
    assert our_time / their_time <= TIME_RATIO
    assert our_size / their_size <= SIZE_RATIO
