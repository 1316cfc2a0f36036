"""A lean Sage, or another Python: python3 lean.py PREFIX, as root, right after it was installed.

What nobody in a class uses is left out (`LEFT_OUT`), what only a debugger reads is stripped, and
files that are the same are one file with many names. A program or library is stripped only so
far that what the loader puts into memory stays the same, byte for byte: it is compared, since
some that were patched after they were linked come out of ``strip`` broken.

The same Sage comes out the same, wherever this runs: in a build, and in an appliance that takes
the wheels from its own index. Doing it again changes nothing.
"""

import contextlib
import hashlib
import mmap
import os
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TOLD = "left-out.txt"  # below PREFIX: what was left out of it, and why
SITE = "lib/python3*/site-packages"
TESTS = "its own tests; numpy.testing and the like, which others use, stay"
# Patterns below PREFIX, and why nobody misses what they name.
LEFT_OUT = {
    **{
        f"{SITE}/{name}/**/tests": TESTS
        for name in (
            *("flint", "ipywidgets", "matplotlib", "mpl_toolkits", "mpmath", "networkx"),
            *("numpy", "pandas", "scipy", "sympy"),
        )
    },
    f"{SITE}/flint/test": TESTS,
    f"{SITE}/tornado/test": TESTS,
    f"{SITE}/Cython/**/Tests": TESTS,
    f"{SITE}/gap/pkg/*/tst": "tests of GAP's packages; the packages stay whole",
    f"{SITE}/gap/pkg/**/*.pdf": "manuals to print: GAP's help shows their text, which stays",
    f"{SITE}/sage_wheels/share/maxima/**/*.pdf": "manuals to print: describe() has its own text",
    f"{SITE}/sage_wheels/share/maxima/**/doc/html": "the same once more, for a browser",
    f"{SITE}/sage_wheels/share/maxima/**/doc/*.ps": "the same",
    f"{SITE}/sage_wheels/lib/ecl-*/*.a": "for Lisp programs that stand alone; Maxima needs none",
    f"{SITE}/debugpy/**/*.c": "what Cython made its libraries from; `%%cython` reads .pxd and .h",
    f"{SITE}/debugpy/**/*.cpp": "the same",
    f"{SITE}/fontTools/**/*.c": "the same",
    f"{SITE}/widgetsnbextension/**/*.map": "source maps, for those who change the widgets",
    "share/jupyter/**/*.map": "the same",
}
MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
LOAD, PROGRAM_HEADER = 1, 6  # kinds of segments
NULL, NOTHING = 0, 8  # kinds of sections without a byte in the file
ALLOCATED, PER_THREAD = 2, 0x400  # flags of sections
WAYS = ("--strip-unneeded", "--strip-debug")  # the next where the one before would break it
# How the compiler was called, for annocheck. ``strip`` merges some of it each time it is run, so
# that doing it again would change a file.
NOTES = "--remove-section=.gnu.build.attributes*"


class LeanError(Exception):
    """It cannot be done; the message says why."""


@dataclass(frozen=True)
class Segment:
    """What the loader maps, or looks at once it is mapped.

    Args:
        kind: what for.
        flags: what may be done there.
        offset: where it begins in the file.
        address: where it goes in memory, before all is moved together.
        length: bytes of the file.
        memory: bytes in memory; what the file does not have is zero.
        align: what offset and address agree by.
    """

    kind: int
    flags: int
    offset: int
    address: int
    length: int
    memory: int
    align: int


@dataclass(frozen=True)
class ElfSection:
    """What a program or library is made of.

    Args:
        kind: as in the file.
        flags: whether it is in memory.
        offset: where it is in the file.
        address: where it is in memory.
        length: its bytes.
    """

    kind: int
    flags: int
    offset: int
    address: int
    length: int


@dataclass(frozen=True)
class Program:
    """A program or library, as its headers tell.

    Args:
        content: the file.
        header: what it is and where it starts.
        table: where its program header is.
        segments: for the loader.
        sections: for linkers and debuggers.
    """

    content: mmap.mmap
    header: tuple[int, ...]
    table: int
    segments: tuple[Segment, ...]
    sections: tuple[ElfSection, ...]

    def at(self, address: int, length: int) -> bytes | None:
        """What the file puts at an address; None: not all of it, or something else is there."""
        for each in self.segments:
            begin = address - each.address
            if each.kind == LOAD and begin >= 0 and begin + length <= each.length:
                return self.content[each.offset + begin : each.offset + begin + length]
        return None

    def zero(self, address: int, length: int) -> bool:
        """Whether an address is in memory and none of the file's."""
        return any(
            each.kind == LOAD
            and each.address + each.length <= address
            and address + length <= each.address + each.memory
            for each in self.segments
        )


def main() -> None:
    """Make the Sage below the directory that the command line names lean."""
    try:
        make_lean(Path(sys.argv[1]))
    except (LeanError, OSError) as error:
        sys.exit(f"lean.py: {error}")


def make_lean(prefix: Path) -> None:
    """Leave out, strip and link.

    Args:
        prefix: the directory of a Sage that is installed whole; nobody uses it yet.

    Raises:
        LeanError: there is something to strip and no ``strip``.
        OSError: a file cannot be read or written.
    """
    leave_out(prefix)
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        for _ in workers.map(_shrink, twins(prefix)):
            pass
    told = "".join(f"{pattern}\t{reason}\n" for pattern, reason in LEFT_OUT.items())
    (prefix / TOLD).write_text(told)


