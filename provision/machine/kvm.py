"""Whether KVM really runs a guest here: /dev/kvm that opens is no proof."""

import logging
import os
import subprocess
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from provision.config.architectures import ARCHITECTURES, of_this_host
from provision.process import require

X86 = ARCHITECTURES["amd64"].emulator
log = logging.getLogger(__name__)

DEVICE = Path("/dev/kvm")
PROBE_SECONDS = 10
# mov dx, 0x501; mov al, 42; out dx, al; hlt: QEMU's isa-debug-exit then ends with 2 * 42 + 1.
BOOT_SECTOR = (bytes.fromhex("ba0105b02aeef4").ljust(510, b"\0")) + b"\x55\xaa"
REACHED = 2 * 42 + 1
DISK_BYTES = 1 << 20  # the BIOS does not read a disk of one sector


def works() -> bool:
    """Tell whether KVM boots a guest, by booting one; remembered until the host boots again."""
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return False
    verdict = _verdict_file()
    if not verdict.exists():
        remember(_boots())
    return verdict.read_text() == "works"


def remember(verdict: bool) -> None:
    """Keep a verdict until the host boots again, such as that a kernel crashed under KVM."""
    log.info("KVM %s on this host", "works" if verdict else "does not work")
    file = _verdict_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}")
    new.write_text("works" if verdict else "fails")
    new.replace(file)


def _verdict_file() -> Path:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return user_cache_path("appliance") / f"kvm-{boot}"


def _boots() -> bool:
    """Boot a sector of seven bytes of code through the BIOS, and see whether it gets to say so."""
    if of_this_host() != "amd64":
        return True  # nothing so small starts there: the first guest shows it
    with tempfile.NamedTemporaryFile(suffix=".raw") as disk:
        disk.write(BOOT_SECTOR)
        disk.truncate(DISK_BYTES)
        argv = [
            require(X86.program, X86.package),
            *("-accel", "kvm", "-cpu", "host", "-machine", "q35", "-m", "64M"),
            *("-nodefaults", "-display", "none", "-no-reboot"),
            *("-device", "isa-debug-exit,iobase=0x501,iosize=1"),
            *("-drive", f"file={disk.name},format=raw,read-only=on,if=none,id=disk"),
            *("-device", "virtio-blk-pci,drive=disk"),
        ]
        try:
            done = subprocess.run(
                argv,
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PROBE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return False
    log.debug("KVM probe: status %d %s", done.returncode, done.stderr.decode(errors="replace"))
    return done.returncode == REACHED
