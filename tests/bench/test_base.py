"""From a package mirror to a root disk: ours, mkosi, vmdb2's way; one package set, one run.

The others run as Debian's sid has them, in a root of their own. vmdb2 itself needs kpartx, and so a
kernel with device-mapper, which many build hosts lack: its steps (debootstrap, apt, mke2fs) are
run in its place, without partitions or boot loader, which is in its favour. mkosi makes no boot
loader either. All caches of packages are warm; each works in memory.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from provision import resources
from provision.build.build import request
from provision.build.request import Request
from provision.config import Config
from provision.jeos import boot, disk
from provision.jeos.base import TMPFS, build_base
from provision.jeos.layers import private_mounts
from provision.process import run

pytestmark = pytest.mark.timeout(3600)
TOOLS = (
    *("mkosi", "debootstrap", "systemd-repart", "e2fsprogs", "fdisk", "cpio", "zstd", "xz-utils"),
    *("ca-certificates", "debian-archive-keyring", "systemd", "udev", "kmod", "uidmap"),
)
ROUNDS = 3
# What a wiki page would say: each Python by pip, from the same lists as ours.
PIP = """#!/bin/sh
set -eu
lists=/work/src/lists
[ ! -e $lists/ca.crt ] || export PIP_CERT=$lists/ca.crt
for name in sage notebook python; do
    python3 -m venv /opt/$name
    pip="/opt/$name/bin/pip install --quiet --no-cache-dir --no-deps --require-hashes"
    awk '/^[a-z]/ { w = 0 } /^(cython|setuptools)==/ { w = 1 } w' $lists/$name.lock > /tmp/tools
    [ ! -s /tmp/tools ] || $pip --only-binary :all: -r /tmp/tools
    $pip --no-build-isolation --only-binary :all: --no-binary memory-allocator -r $lists/$name.lock
done
"""


@pytest.fixture(scope="module")
def wanted() -> Request:
    return request(Config())


@pytest.fixture(scope="module")
def others(wanted: Request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Debian with the newest mkosi and debootstrap, our mirror, and memory to work in."""
    private_mounts()
    root = tmp_path_factory.mktemp("others") / "root"
    mirror = f"deb {wanted.sources[0].uri} sid main"
    run(
        ["mmdebstrap", "--mode=root", "--variant=apt", "--format=directory",
         f"--include={','.join(TOOLS)}", '--aptopt=Acquire::Check-Valid-Until "false"',
         "sid", str(root), mirror]
    )  # fmt: skip
    run(["mount", "--bind", str(root), str(root)])
    run(["mount", "-t", "proc", "proc", str(root / "proc")])
    run(["mount", "--rbind", "/sys", str(root / "sys")])
    run(["mount", "--rbind", "/dev", str(root / "dev")])
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    work = root / "var/tmp"
    run(["mount", "-t", "tmpfs", "-o", "size=8g", "tmpfs", str(work)])
    yield root
    run(["umount", "--recursive", "--lazy", str(root)])


