"""OVA export: ours against VBoxManage's own, on the same two disks, in one run."""

import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from provision.ova import OvaAppliance, OvaDisk, write_ova
from provision.process import require
from vbox import VBoxManage, portable

CONTENT = 1_600_000_000  # bytes of files on the root disk, all of them the host's own programs
ROUNDS = 2
TIME_RATIO = 0.3
SIZE_RATIO = 1.03


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A root disk filled from /usr and a small home disk, raw and sparse."""
    base = tmp_path_factory.mktemp("export")
    tree = base / "tree"
    taken = 0
    for directory in ("lib", "bin", "share", "include"):
        for path in sorted(Path("/usr", directory).rglob("*")):
            if taken >= CONTENT:
                break
            if path.is_file() and not path.is_symlink():
                copy = tree / path.relative_to("/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
                taken += path.stat().st_size
    assert taken >= CONTENT * 0.9, "this host's /usr is too small for the benchmark"
    mke2fs = require("mke2fs", "e2fsprogs")
    for name, size, content in (("root", "12G", tree), ("home", "8G", tree / "usr/include")):
        content.mkdir(parents=True, exist_ok=True)
        command = [mke2fs, "-q", "-t", "ext4", "-d", content, base / f"{name}.raw", size]
        subprocess.run(command, check=True)
    shutil.rmtree(tree)
    return [base / "root.raw", base / "home.raw"]


@pytest.fixture(scope="module")
def machine(
    disks: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[VBoxManage, list[Path]]:
    """A VM in a VirtualBox of our own that has the same disks as VDI."""
    home = tmp_path_factory.mktemp("vbox")
    manage = VBoxManage(
        portable.fetch().path,
        env={"VBOX_USER_HOME": str(home), "VBOX_IPC_SOCKETID": f"bench{os.getpid()}"},
    )
    manage.run(
        "createvm", "--name=bench", "--ostype=Debian_64", f"--basefolder={home}", "--register"
    )
    manage.run("storagectl", "bench", "--name=SATA", "--add=sata", "--portcount=2")
    images = []
    for port, raw in enumerate(disks):
        image = raw.with_suffix(".vdi")
        manage.run("convertfromraw", str(raw), str(image), "--format=VDI", timeout=None)
        manage.run(
            *("storageattach", "bench", "--storagectl=SATA", f"--port={port}", "--device=0"),
            *("--type=hdd", f"--medium={image}"),
        )
        images.append(image)
    return manage, images


def test_ours_against_vboxmanage(
    disks: list[Path], machine: tuple[VBoxManage, list[Path]], tmp_path: Path
) -> None:
    manage, _ = machine
    appliance = OvaAppliance(
        name="bench", product="Bench", version="1", epoch=0, cpus=1, memory=2**30
    )
    ours, theirs = tmp_path / "ours.ova", tmp_path / "theirs.ova"
    our_seconds, their_seconds = [], []
    for _ in range(ROUNDS):
        theirs.unlink(missing_ok=True)
        begun = time.monotonic()
        manage.run("export", "bench", f"--output={theirs}", "--ovf20", "--manifest", timeout=None)
        their_seconds.append(time.monotonic() - begun)
        begun = time.monotonic()
        write_ova(ours, appliance, [OvaDisk(name=raw.stem, raw_path=raw) for raw in disks])
        our_seconds.append(time.monotonic() - begun)
    time_ratio = statistics.median(our_seconds) / statistics.median(their_seconds)
    size_ratio = ours.stat().st_size / theirs.stat().st_size
    print(
        f"\nexport of {sum(raw.stat().st_blocks for raw in disks) * 512 / 1e9:.2f} GB"
        f" in two disks, {os.cpu_count()} cores, medians of {ROUNDS}:"
        f"\n  VBoxManage {statistics.median(their_seconds):6.1f} s {theirs.stat().st_size:>12} bytes"
        f"\n  ours       {statistics.median(our_seconds):6.1f} s {ours.stat().st_size:>12} bytes"
        f"\n  ratio      {time_ratio:6.2f}   {size_ratio:>12.3f}"
    )
    assert time_ratio <= TIME_RATIO
    assert size_ratio <= SIZE_RATIO
