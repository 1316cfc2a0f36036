"""Build a jail: a directory with Python and nothing else, and keep its owners and modes."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from provision import process
from provision.errors import ApplianceError
from provision.guest.sandbox import image
from provision.progress import step

PACKAGES = ("libpython3-stdlib", "python3-minimal")
MARK = "REM_this_is_jail"  # python3jail's own: `maintenance` works on nothing else


def build(
    directory: Path,
    *,
    suite: str = "trixie",
    mirror: str | None = None,
    pip: Sequence[str] = (),
    proxy: str | None = None,
) -> None:
    """Make a jail in a directory that does not exist yet.

    Args:
        directory: the jail; its parent must exist.
        suite, mirror: the Debian release, and where from; None: the distribution's default.
        pip: further packages from PyPI, as wheels, below ``/static``.
        proxy: HTTP proxy for Debian's packages.

    Raises:
        ApplianceError: the directory exists, or packages were not found.
    """
    if directory.exists():
        raise ApplianceError(f"{directory} exists", hint=f"rm -r {directory}, or name another")
    recipe = image.Recipe(
        "jail", PACKAGES, suite=suite, mirror=mirror, essential=False, proxy=proxy
    )
    with tempfile.TemporaryDirectory(prefix=".jail-", dir=directory.parent) as scratch:
        tar, cleaned = Path(scratch) / "root.tar", Path(scratch) / "clean.tar"
        draft = Path(scratch) / "root"
        image.bootstrap(recipe, tar)
        with cleaned.open("wb") as sink:
            image.clean(tar, sink, recipe.epoch)
        draft.mkdir(mode=0o755)
        process.run(["tar", "-C", str(draft), "--no-same-owner", "-xpf", str(cleaned)])
        for name in ("static", "scratch", "proc", "dev", "tmp"):
            (draft / name).mkdir(exist_ok=True)
        (draft / "tmp").chmod(0o1777)
        (draft / MARK).touch()
        if pip:
            _install(draft, pip)
        with step("Compiling Python's modules"):
            _compile(draft)
        draft.rename(directory)


def _install(root: Path, names: Sequence[str]) -> None:
    version = next((root / "usr/lib").glob("python3.*")).name.removeprefix("python")
    with step(f"Installing {', '.join(names)}"):
        uv = shutil.which("uv")
        tool = [uv, "pip", "install"] if uv else ["python3", "-m", "pip", "install"]
        process.run(
            [
                *(*tool, "--target", str(root / "static"), "--python-version", version),
                *("--only-binary", ":all:", *names),
            ]
        )


def _compile(root: Path) -> None:
    # Its own interpreter, seeing nothing but the jail; some files are bad on purpose (tests).
    bwrap = process.require("bwrap", "bubblewrap")
    with contextlib.suppress(process.CommandFailedError):
        process.run(
            [
                *(bwrap, "--unshare-all", "--uid", "0", "--gid", "0", "--bind", str(root), "/"),
                *("--proc", "/proc", "--dev", "/dev", "/usr/bin/python3", "-I"),
                *(*image.COMPILE.split(), "/usr/lib/python3", "/static", *_libraries(root)),
            ],
            env={"SOURCE_DATE_EPOCH": "0"},
        )


def _libraries(root: Path) -> list[str]:
    return [f"/usr/lib/{path.name}" for path in (root / "usr/lib").glob("python3.*")]


def maintain(directory: Path, *, owner: str, web: str) -> list[str]:
    """Set owners and modes as python3jail's ``maintenance`` did, and empty the scratch directory.

    Everything is readable by all, executable where it was, and writable by the owner only;
    ``scratch`` is for the owner and the web server's group.

    Args:
        directory: a jail.
        owner: the user who owns it.
        web: the group of the web server.

    Returns:
        What was changed, a line for each path.

    Raises:
        ApplianceError: it is no jail.
    """
    if not (directory / MARK).exists():
        raise ApplianceError(f"{directory} is no jail", hint=f"there is no {MARK} in it")
    changed = []
    scratch = directory / "scratch"
    if scratch.is_dir() and not scratch.is_symlink():
        for entry in scratch.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            changed.append(f"removed {entry}")
    scratch.mkdir(exist_ok=True)
    for path in [directory, *sorted(directory.rglob("*"))]:
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        runs = path.is_dir() or mode & 0o100
        wanted = (mode & 0o1600) | 0o644 | (0o111 if runs else 0)
        if path == scratch:
            wanted = 0o770
        elif path == directory / "tmp":
            wanted = 0o1777
        if mode != wanted:
            path.chmod(wanted)
            changed.append(f"mode {wanted:04o} {path}")
        if os.getuid() == 0:
            shutil.chown(path, owner, web if path == scratch else None)
    return changed
