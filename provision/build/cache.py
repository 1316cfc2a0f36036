"""Finished stages on disk, addressed by the hash of all that went into them."""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision import locks
from provision.errors import HostNotReadyError
from provision.process import run
from provision.progress import note

RECORD = "stage.json"
GONE = ".gone"  # ends the name of a tree that is being removed
BOOT = "boot"  # in a record: the host's boot id, for as long as the disk may not have the stage


def digest(value: Any) -> str:
    """The SHA-256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Cache:
    """A directory with one subdirectory for each finished stage.

    A stage is built in a ``.part`` directory and renamed when it is complete, under a lock of
    its own: an interrupted build leaves no half stage, and two builds that need the same stage
    build it once. No stage waits for the disk; until it has `settled`, only this boot of the host
    takes it for finished.

    Args:
        root: the cache's directory, made when missing.
    """

    root: Path

    def entry(self, key: str) -> Path:
        """Where the artefacts of a stage are, once it is finished."""
        return self.root / key[:32]

    def has(self, key: str) -> bool:
        """Whether the stage is finished."""
        record = self._read(self.entry(key))
        return record is not None and record.get(BOOT) in (None, _this_boot())

    def record(self, key: str) -> dict[str, Any]:
        """What was written down about a finished stage."""
        record = self._read(self.entry(key))
        assert record is not None  # noqa: S101 (the caller's condition)
        return record

    @contextlib.contextmanager
    def claiming(self, key: str) -> Iterator[bool]:
        """Hold the right to build a stage; another process that wants it waits.

        Yields:
            Whether it still has to be built.
        """
        self._prepare()
        with (self.root / f"{key[:32]}.lock").open("w") as lock:
            try:
                locks.take(lock.fileno(), wait=False)
            except BlockingIOError:
                note("another build is making the same stage: waiting for it")
                locks.take(lock.fileno(), wait=True)
            yield not self.has(key)

    @contextlib.contextmanager
    def building(
        self, key: str, record: Mapping[str, Any], *, keep: bool = False
    ) -> Iterator[Path]:
        """A directory for a stage's artefacts, which becomes its entry if all goes well.

        Args:
            key: of the stage, claimed by us.
            record: what to write down about it.
            keep: leave the directory of a failed stage, named ``.failed``, to be looked at.
        """
        part = self.entry(key).with_suffix(".part")
        discard(part)
        part.mkdir()
        try:
            yield part
            _write(part, {**record, "finished": int(time.time()), BOOT: _this_boot()})
            discard(self.entry(key))
            part.rename(self.entry(key))
        except BaseException as error:
            if keep and isinstance(error, Exception):
                failed = part.with_suffix(".failed")
                discard(failed)
                part.rename(failed)
                note(f"the unfinished stage is kept in {failed}")
            else:
                discard(part)
            raise

    def settle(self, key: str, *products: str) -> None:
        """Wait until the disk has a stage, so that a power cut, too, leaves it whole.

        Args:
            key: of a stage that is finished; others are none of ours.
            products: paths of what it made outside of the cache.

        Raises:
            CommandFailedError: the disk did not take it.
        """
        entry = self.entry(key)
        record = self._read(entry)
        if record is None or BOOT not in record:
            return
        run(["sync", "--file-system", str(entry), *products])
        if self._read(entry) == record:  # nobody has built it anew meanwhile
            del record[BOOT]
            _write(entry, record)

    def touch(self, key: str) -> None:
        """Note that a stage was of use, so that it is pruned later than others."""
        os.utime(self.entry(key) / RECORD)

    def prune(self, keep: set[str], *, seconds: float) -> int:
        """Remove stages that nobody used for a while, and what killed builds left behind.

        Args:
            keep: keys that stay in any case.
            seconds: how long a stage may be idle.

        Returns:
            How many were removed.
        """
        names = {key[:32] for key in keep}
        removed = 0
        if not self.root.is_dir():
            return 0
        for path in sorted(self.root.iterdir()):
            stem = path.name.partition(".")[0]  # of KEY, KEY.part, KEY.failed, KEY.part.gone ...
            gone = path.suffix == GONE
            if not path.is_dir() or len(stem) != 32 or (stem in names and not gone):
                continue
            record = path / RECORD
            last = record.stat().st_mtime if record.exists() else path.stat().st_mtime
            if time.time() - last < seconds and not gone:
                continue
            with (self.root / f"{stem}.lock").open("w") as lock:
                try:
                    locks.take(lock.fileno(), wait=False)
                except BlockingIOError:
                    continue
                discard(path)
                removed += 1
        return removed

    @staticmethod
    def _read(entry: Path) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads((entry / RECORD).read_text())
        except (FileNotFoundError, ValueError):  # what a power cut has left may be anything
            return None
        return record

    def _prepare(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise HostNotReadyError(
                f"cannot make the cache {self.root}: {error.strerror}",
                hint="set XDG_CACHE_HOME to a directory that you may write to",
            ) from error


def _write(entry: Path, record: Mapping[str, Any]) -> None:
    new = entry / f"{RECORD}.new"
    new.write_text(json.dumps(record, indent=1, sort_keys=True))
    new.replace(entry / RECORD)


def _this_boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def discard(path: Path) -> None:
    """Remove a directory tree if there is one, moved aside first so that none is ever half."""
    if path.exists():
        aside = path if path.suffix == GONE else path.with_name(path.name + GONE)
        if aside != path:
            if aside.exists():  # of a removal that was cut off
                shutil.rmtree(aside)
            path.rename(aside)
        shutil.rmtree(aside)


def forget(directory: Path, *, seconds: float) -> None:
    """Remove the files of a directory that nobody used for a while.

    Args:
        directory: of files whose time is that of their last use; it may be missing.
        seconds: how long one may be idle.
    """
    for path in directory.glob("*"):
        if path.is_file() and time.time() - path.stat().st_mtime > seconds:
            path.unlink(missing_ok=True)
