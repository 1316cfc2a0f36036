"""What students handed in, version by version, and the hash of each file of it.

Of each student there is a directory with the versions, beside those of the others; ``SHA256SUMS``
there lists the files of all, as sha256sum reads it. A version is there whole or not at all.
"""

import datetime
import hashlib
import json
import shutil
import tarfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from provision.guest.assignments.places import Taken, folder, put, take
from provision.guest.assignments.times import now
from provision.guest.whole import flush, keep, locking

SUMS = "SHA256SUMS"
ENDING = ".ipynb"
# By one of these a folder is an exercise in TMC's form, of programs in folders of folders.
EXERCISE = (".tmcproject.yml", "tmc")
DEPTH = 5


def find(place: Path) -> list[Path]:
    """The versions that there are, the newest at last.

    Args:
        place: of a student's.
    """
    return sorted(path for path in place.iterdir() if path.name.isdigit())


def add(place: Path, taken: Taken, told: Mapping[str, Any]) -> bool:
    """Keep what is handed in, unless it is as it was; whether it is a new version.

    Args:
        place: of the student's versions.
        taken: out of the student's folder.
        told: what was said when the assignment was released.

    Raises:
        OSError: the disk is full.
    """
    before = find(place)
    if not taken.files and not taken.problems:
        return False
    taken.changed = taken.changed or now().timestamp()
    text = json.dumps([sorted(taken.problems), _digests(taken.files)])
    digest = hashlib.sha256(text.encode()).hexdigest()
    if before and _digest_of(before[-1]) == digest:
        list_hashes(place)  # of a hand-in that was cut off it is not yet
        return False
    number = int(before[-1].name) + 1 if before else 1
    fresh = place / ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "handed").mkdir(mode=0o700, parents=True)
    with folder(fresh / "handed") as base:
        put(taken.files, [], base, 0)
    handed = datetime.datetime.fromtimestamp(taken.changed, datetime.UTC)
    late = False
    if told["due"] and "exam" not in told:  # at whose end nobody writes any more
        until = datetime.datetime.fromisoformat(told["due"])
        late = handed > until + datetime.timedelta(minutes=told["grace"])
    version = {"digest": digest, "handed": handed.isoformat(timespec="seconds"), "late": late}
    keep(fresh / "version.json", json.dumps({**version, "problems": taken.problems}))
    fresh.rename(place / f"{number:04}")
    flush(place)
    list_hashes(place)
    return True


def differences(place: Path) -> list[str]:
    """What is not any more as it was handed in; nothing, if all is.

    Args:
        place: of all students'.
    """
    listed = _sums(place)
    found = dict(_hashes(place, _files_of(place, "*.*/")))
    gone = [f"{path} is gone" for path in listed if path not in found]
    new = [f"{path} is not listed" for path in found if path not in listed]
    return gone + new + [p for p in found if p in listed and found[p] != listed[p]]


def archive(place: Path, file: IO[bytes]) -> str:
    """Write all that was handed in, with its hashes, as a tar; the hash of the hashes.

    Args:
        place: of all students'.
        file: where to.
    """
    sums = place / SUMS
    with tarfile.open(fileobj=file, mode="w|") as tar:
        for path in ([sums] if sums.exists() else []) + _files_of(place, "*.*/"):
            tar.add(path, path.relative_to(place.parent), recursive=False)
    return hashlib.sha256(sums.read_bytes() if sums.exists() else b"").hexdigest()


def depth(told: Mapping[str, Any]) -> dict[str, Any]:
    """How a folder is taken: of an exercise all, of notebooks those and what is beside them.

    Args:
        told: what was said when the assignment was released.
    """
    return {"kept": EXERCISE, "deep": DEPTH} if told.get("folders") else {}


def read_version(
    version: Path, wanted: Iterable[str], *, folders: bool = False
) -> tuple[dict[str, str], dict[str, bytes]]:
    """What was handed in: the notebooks that are wanted, and what is beside them.

    Args:
        version: its directory.
        wanted: their names, without ending.
        folders: whether it is an exercise in TMC's form.
    """
    with folder(version / "handed") as base:
        files = take(base, **depth({"folders": folders})).files
    notebooks = pick(files, wanted)
    return notebooks, {name: each for name, each in files.items() if not name.endswith(ENDING)}


def pick(files: dict[str, bytes], wanted: Iterable[str]) -> dict[str, str]:
    """The notebooks that are wanted.

    Args:
        files: out of which they are taken.
        wanted: their names, without ending.
    """
    notebooks = {}
    for name in wanted:
        if (found := matching(f"{name}{ENDING}", files)) is not None:
            notebooks[name] = files.pop(found).decode(errors="replace")
    return notebooks


def matching(wanted: str, names: Any) -> str | None:
    """The name that is meant: the same, or the only one that differs in case or normal form."""
    if wanted in names:
        return wanted

    def alike(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()

    found = [name for name in names if alike(name) == alike(wanted)]
    return found[0] if len(found) == 1 else None


def read_json(path: Path) -> dict[str, Any]:
    """What root has written of something.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    return found


def _digest_of(version: Path) -> str:
    """Of what was handed in; empty where that is damaged, and the next is another version."""
    try:
        return str(read_json(version / "version.json")["digest"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def list_hashes(theirs: Path) -> None:
    """List the hashes of what a student handed in that are not; what is, is as it was.

    Args:
        theirs: the student's versions.
    """
    place = theirs.parent
    with locking(place):
        listed = _sums(place)
        new = [path for path in _files_of(theirs) if str(path.relative_to(place)) not in listed]
        if found := dict(_hashes(place, new)):
            lines = (f"{digest}  {path}\n" for path, digest in (listed | found).items())
            keep(place / SUMS, "".join(lines))


def _files_of(place: Path, whose: str = "") -> list[Path]:
    """The files that a student handed in, in all versions; by a pattern, those of several."""
    return sorted(path for path in place.glob(f"{whose}[0-9]*/handed/**/*") if path.is_file())


def _hashes(place: Path, paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Files with the hash of each, as sha256sum is told of them in a place."""
    for path in paths:
        name = str(path.relative_to(place))
        # Of what was taken before names were looked at.
        if "\n" not in name and name.encode(errors="replace").decode() == name:
            yield name, hashlib.sha256(path.read_bytes()).hexdigest()


def _sums(place: Path) -> dict[str, str]:
    try:
        lines = (place / SUMS).read_bytes().decode().split("\n")
    except FileNotFoundError:
        return {}
    found = (line.partition("  ") for line in lines)
    return {path: digest for digest, _, path in found if path}


def _digests(files: dict[str, bytes]) -> list[list[str]]:
    return [[name, hashlib.sha256(content).hexdigest()] for name, content in sorted(files.items())]
