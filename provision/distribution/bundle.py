"""Everything on a stick: the published folder, the CLI, and what checks both without either.

A seat without a network and without our CLI needs Python, VirtualBox and this folder.
"""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from provision import progress
from provision.distribution import channel
from provision.distribution.publication import OVA, Publication
from provision.distribution.windows import START, add_program
from provision.errors import UsageError

WHEELS, CHECK, SUMS_ALL = "wheels", "verify.py", "SHA256SUMS"
_TEXT = """\
On a seat with Python 3.11 or later and VirtualBox:

    python3 verify.py
    python3 -m venv appliance-cli
    appliance-cli/bin/pip install --no-index --find-links wheels classroom-appliance
    appliance-cli/bin/appliance pull . --public-key minisign.pub

(when the publisher's date for it has passed, add --accept-expired;
on Windows the two programs are in appliance-cli\\Scripts). Before the first pull, compare the key
in minisign.pub with the one that the publisher told you: verify.py finds damage, not forgery.
"""
_WINDOWS = f"""\
At Windows, with VirtualBox (winget install Oracle.VirtualBox): double-click {START}. It brings the
appliance, starts it and opens it in the browser; later, too.

"""
_CHECK = '''\
"""Check every file of this folder against SHA256SUMS; needs only Python."""

import hashlib
import pathlib
import sys

root = pathlib.Path(__file__).resolve().parent
bad = 0
for line in (root / "SHA256SUMS").read_text().splitlines():
    digest, name = line.split("  ", 1)
    try:
        with (root / name).open("rb") as file:
            good = hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        good = False
    if not good:
        bad += 1
        print("BAD", name)
print("all files are as they were written" if not bad else f"{bad} files are damaged")
sys.exit(bool(bad))
'''


def bundle(
    source: Path,
    target: Path,
    *,
    channel_name: str = "stable",
    wheels: Sequence[Path] = (),
    windows: Path | None = None,
    ova: bool = False,
) -> int:
    """Write the current version of a channel, and all that a seat needs, into a folder.

    Args:
        source: the published folder.
        target: the folder to make; one that is there must be empty.
        channel_name: the channel.
        wheels: the CLI and what it depends on; none: the bundle has only the appliance.
        windows: python.org's embeddable package: a program for seats without Python, too.
        ova: the whole OVA too, with its signature, for those who import by hand.

    Returns:
        Bytes written.

    Raises:
        UsageError: the target is not empty, there is no such channel or OVA, or what Windows needs
            is not to be had. The target is as before.
    """
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{target} is not empty")
    version, files = contents(source, channel_name)
    if ova:
        files += _ova(source, version)
    sums = []
    if windows:
        with progress.step("the program for Windows"), TemporaryDirectory() as made:
            program = add_program(windows, wheels, Path(made))
            sums += [_copy(path, target, path.relative_to(made)) for path in program]
    with progress.step(f"copy {version}"):
        for done, file in enumerate(files):
            sums.append(_copy(source / file, target, file))
            progress.advance(done, len(files))
        sums += [_copy(wheel, target, Path(WHEELS, wheel.name)) for wheel in wheels]
    (target / CHECK).write_text(_CHECK)
    (target / "README.txt").write_text((_WINDOWS if windows else "") + _TEXT)
    (target / SUMS_ALL).write_text("".join(sums))
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def contents(source: Path, channel_name: str) -> tuple[str, list[Path]]:
    """The current version of a channel, and every file that a seat may need of it.

    Raises:
        UsageError: there is no such channel.
    """
    publication = Publication(source)
    pointed = next((each for each in publication.channels() if each.name == channel_name), None)
    if pointed is None:
        raise UsageError(f"no channel {channel_name!r} is published in {source}")
    described = dict(publication.versions())[pointed.version]
    names = {
        piece.name
        for disk in described.disks
        for piece in publication.pieces(pointed.version, disk)
    }
    files = [publication.store.path(name).relative_to(source) for name in sorted(names)]
    version = source / "versions" / pointed.version
    files += [path.relative_to(source) for path in sorted(version.rglob("*")) if path.is_file()]
    return pointed.version, [*files, Path("minisign.pub"), Path(channel.path(channel_name))]


def _ova(source: Path, version: str) -> list[Path]:
    """The OVA that was published with a version, and its signature."""
    for signature in (source / OVA).glob("*.minisig"):
        if f" version={version}\n" in signature.read_text():
            return [(path.relative_to(source)) for path in (signature.with_suffix(""), signature)]
    raise UsageError(
        f"no OVA of {version} is published in {source}", hint="appliance publish DIR --ova"
    )


def _copy(origin: Path, target: Path, name: Path) -> str:
    path = target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(origin, path)
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name.as_posix()}\n"
