"""The notebook's Python environment, made on this host for appliances in use.

uv installs it from a list with hashes, for the guests' Python and not for ours, so that no guest is
booted and none needs an index. What an appliance lacks of it goes there in one file.
"""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from provision import locks, resources
from provision.build import places
from provision.config.architectures import ARCHITECTURES
from provision.config.architectures import Name as ArchName
from provision.config.wheels import normalize, pins
from provision.errors import ApplianceError, UsageError
from provision.files import writing_whole
from provision.jeos.proxy import of
from provision.progress import note, step

PREFIX = "opt/notebook"
LEVEL = 10  # of zstd
CHANGE = ".change.json"  # in each package: what goes, and which list it is
KINDS = ("git", "signin")  # extensions with lists of their own
_DATA = ("bin/", "etc/", "include/", "share/")  # beside site-packages in an environment
_SHEBANG = re.compile(rb"\A#!(?:/bin/sh\n'''exec' [^\n]*\n' '''|[^\n]*python[^\n]*)\n")


@dataclass(frozen=True)
class Wanted:
    """An environment to be.

    Args:
        notebook: the list of its packages, as a build installs it.
        extensions: those of extensions, by name; an appliance takes what it has.
    """

    notebook: str
    extensions: Mapping[str, str]

    @property
    def name(self) -> str:
        """What it is called: another for each other list."""
        text = "".join((self.notebook, *(self.extensions[key] for key in sorted(self.extensions))))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def lists(self, there: Iterable[str]) -> dict[str, str]:
        """The lists that an appliance is to have, by file.

        Args:
            there: the files that it has; only what it has is renewed.
        """
        extensions = {f"installed-{name}.lock": text for name, text in self.extensions.items()}
        return {
            "installed.lock": self.notebook,
            **{file: text for file, text in extensions.items() if file in there},
        }


@dataclass(frozen=True)
class Difference:
    """What one appliance lacks of an environment.

    Args:
        path: a tar file, compressed by zstd.
        sha256: of the file.
        size: of the file, bytes.
        unpacked: what it takes when unpacked, bytes.
        packages: name to versions before and then.
    """

    path: Path
    sha256: str
    size: int
    unpacked: int
    packages: Mapping[str, tuple[str | None, str | None]]


def wanted_environment(lock: Path | None = None) -> Wanted:
    """The environment of our own lists, or of another list.

    Args:
        lock: pip's requirements, each with its hashes, in place of ours.

    Raises:
        UsageError: it is no such list, or lacks what a notebook is.
    """
    roles = resources.playbooks() / "roles"
    ours = roles / "notebook/files"
    text = (lock or ours / "requirements.lock").read_text(encoding="utf-8")
    if lock is not None:
        names = [line for line in text.splitlines() if line[:1].isalnum()]
        for at, line in enumerate(text.splitlines(), 1):
            if line[:1].isalnum() and "==" not in line:
                raise UsageError(
                    f"{lock}, line {at}: {line[:60]!r} names no version",
                    hint="docs/fleet.md says how to make a list",
                )
        if not names or text.count("--hash=sha256:") < len(names):
            raise UsageError(f"{lock}: not every package has a hash", hint="uv's --generate-hashes")
        if lacks := {"jupyterhub", "jupyterlab", "ipykernel"} - set(pins(text)):
            raise UsageError(f"{lock}: it lacks {', '.join(sorted(lacks))}, so it is no notebook")
    extensions = {k: (roles / f"extensions/files/{k}.lock").read_text() for k in KINDS}
    return Wanted(text + (ours / "pages.lock").read_text(), extensions)