def leave_out(prefix: Path) -> None:
    """Remove what `LEFT_OUT` names."""
    for pattern in LEFT_OUT:
        for path in sorted(prefix.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def twins(prefix: Path) -> list[list[Path]]:
    """All files that hold something, those together that are the same.

    Only the first of a group is stripped, so that a library that came eight times is read once.
    Two copies of a library that are one file stay one library to whoever loads both: its name is
    the same in both, and the loader takes the first that it knows by that name.
    """
    sizes: dict[tuple[int, int], list[Path]] = {}
    for directory, _, names in os.walk(prefix):
        for name in names:
            path = Path(directory, name)
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_size:
                sizes.setdefault((found.st_size, found.st_mode), []).append(path)
    groups: dict[tuple[tuple[int, int], bytes], list[Path]] = {}
    for size, paths in sizes.items():
        for path in sorted(paths):
            digest = b""
            if len(paths) > 1:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").digest()
            groups.setdefault((size, digest), []).append(path)
    return sorted(groups.values())


def _shrink(same: list[Path]) -> None:
    first, *others = same
    strip(first)
    for other in others:
        if not other.samefile(first):
            fresh = _fresh(other)
            fresh.hardlink_to(first)
            fresh.replace(other)


def strip(path: Path) -> None:
    """Take out of a program or library what only linkers and debuggers read.

    Args:
        path: any file; it is left as it is where it would not be the same in memory.

    Raises:
        LeanError: there is no ``strip``.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return
    fresh = _fresh(path)
    try:
        for way in WAYS:
            argv = ["strip", way, NOTES, "-o", str(fresh), str(path)]
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            if done.returncode == 0 and same_in_memory(path, fresh):
                shutil.copystat(path, fresh)
                if fresh.stat().st_size < path.stat().st_size:
                    fresh.replace(path)
                return
    except FileNotFoundError as error:
        raise LeanError("strip is missing: apt-get install binutils") from error
    finally:
        fresh.unlink(missing_ok=True)


def same_in_memory(before: Path, after: Path) -> bool:
    """Whether two programs or libraries are the same once the loader has mapped them.

    What lies between two sections does not count: it is what was there before somebody moved it.

    Args:
        before: as it was linked.
        after: stripped.

    Returns:
        False, too, where either is no program or not whole, or has more than its sections.
    """
    try:
        with _mapping(before) as old, _mapping(after) as new:
            was, now = read(old), read(new)
            return (
                was.header == now.header
                and _nothing_behind(was)
                and len(was.segments) == len(now.segments)
                and all(_agree(now, *pair) for pair in zip(was.segments, now.segments, strict=True))
                and all(_keeps(was, now, each) for each in was.sections)
            )
    except (struct.error, ValueError):
        return False


def read(content: mmap.mmap) -> Program:
    """Read a program's or library's headers.

    Raises:
        struct.error: it is cut off.
        ValueError: it is none, or cut off.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise ValueError("no ELF file of 64 bits")
    kind, machine, _, entry, table, more, flags, _, size, count, wide, number, _ = (
        HEADER.unpack_from(content)
    )
    segments = []
    for each in range(count):
        found = SEGMENT.unpack_from(content, table + each * size)
        what, rights, offset, address, _, length, memory, align = found
        segments.append(Segment(what, rights, offset, address, length, memory, align))
    sections = []
    for each in range(number):
        found = SECTION.unpack_from(content, more + each * wide)
        _, what, rights, address, offset, length, *_ = found
        if what not in (NULL, NOTHING):
            _within(content, offset, length)
        sections.append(ElfSection(what, rights, offset, address, length))
    for segment in segments:
        _within(content, segment.offset, segment.length)
    header = (kind, machine, entry, flags)
    return Program(content, header, table, tuple(segments), tuple(sections))


def _within(content: mmap.mmap, offset: int, length: int) -> None:
    if offset + length > len(content):
        raise ValueError("it is cut off")


def _nothing_behind(program: Program) -> bool:
    """Whether all of a file is in its sections, so that nothing that somebody appended is lost."""
    *_, more, _, _, _, _, wide, number, _ = HEADER.unpack_from(program.content)
    parts = [(each.offset, each.length) for each in program.sections if each.kind != NOTHING]
    parts += [(each.offset, each.length) for each in program.segments]
    end = max(offset + length for offset, length in (*parts, (more, wide * number)))
    return bool(program.sections) and not program.content[end:].strip(b"\0")


def _agree(now: Program, was: Segment, segment: Segment) -> bool:
    """Whether a segment is what it was, wherever the file has it now."""
    if (was.kind, was.flags, was.address, was.align) != (
        *(segment.kind, segment.flags, segment.address, segment.align),
    ):
        return False
    if segment.kind == PROGRAM_HEADER and segment.offset != now.table:
        return False
    if segment.kind == LOAD:  # its end may be gone: _kept sees to what counts
        return (segment.offset - segment.address) % max(segment.align, 1) == 0
    if (was.length, was.memory) != (segment.length, segment.memory):
        return False
    inside = now.at(segment.address, segment.length)
    there = now.content[segment.offset : segment.offset + segment.length]
    return not segment.length or inside == there


def _keeps(was: Program, now: Program, section: ElfSection) -> bool:
    """Whether what a section has in memory is there still."""
    address, length = section.address, section.length
    if not section.flags & ALLOCATED or not length:
        return True
    if section.kind == NOTHING:
        return bool(section.flags & PER_THREAD) or now.zero(address, length)
    content = was.content[section.offset : section.offset + length]
    return was.at(address, length) == content == now.at(address, length)


@contextlib.contextmanager
def _mapping(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def _fresh(path: Path) -> Path:
    """A name beside a file, for what is to take its place."""
    return path.with_name(f".{path.name}.lean")


if __name__ == "__main__":
    main()
