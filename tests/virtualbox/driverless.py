"""VirtualBox that starts VMs without its kernel driver, and a guest small enough for it.

The launcher and the guest are compiled when the tests run. VirtualBox interprets the guest, so it
must be tiny: ours is up in half a second.
"""

import os
import shutil
import socket
import subprocess
from pathlib import Path

from vbox import VBoxManage, extradata, machine

HERE = Path(__file__).parent
CC = ("gcc", "-Wall", "-Wextra", "-Werror")


def make(portable: Path, into: Path) -> Path:
    """Copy a fetched VirtualBox (its ``current`` directory) with our launcher; return VBoxManage.

    The copy shares its files with the original by hard links where both are on one file system.
    """
    try:
        shutil.copytree(portable, into, symlinks=True, copy_function=os.link)
    except (OSError, shutil.Error):
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree(portable, into, symlinks=True)
    headless = into / "tree/usr/lib/virtualbox/VBoxHeadless"
    headless.unlink()
    _run(*CC, "-O1", "-o", str(headless), str(HERE / "launcher.c"), "-ldl")
    return into / "VBoxManage"


def interpreted(manage: VBoxManage, made: machine.Machine) -> None:
    """Let VirtualBox run it without a driver, with the card that the tiny guest drives."""
    machine.modify(manage, made, vm_execution_engine="interpreter", nictype1="82540EM")
    extradata.write(manage, made.uuid, "VBoxInternal/Devices/e1000/0/Config/LinkUpDelay", "50")


def free_port() -> int:
    """A TCP port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tiny_guest(image: Path) -> Path:
    """Compile the guest into a raw disk image of 1 MiB that any BIOS boots."""
    parts = []
    for source in ("boot.S", "guest.c"):
        part = image.with_suffix(f".{source}.o")
        _run(
            *CC, "-m32", "-march=i386", "-mno-sse", "-Os", "-ffreestanding", "-fno-builtin",
            "-fno-pie", "-fno-stack-protector", "-fno-asynchronous-unwind-tables",
            "-fcf-protection=none", "-c", str(HERE / "guest" / source), "-o", str(part),
        )  # fmt: skip
        parts.append(part)
    script = HERE / "guest/guest.ld"
    _run("ld", "-m", "elf_i386", "-T", str(script), "-o", str(image), *map(str, parts))
    for part in parts:
        part.unlink()
    os.truncate(image, 1 << 20)
    return image


def _run(*argv: str) -> None:
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise AssertionError(f"{argv[0]} is not installed: apt-get install gcc") from error
    except subprocess.CalledProcessError as error:
        raise AssertionError(f"{' '.join(argv)}\n{error.stderr}") from error
