"""Build a jail: a directory with Python and nothing else, and keep its owners and modes."""

import dataclasses
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from provision import process
from provision.errors import ApplianceError
from provision.guest.jail import libraries
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
    packages: Sequence[str] = (),
    proxy: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Make a jail in a directory that does not exist yet.

    Args:
        directory: the jail; its parent must exist.
        suite, mirror: the Debian release, and where from; None: the distribution's default.
        pip: further packages from PyPI, as wheels, below ``/static``. The libraries that they
            link to and do not bring along are added, as Debian's packages.
        packages: further packages of Debian; their maintainers' scripts do not run.
        proxy: variables by which downloads find their proxy, if there is one.

    Raises:
        ApplianceError: the directory exists, packages were not found, or a wheel links to a
            library that no package is called after.
    """
    if directory.exists():
        raise ApplianceError(f"{directory} exists", hint=f"rm -r {directory}, or name another")
    recipe = image.Recipe(
        *("jail", (*PACKAGES, *packages)),
        suite=suite,
        mirror=mirror,
        essential=False,
        proxy=proxy,
    )
    with tempfile.TemporaryDirectory(prefix=".jail-", dir=directory.parent) as place:
        scratch = Path(place)
        draft = _unpack(recipe, scratch / "root")
        if pip:
            _install(draft, pip, proxy)
            draft = _with_libraries(draft, recipe, scratch)
        with step("Compiling Python's modules"):
            _compile(draft)
        draft.rename(directory)


def _unpack(recipe: image.Recipe, draft: Path) -> Path:
    """Make the root of a jail without what comes from PyPI."""
    tar, cleaned = draft.with_suffix(".tar"), draft.with_suffix(".clean.tar")
    image.bootstrap(recipe, tar)
    with cleaned.open("wb") as sink:
        image.clean(tar, sink, recipe.epoch)
    draft.mkdir(mode=0o755)
    process.run(["tar", "-C", str(draft), "--no-same-owner", "-xpf", str(cleaned)])
    tar.unlink()
    cleaned.unlink()
    for name in ("static", "scratch", "proc", "dev", "tmp"):
        (draft / name).mkdir(exist_ok=True)
    (draft / "tmp").chmod(0o1777)
    (draft / MARK).touch()
    return draft


def _with_libraries(draft: Path, recipe: image.Recipe, scratch: Path) -> Path:
    """The jail with all that its wheels link to."""
    lacks = libraries.lacking(draft)
    if wanted := libraries.names(lacks):
        more = libraries.packages(wanted, recipe, scratch)
        if more:
            packages = (*recipe.packages, *more)
            richer = _unpack(dataclasses.replace(recipe, packages=packages), scratch / "richer")
            (richer / "static").rmdir()
            (draft / "static").rename(richer / "static")
            draft = richer
    libraries.check(draft)
    return draft


def _install(root: Path, names: Sequence[str], proxy: Mapping[str, str]) -> None:
    version = next((root / "usr/lib").glob("python3.*")).name.removeprefix("python")
    with step(f"Installing {', '.join(names)}"):
        tool = [sys.executable, "-m", *(["uv"] if find_spec("uv") else []), "pip", "install"]
        process.run(
            [
                *(*tool, "--target", str(root / "static"), "--python-version", version),
                *("--only-binary", ":all:", *names),
            ],
            env=proxy,
        )


def _compile(root: Path) -> None:
    # Its own interpreter, seeing nothing but the jail.
    bwrap = process.require("bwrap", "bubblewrap")
    try:
        process.run(
            [
                *(bwrap, "--unshare-all", "--uid", "0", "--gid", "0", "--bind", str(root), "/"),
                *("--proc", "/proc", "--dev", "/dev", "/usr/bin/python3", "-I"),
                *(*image.COMPILE.split(), "/usr/lib/python3", "/static", *_libraries(root)),
            ],
            env={"SOURCE_DATE_EPOCH": "0"},
        )
    except process.CommandFailedError as error:  # some files are bad on purpose (tests)
        if "bwrap:" in str(error):
            raise


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
