"""Both sides alike, and nothing lost.

rclone's own bisync would not do: of Debian 13's version (1.60) it is experimental, and it refuses
stores that keep no modification times, as plain WebDAV. So what both sides had after the last
synchronisation is remembered, and whoever has changed since then is found by comparing each side
with itself.

- Changed, new or removed on one side: the other follows. What that replaces or removes is moved to
  ``~/.store-old/NAME/DATE`` here, to ``FOLDER.old/DATE`` there.
- Changed on both: the file from there keeps the name, ours becomes ``NAME (conflict DATE)``; both
  are on both sides afterwards. Removed on one side and changed on the other: the change stays.
- All gone on one side at once: nothing is done, for it is rather a mishap.
"""

import contextlib
import filecmp
import os
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.guest.stores.rclone import Rclone
from provision.guest.stores.remotes import ConnectedStore, StoreError, StudentStores

KEPT_SECONDS = 30 * 86400  # what was replaced here, and counts as the student's own

Print = list[Any]
Known = dict[str, tuple[Print, Print]]  # by path: ours and theirs


@dataclass
class Plan:
    """What one synchronisation is to do, by paths."""

    fetch: list[str] = field(default_factory=list)
    send: list[str] = field(default_factory=list)
    remove_here: list[str] = field(default_factory=list)
    remove_there: list[str] = field(default_factory=list)
    conflicts: set[str] = field(default_factory=set)


@dataclass
class Outcome:
    """What one synchronisation did.

    Args:
        problems: what went wrong, in words; the rest is done.
    """

    fetched: int = 0
    sent: int = 0
    removed: int = 0
    conflicts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        words = f"{self.fetched} fetched, {self.sent} sent, {self.removed} removed"
        return words + "".join(f"\n  both changed: {path}" for path in self.conflicts)


@dataclass
class _Turn:
    """One synchronisation under way; ``known`` grows with what is done."""

    store: ConnectedStore
    rclone: Rclone
    known: Known
    outcome: Outcome
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H%M%S"))


def synchronise(stores: StudentStores, name: str) -> Outcome:
    """Make one store and its folder alike.

    Raises:
        StoreError: the store does not answer, another synchronisation is under way, or one side
            has lost everything.
    """
    store = stores.get(name)
    with stores.turn(name):
        state = stores.state(name)
        outcome = Outcome()
        try:
            known = {path: (ours, theirs) for path, (ours, theirs) in state["files"].items()}
            turn = _Turn(store, Rclone(stores.config), known, outcome)
            _synchronise(turn, lambda: stores.keep(name, {"files": turn.known, "last": None}))
        except (StoreError, OSError) as error:
            outcome.problems.append(str(error))
            raise StoreError(f"{name}: {error}") from None
        finally:
            problems = outcome.problems
            with contextlib.suppress(OSError):  # no space: what is known stays as it was
                files = stores.state(name)["files"]
                last = {"time": time.time(), "problems": problems}
                stores.keep(name, {"files": files, "last": last})
    return outcome


def decide(ours: Mapping[str, Print], theirs: Mapping[str, Print], known: Known) -> Plan:
    """Compare each side with what it was.

    Args:
        ours: the files here, by path.
        theirs: the files there.
        known: both, as the last synchronisation left them.
    """
    plan = Plan()
    for path in sorted({*ours, *theirs, *known}):
        here, there = ours.get(path), theirs.get(path)
        was_here, was_there = known.get(path, (None, None))
        changed_here, changed_there = here != was_here, there != was_there
        if not changed_here and not changed_there:
            continue
        if here is not None and there is not None and changed_here and changed_there:
            plan.conflicts.add(path)
            plan.fetch.append(path)
        elif changed_here and here is not None:
            plan.send.append(path)
        elif changed_there and there is not None:
            plan.fetch.append(path)
        elif here is not None:
            plan.remove_here.append(path)
        elif there is not None:
            plan.remove_there.append(path)
    return plan


def files_here(folder: Path) -> tuple[dict[str, Print], list[str]]:
    """The plain files below a folder, and what cannot be synchronised."""
    found: dict[str, Print] = {}
    odd = []
    for directory, names, files in os.walk(folder):
        for name in [*files, *(n for n in names if (Path(directory) / n).is_symlink())]:
            path = Path(directory) / name
            relative = str(path.relative_to(folder))
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                plain = stat.S_ISREG(status.st_mode) and _portable(relative)
                if plain:
                    found[relative] = [status.st_size, status.st_mtime_ns]
                else:
                    odd.append(relative)
    return found, odd


