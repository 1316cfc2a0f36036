"""The native-speed runtime itself, by what a caller of it relies on."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from provision.build.fetch import pull_tree
from provision.errors import HostNotReadyError
from provision.machine import Stream
from provision.machine.nspawn import NspawnMachine
from provision.machine.ssh import connect, execute


def test_a_guest_whose_power_was_cut_boots_from_what_it_had_written(
    base: Path, tmp_path: Path
) -> None:
    machine = NspawnMachine([base], tmp_path / "upper")
    with connect(machine.start()) as client:
        assert execute(client, "echo lesson > /root/board; sync").status == 0
    machine.cut()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["upper"]
    with machine, connect(machine.start()) as client:
        assert execute(client, "cat /root/board").stdout == "lesson\n"


def test_a_disk_that_fills_while_a_guests_files_are_fetched_is_told(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tar complains of each file, which is more than a pipe holds, or that disk."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", small], check=True)
    try:
        os.mkfifo(tmp_path / "stream")
        reading = os.open(tmp_path / "stream", os.O_RDWR)
        binds = {tmp_path / "stream": "/run/stream"}
        with NspawnMachine([base], tmp_path / "upper", binds=binds) as machine:
            endpoint = machine.start()
            with monkeypatch.context() as patch, pytest.raises(HostNotReadyError, match="No space"):
                patch.setattr(tempfile, "tempdir", str(small))
                pull_tree(endpoint, Stream("/run/stream", reading), small / "tree")
        os.close(reading)
    finally:
        subprocess.run(["umount", small], check=True)
