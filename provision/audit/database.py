"""The advisories that an administrator brings: files, folders and archives, read as they stream.

A file may be of any size: of each only the record that is read now is in memory, and of the records
only those about packages that are asked for are kept.
"""

import io
import json
import re
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import ijson

from provision.audit.advisory import Advisory, SchemaError, from_osv, from_tracker, is_tracker
from provision.errors import HostNotReadyError, UsageError

LIMIT = 64 << 20  # of one record; the largest that OSV publishes has a few MB
ATTEMPTS = 3  # at an address that breaks off, or answers that it cannot now
SOURCES = (
    "bring https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip, and Debian's:"
    " https://security-tracker.debian.org/tracker/data/json"
)
Key = tuple[str, str]
# The tracker's data is an object of objects; no record begins with one.
_OBJECTS = re.compile(rb'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*\{')


@dataclass
class Database:
    """What is known of the packages that were asked for.

    Args:
        advisories: by ecosystem and package.
        records: how many records there were of each ecosystem.
        newest: when the newest record was changed, as it says; empty: none says.
    """

    advisories: dict[Key, list[Advisory]] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    newest: str = ""


class _Counted:
    """A stream, and what was read of it, that gives no single record more than ``LIMIT`` bytes."""

    def __init__(self, head: bytes, stream: IO[bytes], where: str) -> None:
        self._head, self._stream, self._where = io.BytesIO(head), stream, where
        self._since = 0

    def read(self, size: int = LIMIT + 1) -> bytes:
        data = self._head.read(size)
        data += self._stream.read(size - len(data))
        self._since += len(data)
        if self._since > LIMIT:
            raise UsageError(f"{self._where}: one record of more than {LIMIT >> 20} MiB")
        return data

    def next(self) -> None:
        self._since = 0


def read(
    sources: Sequence[str],
    wanted: Collection[Key],
    *,
    opener: urllib.request.OpenerDirector | None = None,
) -> Database:
    """Read all sources.

    Args:
        sources: files (``.json``, ``.zip``), folders of such, or http and https addresses of one.
        wanted: ecosystem and package of what is to be judged.
        opener: what opens addresses, as through a proxy; None: this host's environment says.

    Raises:
        UsageError: a source is missing, torn, or of another schema; or there is no advisory of an
            ecosystem that is wanted, so that nothing could be said of it.
        HostNotReadyError: an address does not answer.
    """
    found, keys = Database(), frozenset(wanted)
    opener = opener or urllib.request.build_opener()
    for source in sources:
        if source.startswith(("http://", "https://")):
            with tempfile.TemporaryDirectory(prefix="advisories-") as place:
                _take(_bring(source, Path(place), opener), source, keys, found)
        else:
            _take(Path(source), source, keys, found)
    missing = sorted({ecosystem for ecosystem, _ in keys} - found.records.keys())
    if missing:
        there = ", ".join(f"{n} of {name}" for name, n in sorted(found.records.items()))
        raise UsageError(
            f"no advisory of {', '.join(missing)} in {', '.join(sources)} (there are:"
            f" {there or 'none'}), so nothing can be said of it",
            hint=SOURCES,
        )
    return found


def _bring(url: str, place: Path, opener: urllib.request.OpenerDirector) -> Path:
    try:
        parts = urlsplit(url)
        port, name = parts.port, Path(parts.path).name
    except ValueError:
        port, name, parts = None, "", urlsplit("")
    if "@" in parts.netloc or not parts.hostname:
        raise UsageError("an address of advisories has a host, and no user or password in it")
    target = place / (name or f"{parts.hostname}-{port}")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _fetch(url, target, opener)
        except (OSError, HTTPException) as error:
            final = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if final or attempt == ATTEMPTS:
                raise HostNotReadyError(f"{url}: {error}", hint="or give a file") from error
        else:
            break
    return target


def _fetch(url: str, target: Path, opener: urllib.request.OpenerDirector) -> None:
    with opener.open(url, timeout=60) as answer, target.open("wb") as file:
        length = answer.headers.get("Content-Length")
        shutil.copyfileobj(answer, file)
    if length and int(length) != target.stat().st_size:
        raise OSError(f"it ended after {target.stat().st_size} of {length} bytes")


def _take(path: Path, shown: str, keys: frozenset[Key], found: Database) -> None:
    for file, where in _files(path, shown):
        if file.suffix == ".zip" or zipfile.is_zipfile(file):
            _take_archive(file, where, keys, found)
        else:
            with file.open("rb") as stream:
                _take_document(stream, where, keys, found)


def _files(path: Path, shown: str) -> Iterator[tuple[Path, str]]:
    """A file, or the files of a folder that may hold advisories, and what errors call them."""
    if not path.is_dir():
        if not path.is_file():
            raise UsageError(f"{shown}: there is no such file or folder", hint=SOURCES)
        yield path, shown
        return
    inside = sorted(each for kind in ("json", "zip") for each in path.rglob(f"*.{kind}"))
    if not inside:
        raise UsageError(f"{shown} holds no .json and no .zip", hint=SOURCES)
    for each in inside:
        yield each, str(each)


def _take_archive(path: Path, where: str, keys: frozenset[Key], found: Database) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".json"):
                    with archive.open(member) as stream:
                        _take_document(stream, f"{where}:{member.filename}", keys, found)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{where} is torn: {error}", hint="fetch it again") from error


def _take_document(stream: IO[bytes], where: str, keys: frozenset[Key], found: Database) -> None:
    """Read one document: a record, a list of records, or the tracker's data."""
    head = stream.read(1 << 16)
    rest = _Counted(head, stream, where)
    name = where
    try:
        if head.lstrip()[:1] == b"[":
            for number, record in enumerate(ijson.items(rest, "item", use_float=True), 1):
                name = f"{where}, record {number}"
                _note(record, keys, found)
                rest.next()
        elif not _OBJECTS.match(head):
            _note(json.loads(rest.read()), keys, found)
        else:
            for package, holes in ijson.kvitems(rest, "", use_float=True):
                name = f"{where}, {package}"
                _note_package(package, holes, keys, found)
                rest.next()
    except SchemaError as error:
        raise UsageError(
            f"{name} is no OSV record and not of Debian's tracker: {error}", hint=SOURCES
        ) from error
    except (ijson.JSONError, UnicodeDecodeError, json.JSONDecodeError) as error:
        why = " ".join(str(error).split("\n", maxsplit=1)[0].split())
        raise UsageError(f"{name} is torn or no JSON: {why}", hint="fetch it again") from error


def _note(record: Any, keys: frozenset[Key], found: Database) -> None:
    changed, advisories = from_osv(record)
    found.newest = max(found.newest, changed)
    for each in advisories:
        _keep(each, keys, found)


def _note_package(package: str, holes: Any, keys: frozenset[Key], found: Database) -> None:
    if not isinstance(holes, dict) or not is_tracker(holes):
        raise SchemaError(f"{package!r} is neither a source package nor part of a record")
    for each in from_tracker(package, holes):
        _keep(each, keys, found)


def _keep(advisory: Advisory, keys: frozenset[Key], found: Database) -> None:
    found.records[advisory.ecosystem] = found.records.get(advisory.ecosystem, 0) + 1
    key = (advisory.ecosystem, advisory.package)
    if key in keys:
        found.advisories.setdefault(key, []).append(advisory)
