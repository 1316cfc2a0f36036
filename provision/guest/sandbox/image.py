"""Build the root file system of a box: Debian packages, precompiled, as reproducible squashfs."""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from provision import process
from provision.errors import ApplianceError, UsageError
from provision.guest.sandbox import seccomp
from provision.progress import step

USER, UID = "student", 1000
WORK = "/tmp/task"  # noqa: S108 (a path inside the box, on its own memory file system)

# What a box never needs, and what would make two builds differ.
_PRUNED = (
    *("boot", "etc/hostname", "etc/resolv.conf", "etc/machine-id", "etc/shadow", "etc/gshadow"),
    *("etc/ssh", "tmc", "usr/share/doc", "usr/share/info", "usr/share/lintian", "usr/share/man"),
    *("var/cache", "var/lib/apt/lists", "var/lib/dbus", "var/lib/systemd", "var/log", "var/tmp"),
)
_ALWAYS = ("mount",)  # what the first process of a User-Mode Linux guest needs beside those
_EMPTIED = ("dev", "proc", "sys", "run", "tmp")
# A box has one writable place, /tmp; the names by which programs look for others lead there.
_MERGED = {name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")}
_LINKS = {"var/tmp": "/tmp", "tmc": WORK}  # noqa: S108 (paths inside the box)
_FILES = {
    "etc/hostname": "sandbox\n",
    "etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "etc/machine-id": "",
    "etc/resolv.conf": "",
}
# Where the first process of a User-Mode Linux guest is in an image.
UML_INIT = "usr/lib/sandbox/init"
UML_RUN = "usr/lib/sandbox/run"  # what it starts as the student
UML_FILTER = "usr/lib/sandbox/filter"  # of system calls, for util-linux 2.40 and later
_ACCOUNT = {
    "etc/passwd": f"{USER}:x:{UID}:{UID}::{WORK}:/bin/sh\n",
    "etc/group": f"{USER}:x:{UID}:\n",
}
COMPILE = "-m compileall -q --invalidation-mode unchecked-hash"
# What packages came by is this host's business: its proxy may have a password in its URL.
_FORGET = "rm -f etc/apt/apt.conf.d/99mmdebstrap etc/dpkg/dpkg.cfg.d/99mmdebstrap"
# In one process: many need shared memory, which an unpacked root does not have. The directories
# are the root's own, not this host's. Some files are bad on purpose (tests).
_COMPILE = (
    "if [ -x usr/bin/python3 ]; then find . -xdev -name '*.pyc' -delete; chroot . "
    f"python3 -I {COMPILE} "
    "$(printf '/%s ' usr/lib/python3* usr/local/lib) || true; fi"
)
_JAVA_SHARED_CLASSES = (
    "for java in usr/lib/jvm/java-*-openjdk-*/bin/java; do "
    '[ -x "$java" ] || continue; mount -t proc proc proc 2>/dev/null || true; '
    'chroot . "/$java" -Xshare:dump >/dev/null 2>&1 || true; umount proc 2>/dev/null || true; done'
)


@dataclass(frozen=True)
class Recipe:
    """What goes into an image.

    Args:
        name: the image's name, by which a task chooses it.
        packages: Debian packages beside the essential ones.
        suite: the Debian or Ubuntu release.
        mirror: where packages come from, or lines of a sources.list; None: the distribution's
            own default.
        epoch: the time of every file, seconds since 1970, so that the same packages give the
            same bytes.
        proxy: variables by which downloads find their proxy, if there is one.
        arch: Debian's name of another architecture than this machine's; empty: its own.
        essential: False leaves the essential packages out and configures nothing: for a jail
            that needs no shell.
    """

    name: str
    packages: tuple[str, ...] = ("python3",)
    suite: str = "trixie"
    mirror: str | None = None
    epoch: int = 1_735_689_600
    arch: str = ""
    essential: bool = True
    proxy: Mapping[str, str] = field(default_factory=dict, repr=False)


def build(recipe: Recipe, directory: Path) -> Path:
    """Build ``NAME.squashfs`` and ``NAME.json`` (packages, sha256) in a directory.

    Needs mmdebstrap and squashfs-tools; root, or a host that allows user namespaces.

    Returns:
        The squashfs file.

    Raises:
        ApplianceError: a package was not found, or the mirror not reached.
    """
    _check_name(recipe.name)
    mksquashfs = process.require("mksquashfs", "squashfs-tools")
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"{recipe.name}.squashfs"
    with tempfile.TemporaryDirectory(prefix=".image-", dir=directory) as scratch:
        tar, draft = Path(scratch) / "root.tar", Path(scratch) / "root.squashfs"
        bootstrap(recipe, tar)
        with step("Compressing the image"):
            _squash(mksquashfs, tar, draft, recipe.epoch)
        digest = _sha256(draft)
        manifest = {
            "name": recipe.name,
            "suite": recipe.suite,
            "packages": sorted(recipe.packages),
            "epoch": recipe.epoch,
            "sha256": digest,
            "size": draft.stat().st_size,
        }
        (directory / f"{recipe.name}.json").write_text(json.dumps(manifest, indent=2) + "\n")
        draft.replace(target)
    return target


def bootstrap(recipe: Recipe, tar: Path) -> None:
    """Write the root file system of a recipe as a tar file; the first half of `build`."""
    mmdebstrap = process.require("mmdebstrap", "mmdebstrap")
    argv = [
        mmdebstrap,
        f"--variant={'essential' if recipe.essential else 'extract'}",
        *([f"--architectures={recipe.arch}"] if recipe.arch else []),
        "--format=tar",
        "--aptopt=Acquire::Retries 3",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        f"--include={','.join((*recipe.packages, *(_ALWAYS if recipe.essential else ())))}",
    ]
    # Java's packages make links below man1 and fail where the path does not exist.
    argv.append('--essential-hook=mkdir -p "$1/usr/share/man/man1"')
    scripts = [_COMPILE]
    if any("jdk" in package or "jre" in package for package in recipe.packages):
        scripts.append(_JAVA_SHARED_CLASSES)
    scripts.append(_FORGET)
    argv += [f'--customize-hook=cd "$1" && {{ {script}; }}' for script in scripts]
    argv += [recipe.suite, str(tar)]
    argv += (recipe.mirror or "").splitlines()
    with step(f"Installing {', '.join(recipe.packages)} from {recipe.suite}"):
        process.run(argv, env={"SOURCE_DATE_EPOCH": str(recipe.epoch), **recipe.proxy})


def indexes(recipe: Recipe, directory: Path) -> None:
    """Bring a suite's package indexes, checked by apt, to ``lists`` in a directory.

    Raises:
        ApplianceError: the mirror was not reached.
    """
    mmdebstrap = process.require("mmdebstrap", "mmdebstrap")
    argv = [mmdebstrap, "--variant=custom", "--format=null", "--aptopt=Acquire::Retries 3"]
    argv += [f"--customize-hook=copy-out /var/lib/apt/lists {directory}", recipe.suite, "-"]
    process.run([*argv, *(recipe.mirror or "").splitlines()], env=recipe.proxy)


def extract(image: Path, directory: Path) -> None:
    """Unpack an image into a directory, where no squashfs can be mounted."""
    unsquashfs = process.require("unsquashfs", "squashfs-tools")
    process.run([unsquashfs, "-q", "-n", "-d", str(directory), str(image)])


def to_ext4(root: Path, target: Path, size: int) -> None:
    """Write a root file system as a read-only disk for User-Mode Linux.

    Debian's kernel for it can mount ext4 without a module, but no squashfs.

    Args:
        root: the unpacked image, with its owners: run as root.
        target: the disk.
        size: its bytes.
    """
    mke2fs = process.require("mke2fs", "e2fsprogs")
    argv = [mke2fs, "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", str(root)]
    process.run([*argv, "-E", "root_owner=0:0", str(target), f"{size >> 10}k"])


def verify(image: Path) -> None:
    """Compare an image with the sha256 in its manifest.

    Raises:
        ApplianceError: they differ, or there is no manifest.
    """
    manifest = image.with_suffix(".json")
    try:
        expected = json.loads(manifest.read_text())["sha256"]
    except (OSError, ValueError, KeyError):
        raise ApplianceError(f"{image} has no readable manifest {manifest.name}") from None
    if _sha256(image) != expected:
        raise ApplianceError(f"{image} is not what its manifest says", hint="build it again")


def manifests(directory: Path) -> dict[str, dict[str, object]]:
    """The manifests of the images in a directory, by name."""
    found = {}
    for manifest in sorted(directory.glob("*.json")):
        if manifest.with_suffix(".squashfs").is_file():
            found[manifest.stem] = json.loads(manifest.read_text())
    return found


def _check_name(name: str) -> None:
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"{name!r} is not an image name", hint="use letters, digits, - and _")