def environment(text: str, python: str, arch: ArchName) -> Path:
    """Install an environment for a guest's Python, once; it is kept in the cache.

    Args:
        text: the list of its packages.
        python: the guest's version, as in 3.13.
        arch: the guest's architecture.

    Returns:
        Its packages, with ``bin``, ``etc`` and ``share`` among them.

    Raises:
        ApplianceError: a wheel is not to be had: yanked for good, for another platform, damaged.
    """
    script = resources.playbooks() / "roles/notebook/files/trim-notebook.sh"
    made_of = f"{python} {arch}\n{text}\n{script.read_text()}"
    kept = places.cache() / "notebook"
    kept.mkdir(parents=True, exist_ok=True)
    tree = kept / hashlib.sha256(made_of.encode()).hexdigest()[:12]
    with locks.holding(kept / ".lock", wait=True):
        if not tree.exists():
            part = tree.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            with step(f"install the notebook's packages for Python {python}"):
                _install(text, part, python, arch, kept / "wheels")
            done = subprocess.run(
                ["sh", str(script), str(part)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise ApplianceError(f"the notebook cannot be trimmed: {done.stderr[-300:]}")
            part.rename(tree)
    return tree


def _install(lock: str, target: Path, python: str, arch: ArchName, cache: Path) -> None:
    command = [
        *(sys.executable, "-m", "uv", "pip", "install", "--requirement", "-", "--no-deps"),
        *("--require-hashes", "--only-binary", ":all:", "--target", str(target), "--no-progress"),
        *("--python-version", python, "--python-platform", ARCHITECTURES[arch].wheels),
        *("--cache-dir", str(cache), "--link-mode", "copy"),
    ]
    env = {**os.environ, "LC_ALL": "C.UTF-8", **of(None).environment()}
    done = subprocess.run(
        command, input=lock, capture_output=True, text=True, env=env, timeout=1800, check=False
    )
    for line in done.stderr.splitlines():
        if "yanked" in line:
            note(line.strip())
    if done.returncode:
        told = " ".join(done.stderr.split())[-600:]
        raise ApplianceError(
            f"not every wheel for Python {python} on {arch} can be had: {told}",
            hint="was it yanked, or is it for another platform? Make the list anew: docs/fleet.md",
        )


def difference(
    wanted: Wanted,
    python: str,
    arch: ArchName,
    *,
    installed: Mapping[str, str],
    lists: Mapping[str, str],
) -> Difference:
    """Pack what an appliance lacks; for one that has the same, it is packed once.

    Args:
        wanted: what it is to have.
        python: its version, as in 3.13.
        arch: its architecture.
        installed: version by name of what it has.
        lists: those that it is to have, by file.

    Raises:
        ApplianceError: a wheel is not to be had, or there is no room.
    """
    tree = environment("".join(lists[file] for file in sorted(lists)), python, arch)
    there = {each.name: each for each in distributions(tree)}
    needed = [there[name] for name in sorted(there) if installed.get(name) != there[name].version]
    gone = sorted(name for name in installed if name not in there)
    told = {"gone": gone, "locks": lists}
    kinds = json.dumps([tree.name, [each.name for each in needed], told])
    kept = places.cache() / "notebook"
    target = kept / f"{wanted.name}-{hashlib.sha256(kinds.encode()).hexdigest()[:12]}.tar.zst"
    with locks.holding(kept / ".lock", wait=True):
        if not target.exists():
            with step(f"pack {len(needed)} of {len(there)} packages"):
                _pack(tree, needed, python, json.dumps(told), target)
        with target.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    unpacked = sum(each.room for each in needed)
    versions: dict[str, tuple[str | None, str | None]] = {
        each.name: (installed.get(each.name), each.version) for each in needed
    }
    versions |= {name: (installed[name], None) for name in gone}
    return Difference(target, digest, target.stat().st_size, unpacked, versions)


def offer(wanted: Wanted, pythons: Iterable[str], arch: ArchName) -> tuple[str, dict[str, bytes]]:
    """An environment in pieces, one for each package, for appliances that get what they lack.

    Args:
        wanted: the environment.
        pythons: for which versions, as in 3.13.
        arch: for which architecture.

    Returns:
        What is told of it, and the pieces by their digests. Each is a piece of a tar file,
        compressed by zstd.

    Raises:
        ApplianceError: a wheel is not to be had.
    """
    lists = wanted.lists(f"installed-{name}.lock" for name in wanted.extensions)
    told: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    pieces: dict[str, bytes] = {}
    for python in pythons:
        tree = environment("".join(lists[file] for file in sorted(lists)), python, arch)
        there = {each.name: each for each in distributions(tree)}
        with step(f"pack {len(there)} packages for Python {python}"):
            packed = {name: _piece(tree, python, each) for name, each in there.items()}
        pieces |= {_digest(data): data for data in packed.values()}
        told[python] = {
            file: {
                key: {
                    "version": there[key].version,
                    "sha256": _digest(packed[key]),
                    "size": len(packed[key]),
                    "unpacked": there[key].room,
                }
                for key in pins(text)
                if key in there
            }
            for file, text in lists.items()
        }
    machine = ARCHITECTURES[arch].machine
    return json.dumps({"machine": machine, "lists": lists, "python": told}), pieces


def _piece(tree: Path, python: str, each: "InstalledPackage") -> bytes:
    content = io.BytesIO()
    # Closed it would end the whole.
    _fill(tarfile.open(fileobj=content, mode="w"), tree, each, python)  # noqa: SIM115
    return zstandard.ZstdCompressor(level=LEVEL, threads=-1).compress(content.getvalue())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class InstalledPackage:
    """An installed package.

    Args:
        name: normalized.
        version: as it says.
        record: its list of files.
        files: those that are there.
    """

    name: str
    version: str
    record: Path
    files: tuple[Path, ...]

    @property
    def room(self) -> int:
        """The bytes that it takes when unpacked."""
        return sum(path.stat().st_size + 4096 for path in self.files)


def distributions(tree: Path) -> Iterator[InstalledPackage]:
    """What uv has installed in a directory."""
    for record in sorted(tree.glob("*.dist-info/RECORD")):
        name, _, version = record.parent.name.removesuffix(".dist-info").partition("-")
        with record.open(encoding="utf-8", newline="") as rows:
            files = [tree / row[0] for row in csv.reader(rows) if row]
        found = tuple(sorted(path for path in files if path.is_file()))
        yield InstalledPackage(normalize(name), version, record, found)


def _pack(
    tree: Path, needed: Iterable[InstalledPackage], python: str, change: str, target: Path
) -> None:
    try:
        with (
            writing_whole(target) as raw,
            zstandard.ZstdCompressor(level=LEVEL, threads=-1).stream_writer(raw) as packed,
            tarfile.open(fileobj=packed, mode="w|") as tar,
        ):
            _add(tar, CHANGE, change.encode(), executable=False)
            for each in needed:
                _fill(tar, tree, each, python)
    except OSError as error:
        raise ApplianceError(
            f"cannot write {target}: {error.strerror}", hint="free some room"
        ) from error


def _fill(tar: tarfile.TarFile, tree: Path, each: InstalledPackage, python: str) -> None:
    """Add a package as an environment has it."""
    for path in each.files:
        inside = str(path.relative_to(tree))
        content = path.read_bytes()
        if path == each.record:
            content = _in_environment(content)
        if inside.startswith("bin/"):
            content = _SHEBANG.sub(f"#!/{PREFIX}/bin/python\n".encode(), content)
        at = inside if inside.startswith(_DATA) else _site(python) + inside
        _add(tar, at, content, executable=bool(path.stat().st_mode & 0o100))


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, executable: bool) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o755 if executable else 0o644
    tar.addfile(member, io.BytesIO(content))


def _site(python: str) -> str:
    return f"lib/python{python}/site-packages/"


def _in_environment(record: bytes) -> bytes:
    """A list of files as an environment has it: scripts and data are not among the packages."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    for row in csv.reader(io.StringIO(record.decode())):
        beside = row and row[0].startswith(_DATA)
        rows.writerow([f"../../../{row[0]}", "", ""] if beside else row)
    return out.getvalue().encode()
