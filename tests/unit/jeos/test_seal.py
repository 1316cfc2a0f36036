"""Sealing a tree: what goes, what stays, and nothing outside of it."""

import os
from pathlib import Path

import pytest

from provision.jeos.layers import clamp_times
from provision.jeos.seal import seal

EPOCH = 1_700_000_000

GONE = (
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/sshd_config.d/00-build.conf",
    "etc/ssh/pool_authorized_keys",
    "home/sageadm/.ssh/id_ed25519",
    "root/.ssh/authorized_keys",
    "root/.bash_history",
    "root/.ansible/tmp/x",
    "root/.ansible_async/123.456",
    "etc/shadow-",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/timers/stamp-apt-daily.timer",
    "var/lib/apt/lists/some_Packages",
    "var/cache/apt/pkgcache.bin",
    "var/cache/apt/archives/a_1_all.deb",
    "var/cache/ldconfig/aux-cache",
    "var/cache/debconf/config.dat-old",
    "var/lib/dpkg/status-old",
    "var/log/dpkg.log",
    "var/log/apt/history.log",
    "var/log/journal/0123456789abcdef/system.journal",
    "var/tmp/left",
    "tmp/left",
    "run/left",
)
KEPT = (
    "etc/ssh/sshd_config",
    "etc/ssh/sshd_config.d/50-appliance.conf",
    "home/sageadm/.ssh/authorized_keys",
    "home/sageadm/.bashrc",
    "var/lib/dpkg/status",
    "var/cache/debconf/config.dat",
    "var/lib/systemd/deb-systemd-helper-enabled/ssh.service.dsh-also",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in (*GONE, *KEPT):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (root / "etc/shadow").write_text("root:*:20000:0:99999:7:::\nnb1:!:20123:0:99999:7:::\n")
    return root


def test_what_is_one_machines_own_goes_and_the_rest_stays(tree):
    seal(tree, EPOCH)
    assert [name for name in GONE if (tree / name).exists()] == []
    assert [name for name in KEPT if not (tree / name).exists()] == []
    assert (tree / "etc/machine-id").read_bytes() == b""
    assert (tree / "var/log/apt").is_dir()


def test_passwords_are_all_of_the_epochs_day(tree):
    seal(tree, EPOCH)
    day = EPOCH // 86400
    assert (tree / "etc/shadow").read_text() == (
        f"root:*:{day}:0:99999:7:::\nnb1:!:{day}:0:99999:7:::\n"
    )


def test_shadow_keeps_its_mode(tree):
    (tree / "etc/shadow").chmod(0o640)
    seal(tree, EPOCH)
    assert (tree / "etc/shadow").stat().st_mode & 0o777 == 0o640


def test_a_second_seal_changes_nothing(tree):
    seal(tree, EPOCH)
    clamp_times(tree, EPOCH)
    before = sorted((str(path), os.lstat(path).st_mtime_ns) for path in tree.rglob("*"))
    seal(tree, EPOCH)
    clamp_times(tree, EPOCH)
    assert sorted((str(path), os.lstat(path).st_mtime_ns) for path in tree.rglob("*")) == before


def test_links_that_lead_out_of_the_tree_are_not_followed(tree, tmp_path):
    outside = tmp_path / "outside"
    (outside / "inside").mkdir(parents=True)
    (outside / "precious").write_text("x")
    for name in ("tmp", "var/lib/apt/lists", "var/log"):
        path = tree / name
        for file in sorted(path.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        path.rmdir()
        path.symlink_to(outside)
    seal(tree, EPOCH)
    assert (outside / "precious").exists()
    assert (outside / "precious").stat().st_mtime != EPOCH


def test_the_resolver_is_the_networks_once_resolved_is_there(tree):
    (tree / "etc/resolv.conf").write_text("nameserver 192.0.2.1\n")
    (tree / "usr/lib/systemd").mkdir(parents=True)
    (tree / "usr/lib/systemd/systemd-resolved").touch()
    seal(tree, EPOCH)
    assert str((tree / "etc/resolv.conf").readlink()) == "../run/systemd/resolve/resolv.conf"
