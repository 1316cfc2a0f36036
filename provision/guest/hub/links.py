"""What nbgitpuller gets wrong when a teacher's link brings what a student has a file of.

It reads git's list of changes line by line, where git quotes names and calls a moved file neither
new nor gone, and it looks for a file in the way only under the very name that comes. What is in
the way would stop the link for good; it is to be moved aside, whatever it is called.
"""

import datetime
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def mend() -> None:
    """Teach nbgitpuller, where it is installed, to move aside all that is in the way."""
    try:
        from nbgitpuller.pull import (  # type: ignore[import-not-found]  # noqa: PLC0415
            GitPuller,
        )
    except ImportError:
        return
    GitPuller.find_upstream_changed = find_upstream_changed
    GitPuller.rename_local_untracked = rename_local_untracked


def changed_names(listed: str, kind: str) -> list[str]:
    """The names of one kind in git's list of changes.

    Args:
        listed: what ``git diff --name-status --no-renames -z`` says.
        kind: its letter.
    """
    words = listed.split("\0")[:-1]
    pairs = zip(words[::2], words[1::2], strict=True)
    return [name for letter, name in pairs if letter.startswith(kind)]


def find_upstream_changed(puller: Any, kind: str) -> list[str]:
    """In place of nbgitpuller's own: the files with which the teacher has done one kind of thing.

    Args:
        puller: nbgitpuller's.
        kind: ``A``, added, or ``D``, deleted.
    """
    there = f"..origin/{puller.branch_name}"
    return changed_names(_git(puller, "diff", there, "--name-status", "--no-renames", "-z"), kind)


def rename_local_untracked(puller: Any) -> Iterator[str]:
    """In place of nbgitpuller's own: move aside the student's files where the teacher's come.

    Args:
        puller: nbgitpuller's.

    Yields:
        what was moved, for the page.
    """
    root = Path(puller.repo_dir)
    for name in find_upstream_changed(puller, "A"):
        # A file of the student's may also be where the teacher's needs a folder.
        folders = [root / each for each in list(Path(name).parents)[-2::-1]]
        file = next((each for each in folders if _no_folder(each)), root / name)
        tracked = _git(puller, "ls-files", "-z", "--", str(file.relative_to(root)))
        if not (file.exists() or file.is_symlink()) or (file in folders and tracked):
            continue
        now = datetime.datetime.now().strftime("__%Y%m%d%H%M%S")
        aside = file.with_name(f"{file.stem}{now}{file.suffix}")
        file.rename(aside)
        if tracked:  # a folder of both: the teacher's part is git's to remove
            _git(puller, "checkout", "--", str(file.relative_to(root)))
        yield f"Renamed {file} to {aside} to avoid conflict with upstream"


def _no_folder(path: Path) -> bool:
    return path.is_symlink() or (path.exists() and not path.is_dir())


def _git(puller: Any, *words: str) -> str:
    # A student's file name is any bytes, and so is what git says of it.
    command = ["git", "--literal-pathspecs", "-c", "core.quotepath=false", *words]
    done = subprocess.run(command, cwd=puller.repo_dir, check=True, capture_output=True)
    return done.stdout.decode(errors="surrogateescape")
