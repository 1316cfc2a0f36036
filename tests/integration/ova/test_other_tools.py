"""What other programs say of our files: QEMU, tar, minisign, and a file system without room."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.errors import VerificationError
from provision.ova import OvaAppliance, OvaDisk, inspect, minisign, write_ova
from provision.process import require

WRITE = """
import sys
from pathlib import Path
from provision.errors import ApplianceError
from provision.ova import OvaAppliance, OvaDisk, write_ova
machine = OvaAppliance(name="x", product="x", version="1", epoch=0, cpus=1, memory=2**30)
try:
    write_ova(Path(sys.argv[1]), machine, [OvaDisk(name="root", raw_path=Path(sys.argv[2]))])
except ApplianceError as error:
    sys.exit(f"{error.exit_code} {error} / {error.hint}")
"""


def unpacked(ova: Path, into: Path) -> None:
    into.mkdir()
    subprocess.run(["tar", "-C", into, "-xf", ova], check=True)


def test_qemu_and_tar_read_what_we_wrote(
    tmp_path: Path,
    appliance: OvaAppliance,
    disks: list[OvaDisk],
    same_content: Callable[[Path, Path], None],
) -> None:
    unpacked(write_ova(tmp_path / "lab.ova", appliance, disks).path, tmp_path / "x")
    for disk in disks:
        image = tmp_path / "x" / f"Math-Lab-{disk.name}.vmdk"
        same_content(image, disk.raw_path)


def test_an_ova_with_qemus_vmdk_is_verified_too(
    tmp_path: Path, appliance: OvaAppliance, disks: list[OvaDisk]
) -> None:
    """QEMU puts the grain tables in front and leaves the footer out."""
    ours = write_ova(tmp_path / "lab.ova", appliance, disks).path
    unpacked(ours, tmp_path / "x")
    convert = [require("qemu-img", "qemu-utils"), "convert", "-O", "vmdk"]
    for disk in disks:
        image = tmp_path / "x" / f"Math-Lab-{disk.name}.vmdk"
        options = ["-o", "subformat=streamOptimized", disk.raw_path, image]
        subprocess.run([*convert, *options], check=True)
    envelope = tmp_path / "x" / "Math-Lab.ovf"
    sizes = [(tmp_path / "x" / f"Math-Lab-{d.name}.vmdk").stat().st_size for d in disks]
    with ours.open("rb") as stream:
        before = [file.size for file in inspect(stream, "lab.ova").envelope.files]
    text = envelope.read_text()
    for old, new in zip(before, sizes, strict=True):
        text = text.replace(f'ovf:size="{old}"', f'ovf:size="{new}"')
    envelope.write_text(text)
    names = [envelope.name, *(f"Math-Lab-{disk.name}.vmdk" for disk in disks)]
    theirs = tmp_path / "theirs.ova"
    subprocess.run(["tar", "-C", tmp_path / "x", "-cf", theirs, *names], check=True)
    with theirs.open("rb") as stream:
        found = inspect(stream, "theirs.ova")
    assert found.manifest is None
    stored = [disk.stored for disk in found.disks]
    with ours.open("rb") as stream:
        assert stored == [disk.stored for disk in inspect(stream, "lab.ova").disks]
    data = bytearray(theirs.read_bytes())
    data[len(data) // 2] ^= 1
    theirs.write_bytes(data)
    with theirs.open("rb") as stream, pytest.raises(VerificationError, match=r"root\.vmdk"):
        inspect(stream, "theirs.ova")


def test_minisign_and_we_take_each_others_keys_and_signatures(tmp_path: Path) -> None:
    program = require("minisign", "minisign")
    file = tmp_path / "x.ova"
    file.write_bytes(os.urandom(100_000))

    our_key = minisign.generate(tmp_path / "our.key")
    (tmp_path / "our.pub").write_text(our_key.text())
    minisign.sign(file, tmp_path / "our.key", "x.ova 1.0")
    shown = subprocess.run(
        [program, "-V", "-p", tmp_path / "our.pub", "-m", file],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "Trusted comment: x.ova 1.0" in shown
    sign = [program, "-S", "-H", "-m", file, "-t", "theirs"]
    subprocess.run([*sign, "-s", tmp_path / "our.key"], check=True)
    assert minisign.verify(file, tmp_path / "x.ova.minisig", our_key) == "theirs"

    keys = ["-s", tmp_path / "their.key", "-p", tmp_path / "their.pub"]
    subprocess.run([program, "-G", "-W", *keys], check=True, capture_output=True)
    their_key = minisign.public_key(tmp_path / "their.pub")
    minisign.sign(file, tmp_path / "their.key", "ours")
    subprocess.run([program, "-V", "-p", tmp_path / "their.pub", "-m", file], check=True)
    subprocess.run([*sign, "-s", tmp_path / "their.key"], check=True)
    assert minisign.verify(file, tmp_path / "x.ova.minisig", their_key) == "theirs"


@pytest.fixture
def noisy_disk(tmp_path: Path) -> Path:
    """200 MB that do not compress, so that a write takes a while and much room."""
    raw = tmp_path / "noise.raw"
    block = os.urandom(2**20)
    with raw.open("wb") as file:
        for number in range(200):
            file.write(block[number:] + block[:number])
    return raw


def test_a_full_file_system_gives_a_clear_error_and_leaves_nothing(
    tmp_path: Path, noisy_disk: Path
) -> None:
    place = tmp_path / "small"
    place.mkdir()
    script = (
        'mount -t tmpfs -o size=20M tmpfs "$1" && "$2" -c "$3" "$1/x.ova" "$4"; status=$?;'
        ' ls -A "$1"; exit $status'
    )
    done = subprocess.run(
        [
            *("unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh"),
            *(place, sys.executable, WRITE, noisy_disk),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"4 no room left for {place}/x.ova: No space left on device")
    assert "df -h" in done.stderr


@pytest.mark.parametrize(
    ("number", "left"), [(signal.SIGINT, []), (signal.SIGKILL, ["x.ova.part"])]
)
def test_a_signal_leaves_no_ova_and_the_next_write_succeeds(
    tmp_path: Path, noisy_disk: Path, number: signal.Signals, left: list[str]
) -> None:
    place = tmp_path / "out"
    place.mkdir()
    command = [sys.executable, "-c", WRITE, place / "x.ova", noisy_disk]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size > 10_000_000 for p in place.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(60) != 0
    assert [p.name for p in place.iterdir()] == left
    subprocess.run(command, check=True)
    assert [p.name for p in place.iterdir()] == ["x.ova"]
    with (place / "x.ova").open("rb") as stream:
        assert inspect(stream, "x.ova").manifest == "SHA256"
