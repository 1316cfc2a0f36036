"""Guests on layers of directories, by what a caller of them relies on."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from provision.build.fetch import pull_tree
from provision.errors import HostNotReadyError
from provision.machine import Stream
from provision.machine.nspawn import NspawnMachine
from provision.machine.ssh import connect, execute

REPOSITORY = Path(__file__).parents[3]


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


PROGRAMS = """
import ctypes, sys
from pathlib import Path
from provision.jeos.layers import private_mounts
from provision.machine.chroot import ChrootMachine
from provision.machine.containment import _have_users
from provision.machine.ssh import connect, execute
base, cache, upper = map(Path, sys.argv[2:])
if sys.argv[1] == "user":
    _have_users(ctypes.CDLL(None, use_errno=True))
private_mounts()
binds = {cache / "told": "/run/told"}
with ChrootMachine([base], upper, binds=binds, caches={cache: "/var/cache/kept"}) as machine:
    with connect(machine.start()) as client:
        done = execute(client, sys.stdin.read())
assert done.status == 0, done
print(done.stdout, end="")
"""
# The least that Debian's packages and Ansible's modules ask for.
TRIES = """
set -e
groupadd --system board && chgrp board /srv && mkdir /srv/made && rmdir /media
echo kept > /var/cache/kept/file
if echo changed > /run/told; then exit 1; fi
: < /dev/urandom > /dev/null; test -t 0 || python3 -c "import os; os.openpty()"
dpkg --verify openssh-server > /dev/null
systemctl enable serial-getty@ttyS9.service
test "$(ls /proc/self/fd | head -n 1)" = 0
test ! -e /run/systemd/system
getent hosts "$(hostname)" > /dev/null || true
cat /proc/1/comm; id -u; ls /sys
"""


@pytest.mark.parametrize("namespace", ["host", "user"])
def test_programs_of_a_guest_that_is_not_booted(base: Path, tmp_path: Path, namespace: str) -> None:
    """As the host's root and as that of a user namespace; what they write is the layer."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/told").write_text("by the host\n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS, namespace, base, tmp_path / "cache", tmp_path / "upper"],
        cwd=REPOSITORY, input=TRIES, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["sshd", "0"]
    assert (tmp_path / "cache/file").read_text() == "kept\n"
    assert (tmp_path / "cache/told").read_text() == "by the host\n"
    upper = tmp_path / "upper"
    assert (upper / "srv/made").is_dir()
    assert (upper / "media").is_char_device()  # overlayfs' way to say that it is gone
    assert [*upper.glob("etc/systemd/system/*.wants/serial-getty@ttyS9.service")]
    left = {
        path.name for place in ("dev", "proc", "run", "tmp") for path in upper.glob(f"{place}/*")
    }
    assert left == set()
    assert not upper.with_name("upper.work").exists()