def _inside(root: Path, *argv: str) -> None:
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": "/var/tmp", "HOME": "/root",
           "DEBIAN_FRONTEND": "noninteractive"}  # fmt: skip
    done = subprocess.run(
        ["chroot", str(root), *argv], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def _ours(wanted: Request, work: Path) -> Callable[[], None]:
    def build() -> None:
        tree = work / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        build_base(wanted.base, tree, downloads=work / "downloads")
        (tree / "boot/grub").mkdir(parents=True, exist_ok=True)
        root = wanted.file_systems[0]
        (tree / "boot/grub/grub.cfg").write_text(boot.grub_config(root.identity))
        disk.make_disk(root, tree, work / "root.raw", tools=tree, epoch=wanted.release.epoch)

    return build


def _mkosi(
    wanted: Request,
    root: Path,
    packages: Sequence[str] = (),
    output: str = "",
    size: str = "12G",
) -> Callable[[], None]:
    place = root / "root/mkosi"
    (place / "repart").mkdir(parents=True)
    (place / "repart/10-root.conf").write_text(
        f"[Partition]\nType=root\nFormat=ext4\nCopyFiles=/\nMinimize=off\nSizeMinBytes={size}\n"
    )
    (place / "mkosi.conf").write_text(
        "[Distribution]\nDistribution=debian\nRelease=trixie\n"
        f"LocalMirror={wanted.sources[0].uri}\n"  # that one only: no debug symbols' archive
        # By default it wants a boot catalog, of a partition that is not there.
        f"[Output]\nFormat=disk\nElTorito=no\nRepartDirectories=repart\n{output}"
        "[Content]\nBootable=no\nWithDocs=no\n"
        "Packages=" + ",".join((*wanted.base.packages, *packages)) + "\n"
        "[Build]\nWorkspaceDirectory=/var/tmp\nPackageCacheDirectory=/root/mkosi/cache\n"
        "WithNetwork=yes\n"
    )
    (place / "cache").mkdir()
    return lambda: _inside(root, "mkosi", "--directory", "/root/mkosi", "--force", "build")


def _with_sage(wanted: Request, root: Path) -> Callable[[], None]:
    """The same as our default appliance has of apt's and PyPI's, and a compressed disk of it."""
    roles = resources.playbooks() / "roles"
    texts = [roles / "sage/tasks/passagemath.yml", roles / "notebook/tasks/install.yml"]
    named = [roles / "packages/defaults/main.yml", *texts]
    found = set()
    for text in named:
        found |= set(re.findall(r"^ +- ([a-z0-9.+-]+)(?: #.*)?$", text.read_text(), re.MULTILINE))
    build = _mkosi(wanted, root, sorted(found), "CompressOutput=zstd\n", "7G")
    place = root / "root/mkosi"
    sources = {
        "sage": roles / "sage/files/passagemath-10.8.lock",
        "notebook": roles / "notebook/files/requirements.lock",
        "python": roles / "kernels/files/python.lock",
    }
    (place / "lists").mkdir()
    for name, lock in sources.items():
        shutil.copy(lock, place / "lists" / f"{name}.lock")
    if wanted.host_ca:
        shutil.copy(wanted.host_ca, place / "lists/ca.crt")
    with (place / "mkosi.conf").open("a") as config:
        config.write("BuildSources=lists:lists\n")
    script = place / "mkosi.postinst.chroot"
    script.write_text(PIP)
    script.chmod(0o755)
    return build


def _debootstrap(wanted: Request, root: Path) -> Callable[[], None]:
    source, *_ = wanted.sources
    script = f"""
        set -eu
        rm -rf /var/tmp/tree; mkdir -p /root/debs /root/archives
        debootstrap --variant=minbase --cache-dir=/root/debs \
            {source.suite} /var/tmp/tree {source.uri}
        cp -a /root/archives/. /var/tmp/tree/var/cache/apt/archives/
        mount -t proc proc /var/tmp/tree/proc
        trap 'umount /var/tmp/tree/proc' EXIT
        chroot /var/tmp/tree apt-get update -q
        chroot /var/tmp/tree apt-get install -q -y --no-install-recommends \
            {" ".join(wanted.base.packages)}
        cp -au /var/tmp/tree/var/cache/apt/archives/. /root/archives/
        rm -f /var/tmp/tree/var/cache/apt/archives/*.deb
        umount /var/tmp/tree/proc; trap - EXIT
        rm -f /root/disk.raw; truncate -s 12G /root/disk.raw
        mke2fs -q -t ext4 -d /var/tmp/tree /root/disk.raw
        rm -rf /var/tmp/tree
    """
    return lambda: _inside(root, "bash", "-c", script)


def test_base(wanted: Request, others: Path) -> None:
    work = TMPFS / f"bench-base-{os.getpid()}"
    work.mkdir()
    ways = {
        "ours": _ours(wanted, work),
        "mkosi": _mkosi(wanted, others),
        "debootstrap, apt, mke2fs": _debootstrap(wanted, others),
    }
    times: dict[str, float] = {}
    try:
        for way in ways.values():  # fills the caches
            way()
        for _ in range(ROUNDS):
            for name, way in ways.items():
                begun = time.monotonic()
                way()
                took = time.monotonic() - begun
                times[name] = min(times.get(name, took), took)
    finally:
        shutil.rmtree(work)
    ratio = times["ours"] / min(took for name, took in times.items() if name != "ours")
    print()
    for name, took in times.items():
        print(f"| {name} | {took:.1f} s |")
    print(json.dumps({**times, "ratio": ratio}))
    assert ratio <= 0.55


@pytest.mark.slow
def test_the_default_appliance_beside_mkosi(wanted: Request, others: Path, tmp_path: Path) -> None:
    """From a mirror to our OVA and to mkosi's compressed disk: the same packages, the same Sage."""
    run(["umount", str(others / "var/tmp")])  # more than memory holds
    theirs = _with_sage(wanted, others)
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    build = [sys.executable, "-m", "provision.cli", "build", "--no-vm", "-o", tmp_path / "sage.ova"]

    def ours() -> None:
        shutil.rmtree(tmp_path / "cache/appliance/stages", ignore_errors=True)
        subprocess.run(build, env=env, check=True, capture_output=True, cwd=tmp_path)

    times = {}
    for name, way in {"ours": ours, "mkosi": theirs}.items():
        way()  # fills the caches
        begun = time.monotonic()
        way()
        times[name] = time.monotonic() - begun
        shutil.rmtree(tmp_path / "cache/appliance/stages", ignore_errors=True)  # room for the other
    (disk_of_mkosi,) = (others / "root/mkosi").glob("*.raw.zst")
    sizes = {"ours": (tmp_path / "sage.ova").stat().st_size, "mkosi": disk_of_mkosi.stat().st_size}
    print()
    for name, took in times.items():
        print(f"| {name} | {took:.1f} s | {sizes[name] / 1e6:.0f} MB |")
    ratio = times["ours"] / times["mkosi"]
    print(json.dumps({**times, "ratio": ratio}))
    assert ratio <= 0.6