def _squash(mksquashfs: str, tar: Path, target: Path, epoch: int) -> None:
    # Reading a tar, mksquashfs keeps owners and modes without being root.
    argv = [
        *(mksquashfs, "-", str(target), "-tar", "-quiet", "-no-progress", "-noappend"),
        *("-no-xattrs", "-comp", "zstd", "-Xcompression-level", "6", "-b", "256K"),
        *("-root-mode", "0755", "-root-uid", "0", "-root-gid", "0", "-root-time", str(epoch)),
    ]
    process.feed(argv, lambda sink: clean(tar, sink, epoch), env={"SOURCE_DATE_EPOCH": str(epoch)})


def clean(tar: Path, sink: IO[bytes], epoch: int) -> None:
    """Copy a root file system's tar without what a box must not have.

    Gone are device nodes, set-user-id bits, logs, caches, host keys and password hashes;
    added are the account of the box and links from every writable place to its one.
    """
    accounts, links = dict(_ACCOUNT), {**_MERGED, **_LINKS}
    with tarfile.open(tar) as source, tarfile.open(fileobj=sink, mode="w|") as copy:
        for member in source:
            name = member.name.removeprefix("./").rstrip("/")
            if member.isdev() or _is_below(name, _PRUNED) or name in _FILES:
                continue
            if any(name.startswith(f"{place}/") for place in _EMPTIED):
                continue
            links.pop(name, None)
            member.mode &= 0o1777
            member.mtime = min(int(member.mtime), epoch)
            member.pax_headers = {}
            content = source.extractfile(member) if member.isreg() else None
            if content and name in accounts:
                _add(copy, name, content.read().decode() + accounts.pop(name), epoch)
            else:
                copy.addfile(member, content)
        for name, text in {**_FILES, **accounts}.items():
            _add(copy, name, text, epoch)
        for name, script in {UML_INIT: "uml-init.sh", UML_RUN: "run-task.sh"}.items():
            _add(copy, name, (Path(__file__).parent / script).read_text(), epoch, mode=0o755)
        _add(copy, UML_FILTER, seccomp.program(), epoch)
        for name, destination in links.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname, link.mtime = tarfile.SYMTYPE, destination, epoch
            copy.addfile(link)


def _add(
    copy: tarfile.TarFile, name: str, content: str | bytes, epoch: int, *, mode: int = 0o644
) -> None:
    data = content.encode() if isinstance(content, str) else content
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(data), epoch, mode
    copy.addfile(member, io.BytesIO(data))


def _is_below(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
