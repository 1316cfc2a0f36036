"""A real VirtualBox of the tests' own, and disks with real file systems."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.ova import NatRule, OvaAppliance, OvaDisk
from provision.process import require
from vbox import VBoxManage, portable


@pytest.fixture(scope="session")
def virtualbox(tmp_path_factory: pytest.TempPathFactory) -> VBoxManage:
    """A VBoxManage whose registry is empty and nobody else's."""
    home = tmp_path_factory.mktemp("virtualbox")
    return VBoxManage(
        portable.fetch().path,
        env={"VBOX_USER_HOME": str(home), "VBOX_IPC_SOCKETID": f"ova{os.getpid()}"},
    )


@pytest.fixture
def appliance() -> OvaAppliance:
    return OvaAppliance(
        name="Math Lab",
        product="Mathematics lab <test>",
        vendor="Dept. & Co",
        version="1.0",
        description="ssh -p 2222\nbrowser: http://localhost:8000/",
        epoch=1_700_000_000,
        cpus=2,
        memory=1536 * 2**20,
        forwards=[
            NatRule(name="ssh", host=2222, guest=22),
            NatRule(name="notebook", address="", host=8000, guest=8000),
        ],
    )


@pytest.fixture(scope="session")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[OvaDisk]]:
    """A root disk with a file system full of files, and an empty home disk."""
    base = tmp_path_factory.mktemp("disks")
    made = []
    for name, size, content in (("root", "200M", "/usr/share/perl5"), ("home", "100M", None)):
        raw = base / f"{name}.raw"
        source = ["-d", content] if content else []
        mke2fs = require("mke2fs", "e2fsprogs")
        subprocess.run([mke2fs, "-q", "-t", "ext4", *source, raw, size], check=True)
        if name == "home":
            os.truncate(raw, raw.stat().st_size + 512)  # an importer must take an odd size, too
        made.append(OvaDisk(name=name, raw_path=raw))
    yield made
    for disk in made:
        disk.raw_path.unlink()


@pytest.fixture(scope="session")
def same_content() -> Callable[[Path, Path], None]:
    """Compare two disk images of any format by what a guest would read."""
    qemu_img = require("qemu-img", "qemu-utils")

    def compare(one: Path, other: Path) -> None:
        command = [qemu_img, "compare", one, other]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    return compare
