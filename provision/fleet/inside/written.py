"""The files that playbooks and packages write: a record of them, and the way back to it.

What is this appliance's own (``own``) is in neither: a key that was taken away since stays away,
and what came since stays.
"""

import contextlib
import filecmp
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from .own import is_own

HOOK = Path("/etc/apt/apt.conf.d/99appliance-upgrade")
SHADOW = Path("/etc/shadow")
# What playbooks write, besides packages. /home and the hub's state are the students'.
WRITTEN = (
    *("/etc", "/usr/local", "/opt/notebook", "/opt/notebook.lock"),
    *("/var/lib/apt/extended_states", "/vmlinuz", "/vmlinuz.old", "/initrd.img", "/initrd.img.old"),
)
# Made anew at each boot, or another's; besides what is the machine's own.
LEFT = (
    *("/etc/mtab", "/etc/resolv.conf", "/etc/machine-id", "/etc/.pwd.lock", str(HOOK)),
    *("/usr/local/bin/sage", "/usr/local/share/jupyter/kernels"),  # of `upgrade sage`
)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree as it is; what is only ever replaced, never written into, by links."""
    linked = str(source).startswith("/opt/")
    for path, status in _walk(source):
        copy = target if path == source else target / path.relative_to(source)
        if stat.S_ISDIR(status.st_mode):
            copy.mkdir(parents=True, exist_ok=True)
            os.chown(copy, status.st_uid, status.st_gid)
            copy.chmod(stat.S_IMODE(status.st_mode))
        elif _kind(status):
            copy.parent.mkdir(parents=True, exist_ok=True)
            duplicate(path, copy, link=linked)


def _kind(status: os.stat_result) -> bool:
    """Whether it is a directory, a file or a link: no playbook writes anything else."""
    kind = stat.S_IFMT(status.st_mode)
    return kind in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK)


def duplicate(source: Path, target: Path, *, link: bool = False) -> None:
    """Copy one file or link as it is, with its owner; ``link``: by a further name, if that goes."""
    if link:
        with contextlib.suppress(OSError):
            os.link(source, target, follow_symlinks=False)
            return
    status = source.lstat()
    shutil.copy2(source, target, follow_symlinks=False)
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        target.chmod(stat.S_IMODE(status.st_mode))  # chown takes setuid away


def _walk(top: Path, root: Path = Path("/")) -> Iterator[tuple[Path, os.stat_result]]:
    """What is there and below, but for what no upgrade touches.

    Args:
        top: where to begin.
        root: what is taken for ``/``.
    """
    try:
        status = top.lstat()
    except FileNotFoundError:
        return
    here = f"/{top.relative_to(root)}"
    if here in LEFT or is_own(here):
        return
    yield top, status
    if stat.S_ISDIR(status.st_mode):
        for entry in sorted(os.scandir(top), key=lambda entry: entry.name):
            yield from _walk(Path(entry.path), root)


def record(saved: Path) -> None:
    """Copy them.

    Args:
        saved: where to, an empty directory.
    """
    for path in map(Path, WRITTEN):
        copy_tree(path, saved / path.relative_to("/"))


def put_back(files: Path, undone: Path) -> None:
    """Make them exactly what they were.

    Args:
        files: the record.
        undone: where to keep what goes out of /etc; also what an earlier try has left there.
    """
    for top in map(Path, WRITTEN):
        saved = files / top.relative_to("/")
        for path, status in reversed(list(_walk(top))):
            copy = files / path.relative_to("/")
            if os.path.lexists(copy) or not _kind(status):
                continue
            if stat.S_ISDIR(status.st_mode):
                with contextlib.suppress(OSError):
                    path.rmdir()
            else:
                _put_aside(path, undone)
                path.unlink()
        for copy, status in _walk(saved, files):
            _restore_one(copy, Path("/") / copy.relative_to(files), status, undone)


def _put_aside(path: Path, undone: Path) -> None:
    """Keep what came into /etc since: by a package, a playbook, or somebody who wants it back."""
    if path.is_relative_to("/etc") and (path.is_file() or path.is_symlink()):
        target = undone / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        duplicate(path, target)


def _with_passwords_of_today(shadow: Path) -> None:
    """Keep each account's password as it is now: one that was given up must not open again."""
    now = {row[0]: row[1:2] for row in map(_fields, SHADOW.read_text().splitlines())}
    rows = [_fields(line) for line in shadow.read_text().splitlines()]
    kept = [[row[0], *now.get(row[0], row[1:2]), *row[2:]] for row in rows]
    shadow.write_text("".join(":".join(row) + "\n" for row in kept))


def _fields(line: str) -> list[str]:
    return line.split(":")


def _restore_one(copy: Path, path: Path, status: os.stat_result, undone: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
            path.mkdir()
        os.chown(path, status.st_uid, status.st_gid)
        path.chmod(stat.S_IMODE(status.st_mode))
        return
    if not _same(copy, path, status):
        _put_aside(path, undone)
        fresh = path.with_name(f".{path.name}.back")
        fresh.unlink(missing_ok=True)
        duplicate(copy, fresh)
        if path == SHADOW:
            _with_passwords_of_today(fresh)
        fresh.replace(path)


def _same(copy: Path, path: Path, status: os.stat_result) -> bool:
    try:
        now = path.lstat()
    except FileNotFoundError:
        return False
    of = (now.st_mode, now.st_uid, now.st_gid)
    if (now.st_dev, now.st_ino) == (status.st_dev, status.st_ino):
        return True
    if of != (status.st_mode, status.st_uid, status.st_gid):
        return False
    if stat.S_ISLNK(status.st_mode):
        return copy.readlink() == path.readlink()
    return filecmp.cmp(copy, path, shallow=False)