def _synchronise(turn: _Turn, note: Callable[[], None]) -> None:
    store, known, outcome = turn.store, turn.known, turn.outcome
    listed = turn.rclone.listing(store.remote) or {}
    theirs = {path: each for path, each in listed.items() if _portable(path)}
    outcome.problems += [f"not fetched, no name for a file: {p!a}" for p in listed.keys() - theirs]
    if not known:
        store.folder.mkdir(exist_ok=True)
    ours, odd = files_here(store.folder)
    outcome.problems += [f"not synchronised, no plain file or name: {path!a}" for path in odd]
    for side, where in ((ours, f"~/{store.name}"), (theirs, store.remote)):
        if len(known) > 1 and not side:
            raise StoreError(
                f"everything in {where} is gone, so nothing was changed; if it is meant:"
                f" store disconnect {store.name}, then connect it again"
            )
    plan = decide(ours, theirs, known)
    if plan.fetch:
        _fetch(turn, plan, ours, theirs)
        note()
    for path in plan.remove_here:
        if _print(store.folder / path) == ours[path]:
            _put_aside(turn, path)
            del known[path]
            outcome.removed += 1
    _send(turn, plan, theirs)
    for path in known.keys() - ours.keys() - theirs.keys():
        if not (store.folder / path).exists():
            del known[path]
    note()
    _forget_old(store)


def _fetch(turn: _Turn, plan: Plan, ours: Mapping[str, Print], theirs: Mapping[str, Print]) -> None:
    """Bring files to a place beside the folder, then put each that is whole in its own."""
    store, outcome = turn.store, turn.outcome
    shutil.rmtree(store.incoming, ignore_errors=True)  # of one that was ended in the middle
    store.incoming.mkdir(parents=True)
    if why := turn.rclone.copy(store.remote, str(store.incoming), plan.fetch):
        outcome.problems.append(f"fetching: {why}")
    for path in plan.fetch:
        fresh, target = store.incoming / path, store.folder / path
        if not fresh.is_file() or fresh.stat().st_size != theirs[path][0]:
            continue
        if _print(target) != ours.get(path):
            continue  # somebody is writing: next time
        try:
            if _place(turn, plan, fresh, path):
                outcome.fetched += 1
        except (OSError, StoreError) as error:
            outcome.problems.append(f"{path!a}: {error}")
            continue
        turn.known[path] = (_print(target) or [], theirs[path])
    shutil.rmtree(store.incoming, ignore_errors=True)


def _place(turn: _Turn, plan: Plan, fresh: Path, path: str) -> bool:
    """Put a fetched file in its place; False: it was there already."""
    folder = turn.store.folder
    target = folder / path
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise StoreError("a link leads out of the folder")
    if path in plan.conflicts:
        if filecmp.cmp(fresh, target, shallow=False):
            return False
        kept = _conflict_name(target, turn.date)
        target.rename(kept)
        plan.send.append(str(kept.relative_to(folder)))
        turn.outcome.conflicts.append(path)
    elif target.exists():
        _put_aside(turn, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh.rename(target)
    return True


def _send(turn: _Turn, plan: Plan, before: Mapping[str, Print]) -> None:
    """Bring changes there; ``before`` is what was there."""
    store, outcome = turn.store, turn.outcome
    old = f"{store.remote}.old/{turn.date}"
    gone = plan.remove_there
    if gone and (why := turn.rclone.move(store.remote, old, gone)):
        outcome.problems.append(f"removing there: {why}")
    sent = {path: each for path in plan.send if (each := _print(store.folder / path))}
    if sent:
        why = turn.rclone.copy(str(store.folder), store.remote, sent, "--backup-dir", old)
        if why:
            outcome.problems.append(f"sending: {why}")
    if not sent and not gone:
        return
    # What is there now is ours if it is not what was there before, and as long.
    after = turn.rclone.listing(store.remote) or {}
    for path, ours in sent.items():
        if path in after and after[path][0] == ours[0] and after[path] != before.get(path):
            turn.known[path] = (ours, after[path])
            outcome.sent += 1
    for path in gone:
        if path not in after:
            del turn.known[path]
            outcome.removed += 1


def _print(path: Path) -> Print | None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        status = path.lstat()
        return [status.st_size, status.st_mtime_ns]
    return None


def _put_aside(turn: _Turn, path: str) -> None:
    kept = turn.store.old / turn.date / path
    kept.parent.mkdir(parents=True, exist_ok=True)
    (turn.store.folder / path).rename(kept)


def _conflict_name(path: Path, date: str) -> Path:
    number, extra = 1, ""
    while (fresh := path.with_name(f"{path.stem} (conflict {date}{extra}){path.suffix}")).exists():
        number, extra = number + 1, f" {number + 1}"
    return fresh


def _portable(path: str) -> bool:
    """Whether both sides can have a file of this name."""
    with contextlib.suppress(UnicodeEncodeError):
        path.encode()
        parts = path.split("/")
        return not {"", ".", ".."} & set(parts) and not any(c in path for c in "\n\r\0")
    return False


def _forget_old(store: ConnectedStore) -> None:
    with contextlib.suppress(FileNotFoundError):
        for each in store.old.iterdir():
            if each.lstat().st_mtime < time.time() - KEPT_SECONDS:
                shutil.rmtree(each, ignore_errors=True)
