"""Files for root, where somebody else may have put links, pipes and what has no end.

Directories are opened one by one, and never by a path that a student could bend.
"""

import contextlib
import hashlib
import os
import stat
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

MIB = 1 << 20
FILE, ALL, FILES = 20 * MIB, 50 * MIB, 200  # bytes of one, of all in a folder; how many
_KINDS = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass
class Taken:
    """What is in a folder.

    Args:
        files: contents by name.
        problems: why one was not taken, by name.
        changed: when one of the files was changed last, as the kernel says; nobody can set it.
        folders: how many were looked into.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    changed: float = 0
    folders: int = 0


@contextlib.contextmanager
def folder(name: str | os.PathLike[str], above: int | None = None) -> Iterator[int]:
    """Open a folder; its descriptor.

    Args:
        name: the folder's.
        above: descriptor of the one in which it is; None: ``name`` is a path that is ours.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is a link, or no folder.
    """
    descriptor = os.open(name, _FOLDER, dir_fd=above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def what(name: str, above: int) -> str | None:
    """What is there in the place of a folder, in words; None: nothing.

    Args:
        name: of the folder.
        above: descriptor of the one in which it is.
    """
    try:
        mode = os.lstat(name, dir_fd=above).st_mode
    except FileNotFoundError:
        return None
    return _KINDS.get(stat.S_IFMT(mode), "a file")


def legible(path: str) -> str:
    """A path as it can be shown, and written into a line; the same, if it can."""
    kinds = ("Cc", "Cs", "Zl", "Zp")  # also what Unicode cannot say
    return "".join("?" if unicodedata.category(each) in kinds else each for each in path)


def take(descriptor: int, kept: Container[str] = (), deep: int = 0) -> Taken:
    """Read the files of a folder, within limits; those of folders in it only if asked to.

    Args:
        descriptor: of the folder.
        kept: which files are read although they are hidden.
        deep: how many folders deep.
    """
    taken = Taken()
    _take(taken, descriptor, "", kept, deep)
    return taken


def _take(taken: Taken, descriptor: int, above: str, kept: Container[str], deep: int) -> None:
    for name in sorted(os.listdir(descriptor)):
        path = f"{above}{name}"
        if (name.startswith(".") and name not in kept) or name == "__pycache__":
            continue
        if max(len(taken.files) + len(taken.problems), taken.folders) >= FILES:
            taken.problems[legible(path)] = f"there are more than {FILES} files"
            return
        if legible(name) != name:
            taken.problems[legible(path)] = "its name cannot be written: rename it"
            continue
        try:
            if deep and what(name, descriptor) == "a folder":
                with folder(name, descriptor) as below:
                    taken.folders += 1
                    _take(taken, below, f"{path}/", kept, deep - 1)
                continue
            room = ALL - sum(map(len, taken.files.values()))
            taken.files[path], changed = _read(name, descriptor, room)
            taken.changed = max(taken.changed, changed)
        except OSError as error:
            if above or deep or not _is_folder_beside(name, descriptor):
                taken.problems[path] = str(error.args[-1])


def _is_folder_beside(name: str, descriptor: int) -> bool:
    """Whether it is a folder of whatever is beside the notebooks."""
    return what(name, descriptor) == "a folder" and not name.endswith(".ipynb")


def _read(name: str, above: int, room: int) -> tuple[bytes, float]:
    mode = os.lstat(name, dir_fd=above).st_mode
    if not stat.S_ISREG(mode):
        raise OSError(f"it is {_KINDS.get(stat.S_IFMT(mode), 'no file')}")
    with os.fdopen(os.open(name, _READ, dir_fd=above), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no file")
        most = min(FILE, room)
        content = file.read(most + 1)
        if len(content) > most:
            size = f"it has {status.st_size / MIB:.0f} MB"
            raise OSError(f"{size}; a file may have {FILE // MIB}, a folder {ALL // MIB}")
        return content, status.st_ctime


def put(files: Mapping[str, bytes], path: list[str], base: int, owner: int) -> None:
    """Write files, each whole or not at all, into a folder that is made where it is missing.

    Args:
        files: contents by name, or by path in that folder.
        path: names of the folders that lead there.
        base: descriptor of the first of them that is there for sure.
        owner: number of whoever is to own it all.

    Raises:
        OSError: there is a link or a file in the way, or the disk is full.
    """
    if path:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path[0], 0o700, dir_fd=base)
            os.chown(path[0], owner, owner, dir_fd=base, follow_symlinks=False)
        with folder(path[0], base) as below:
            put(files, path[1:], below, owner)
        return
    deeper: dict[str, dict[str, bytes]] = {}
    for name, content in files.items():
        first, inside, rest = name.partition("/")
        if inside:
            deeper.setdefault(first, {})[rest] = content
            continue
        # As long as any name may be.
        fresh = f".{hashlib.sha256(os.fsencode(name)).hexdigest()}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=base)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, 0o600, dir_fd=base), "wb") as file:
            file.write(content)
            file.flush()
            os.fchown(file.fileno(), owner, owner)
            os.fsync(file.fileno())
        os.rename(fresh, name, src_dir_fd=base, dst_dir_fd=base)
    for name, each in deeper.items():
        put(each, [name], base, owner)
    os.fsync(base)


def remove(paths: Iterable[str], base: int) -> None:
    """Remove files, and no folder; what is not there is gone.

    Args:
        paths: of the files, through no link.
        base: descriptor of the folder in which these paths begin.
    """
    for path in paths:
        *above, name = path.split("/")
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            at = base
            for each in above:
                at = stack.enter_context(folder(each, at))
            os.unlink(name, dir_fd=at)
