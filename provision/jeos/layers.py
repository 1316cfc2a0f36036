"""Directory layers: seen as one tree by overlayfs, in a mount namespace that is ours alone."""

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from provision import temporary
from provision.errors import HostNotReadyError
from provision.process import CommandFailedError, run

CLONE_NEWNS = 0x00020000
# The newer system calls of mount(8) take no option longer than 256 bytes; layers' paths are.
CLASSIC_MOUNT = {"LIBMOUNT_FORCE_MOUNT2": "always"}


def private_mounts() -> None:
    """Give this process a mount namespace of its own: every mount ends with the process.

    Call it once, early, from the main thread; commands that are started later inherit it.

    Raises:
        HostNotReadyError: not root, or in a chroot that is no mount point.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise HostNotReadyError(
            f"cannot make a mount namespace: {os.strerror(ctypes.get_errno())}",
            hint="run as root; `appliance doctor` says what a build without root needs",
        )
    make_private()


def make_private() -> None:
    """Keep every later mount to this mount namespace.

    Raises:
        HostNotReadyError: ``/`` is that of a chroot that is no mount point.
    """
    try:
        run(["mount", "--make-rprivate", "/"])
    except CommandFailedError as error:
        raise HostNotReadyError(
            f"the mounts of / cannot be kept private: {error}",
            hint="in a chroot, first bind its directory onto itself: mount --rbind DIR DIR",
        ) from error


@contextlib.contextmanager
def merging(lowers: Sequence[Path], upper: Path | None = None) -> Iterator[Path]:
    """Show layers as one tree while the context lasts; in it fsync(2) does not wait for the disk.

    Args:
        lowers: the layers, the lowest first.
        upper: takes changes; None: the tree is read-only.
    """
    place = temporary.make()
    work: Path | None = None
    if upper is not None:
        options, work = writable(lowers, upper)
    else:  # overlayfs wants two layers where nothing is writable
        options = _lowers(lowers if len(lowers) > 1 else [place, *lowers])
    try:
        run(["mount", "-t", "overlay", "overlay", "-o", options, str(place)], env=CLASSIC_MOUNT)
        try:
            yield place
        finally:
            run(["umount", "--recursive", str(place)])
        temporary.remove(place)
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def writable(lowers: Sequence[Path], upper: Path) -> tuple[str, Path]:
    """The mount options of layers of which the uppermost takes every change.

    What is written is complete or thrown away, so it need not wait for the disk.

    Args:
        lowers: the layers below it, the lowest first.
        upper: made when missing.

    Returns:
        And a directory of overlayfs' own, to be removed afterwards.
    """
    upper.mkdir(parents=True, exist_ok=True)
    work = upper.with_name(upper.name + ".work")
    work.mkdir(exist_ok=True)
    return f"{_lowers(lowers)},upperdir={escape(upper)},workdir={escape(work)},volatile", work


def _lowers(layers: Sequence[Path]) -> str:
    options = "lowerdir=" + ":".join(escape(path) for path in reversed(layers))
    # In a user namespace it may not set the usual ones: no directory could be removed.
    return options if roots_namespace() else f"userxattr,{options}"


@contextlib.contextmanager
def skipping_sync(directory: Path) -> Iterator[Path]:
    """Another place of a directory, at which fsync(2) does not wait for the disk."""
    with temporary.directory() as nothing, merging([nothing], directory) as place:
        yield place


def roots_namespace() -> bool:
    """Whether root, here, is the host's own rather than that of a user namespace."""
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", str(2**32 - 1)]


def escape(path: Path) -> str:
    """A path as overlayfs wants it in its mount options."""
    text = str(path.resolve())
    for special in ("\\", ":", ","):
        text = text.replace(special, "\\" + special)
    return text


def clamp_times(layer: Path, epoch: int) -> None:
    """Set every later modification time in a layer to ``epoch``; the earlier ones stay.

    A layer that is clamped as soon as it is complete never has to be copied up for it. mke2fs takes
    the time of the last reading from a file, too, and clamps what is later: one from before
    ``epoch``, as uv gives to what it installs, would be another once somebody has read the file.
    """
    end = epoch * 10**9
    for directory, below, files in os.walk(layer, topdown=False):
        for name in (*below, *files, "."):  # a link to a directory is among those below
            path = os.path.join(directory, name)  # noqa: PTH118 (a million files: plain strings)
            status = os.lstat(path)
            if status.st_mtime_ns > end or status.st_atime_ns < end:
                os.utime(path, ns=(end, min(status.st_mtime_ns, end)), follow_symlinks=False)
