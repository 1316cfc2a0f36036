"""Idempotence in a real guest, and two builds that must be the same to the last byte."""

import hashlib
import os
import re
import stat
from pathlib import Path

import pytest

from provision.jeos.layers import merging

pytestmark = pytest.mark.slow  # several whole builds
PRIVATE_KEY = re.compile(rb"^-----BEGIN [A-Z ]*PRIVATE KEY-----$", re.MULTILINE)
Entry = tuple[int, int, int, int, int, tuple[tuple[str, bytes], ...], str]


def listing(tree: Path) -> dict[str, Entry]:
    """Everything of a tree that lands on a disk: mode, owner, time, links, attributes, content."""
    found: dict[str, Entry] = {}
    for directory, names, files in os.walk(tree):
        for name in (*names, *files, "."):
            path = os.path.join(directory, name)  # noqa: PTH118 (a hundred thousand)
            status = os.lstat(path)
            content = ""
            if stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = str(Path(path).readlink())
            attributes = tuple(
                (attribute, os.getxattr(path, attribute, follow_symlinks=False))
                for attribute in sorted(os.listxattr(path, follow_symlinks=False))
            )
            found[os.path.relpath(path, tree)] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                0 if stat.S_ISDIR(status.st_mode) else status.st_nlink,
                attributes,
                content,
            )
    return found


def test_second_run_and_check_change_nothing_and_the_pool_shrinks_and_grows(boot, base, workshop):
    guest = boot([base])
    first = guest.play("site")
    assert "packages : Install the packages" in first.changed
    assert guest.play("site").changed == ()
    assert guest.play("site", check=True).changed == ()

    guest.variables["pool_accounts"] = ["nb1"]
    assert "users : Remove the pool's accounts that are no longer wanted" in (
        guest.play("configure").changed
    )
    assert guest.ask("getent passwd | grep -o '^nb[0-9]*' | xargs") == "nb1"
    assert guest.ask("ls /home | xargs") == "nb1 sageadm students"
    guest.variables["pool_accounts"] = ["nb1", "nb2", "nb3"]
    guest.play("configure")
    assert guest.ask("id nb3") == "uid=2003(nb3) gid=2000(sageusers) groups=2000(sageusers)"
    assert guest.play("configure").changed == ()


def test_two_builds_give_the_same_tree(build, sealed):
    with merging(sealed) as tree:
        first = listing(tree)
    with merging(build()) as tree:
        second = listing(tree)
    differing = {
        path: (first.get(path), second.get(path))
        for path in first.keys() | second.keys()
        if first.get(path) != second.get(path)
    }
    assert differing == {}


def test_sealed_tree_tells_nothing_of_its_build(sealed, workshop):
    epoch = workshop.request.release.epoch
    with merging(sealed) as tree:
        late = [path for path, entry in listing(tree).items() if entry[3] > epoch * 10**9]
        assert late == []
        secret = [
            str(path.relative_to(tree))
            for pattern in (
                "etc/ssh/ssh_host_*",
                "root/.ssh",
                "home/*/.ssh/id_*",
                "var/log/**/*.log",
            )
            for path in tree.glob(pattern)
        ]
        assert secret == []
        assert (tree / "etc/machine-id").read_bytes() == b""
        keys = [
            str(path.relative_to(tree))
            for directory in ("etc", "home", "root", "var", "opt", "srv", "usr/local")
            for path in (tree / directory).rglob("*")
            if path.is_file() and not path.is_symlink() and PRIVATE_KEY.search(path.read_bytes())
            if "site-packages/tornado/test/" not in str(path)  # published with its source
        ]
        assert keys == []
        host = os.uname().nodename.encode()
        named = [
            path.name
            for path in (tree / "etc").glob("*")
            if path.is_file() and path.name in ("hostname", "hosts", "mailname")
            if host in path.read_bytes().split()
        ]
        assert named == []


@pytest.mark.parametrize("path", ["/etc/apt/apt.conf.d/99mmdebstrap", "/etc/apt/sources.list"])
def test_what_the_base_was_made_with_is_gone(sealed, path):
    with merging(sealed) as tree:
        assert not (tree / path.lstrip("/")).exists()


def test_no_kernel_brings_drivers_that_no_machine_of_ours_has(sealed):
    with merging(sealed) as tree:
        (kernel,) = (tree / "usr/lib/modules").iterdir()
        drivers = kernel / "kernel/drivers"
        assert (drivers / "net/ethernet/intel/e1000").is_dir()
        assert [*(drivers / "gpu/drm").rglob("*vmwgfx.ko*")]
        assert not [*(drivers / "gpu/drm/amd").rglob("*.ko*")]  # dpkg leaves its directories
        # dpkg reads the same rules when the guest installs its next kernel.
        assert "drm/amd/*" in (tree / "etc/dpkg/dpkg.cfg.d/appliance").read_text()
