"""The stick: complete, checked without our program, and good to pull from."""

import subprocess
import sys
from pathlib import Path

import pytest
from publishing import Room

from provision.distribution.bundle import bundle
from provision.errors import UsageError
from provision.process import require


def test_pull_from_a_stick(room: Room, tmp_path: Path) -> None:
    room.publisher.publish(1)
    room.publisher.publish(2)
    wheel = tmp_path / "classroom_appliance-1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    stick = tmp_path / "stick"
    bundle(room.publisher.root, stick, wheels=[wheel])
    check = [sys.executable, "-I", stick / "verify.py"]
    assert subprocess.run(check, capture_output=True, check=False).returncode == 0
    assert (stick / "wheels" / wheel.name).exists()
    assert len(list((stick / "versions").iterdir())) == 1
    room.pull(str(stick), key=stick / "minisign.pub")
    room.assert_version(2)


def test_damage_is_found_without_our_program(room: Room, tmp_path: Path) -> None:
    room.publisher.publish(1)
    stick = tmp_path / "stick"
    bundle(room.publisher.root, stick)
    chunk = next((stick / "chunks").rglob("*.zst"))
    chunk.write_bytes(chunk.read_bytes()[:-1])
    done = subprocess.run(
        [sys.executable, "-I", stick / "verify.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"BAD chunks/{chunk.parent.name}/{chunk.name}" in done.stdout


def test_a_full_folder_is_not_written_into(room: Room, tmp_path: Path) -> None:
    room.publisher.publish(1)
    with pytest.raises(UsageError, match="not empty"):
        bundle(room.publisher.root, tmp_path)
    with pytest.raises(UsageError, match="no channel"):
        bundle(room.publisher.root, tmp_path / "stick", channel_name="next")


def test_the_ova_of_that_version_comes_along(room: Room, tmp_path: Path) -> None:
    publisher = room.publisher
    publisher.publish(1)
    with pytest.raises(UsageError, match=r"no OVA of 1\.1"):
        bundle(publisher.root, tmp_path / "stick", ova=True)
    ova = tmp_path / "sage-1.1.ova"
    ova.write_bytes(b"an appliance")
    described = publisher.publication.versions()[0][1]
    publisher.publication.publish(
        publisher.images[1],
        definition=described.definition,
        sbom='{"components": []}',
        secret=publisher.secret,
        extra=ova,
    )
    stick = tmp_path / "stick"
    bundle(publisher.root, stick, ova=True)
    assert (stick / "ova" / ova.name).read_bytes() == b"an appliance"
    check = [sys.executable, "-I", stick / "verify.py"]
    assert subprocess.run(check, capture_output=True, check=False).returncode == 0
    signed = [require("minisign", "minisign"), "-V", "-p", publisher.public]
    subprocess.run([*signed, "-m", stick / "ova" / ova.name], check=True, capture_output=True)
