"""The Sage of a build, packed for appliances that are in use."""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import zstandard
from ruamel.yaml import YAML

from provision import locks, resources
from provision.build import places
from provision.build.build import build_packages
from provision.build.request import Request
from provision.build.workshop import Runtime
from provision.config import Config
from provision.errors import ApplianceError, UsageError
from provision.progress import step

LEVEL = 10  # of zstd: two cores pack 2 GB in half a minute


@dataclass(frozen=True)
class PackedSage:
    """A Sage that ``appliance upgrade sage`` takes.

    Args:
        path: the file, with its SHA-256 beside it.
        version: as in /opt/sage-VERSION.
    """

    path: Path
    version: str


def version_of(config: Config, wanted: str | None = None) -> str:
    """The version of Sage that a configuration brings.

    Args:
        config: what to build.
        wanted: the version that it should be.

    Raises:
        UsageError: it brings another one, or none that could be packed.
    """
    if config.sage.source not in ("passagemath", "tarball"):
        raise UsageError(
            f"sage.source: {config.sage.source} leaves nothing in /opt that could be packed",
            hint="--set sage.source=passagemath",
        )
    book = resources.playbooks() / "roles/sage/vars/main.yml"
    version: str = config.sage.version or YAML(typ="safe", pure=True).load(book)["sage_tested"]
    if wanted not in (None, version):
        raise UsageError(
            f"the configuration's Sage is {version}, not {wanted}",
            hint=f"say which wheels it has: --set sage.version={wanted} --set sage.lock=FILE;"
            " or give a --package",
        )
    return version


def wheels(config: Config) -> Path:
    """The list of the wheels that a configuration's Sage is made of.

    Raises:
        UsageError: it is made of something else.
    """
    version = version_of(config)
    if config.sage.source != "passagemath":
        raise UsageError(f"sage.source: {config.sage.source} has no wheels")
    files = resources.playbooks() / "roles/sage/files"
    return Path(config.sage.lock or files / f"passagemath-{version}.lock")


def pack(wanted: Request, output: Path | None = None, *, runtime: Runtime = "nspawn") -> PackedSage:
    """Pack the Sage that a build brings, from the stage that installs it; that is cached.

    Args:
        wanted: a request whose configuration says which Sage.
        output: the file to write; by default one in the cache, written once.
        runtime: what boots the guest that installs it.

    Raises:
        UsageError: the configuration brings no Sage that could be packed.
        ApplianceError: the build failed, or there is no room.
    """
    version = version_of(wanted.config)
    result, layer = build_packages(wanted, runtime=runtime)
    kept = places.cache() / "sage"
    kept.mkdir(parents=True, exist_ok=True)
    target = output or kept / f"sage-{version}-{result[:12]}.tar.zst"
    with locks.holding(kept / ".lock", wait=True):
        if output is not None or not target.exists():
            with step(f"pack Sage {version}"):
                _write(layer / "opt" / f"sage-{version}", target)
    return PackedSage(target, version)


def _write(tree: Path, target: Path) -> None:
    part = target.with_name(target.name + ".part")
    argv = ["tar", "-C", str(tree.parent), "--sort=name", "--numeric-owner", "-cf", "-", tree.name]
    try:
        with part.open("wb") as file, subprocess.Popen(argv, stdout=subprocess.PIPE) as tar:
            assert tar.stdout is not None  # noqa: S101 (a pipe was asked for)
            zstandard.ZstdCompressor(level=LEVEL, threads=-1).copy_stream(tar.stdout, file)
        if tar.returncode != 0:
            raise ApplianceError(f"tar could not read {tree}")
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        target.with_name(target.name + ".sha256").write_text(f"{digest}  {target.name}\n")
        part.replace(target)
    except OSError as error:
        raise ApplianceError(
            f"cannot write {target}: {error.strerror}", hint="free some room, or name another file"
        ) from error
    finally:
        part.unlink(missing_ok=True)
