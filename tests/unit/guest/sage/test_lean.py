"""What a lean Sage is without, and that a program is stripped only where it stays the same."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from provision.guest.sage import lean

PAGE = 4096
TEXT, GAP, DEBUG = b"\xc3" * 100, b"left by patchelf", b"names of variables"


@dataclass(frozen=True)
class Library:
    """A library of one segment: code, a gap that nothing names; behind it what is not loaded."""

    text: bytes = TEXT
    gap: bytes = GAP
    debug: bytes = DEBUG
    behind: bytes = b""
    at: int = PAGE
    address: int = PAGE
    zeros: int = 64
    entry: int = PAGE

    def written(self, path: Path) -> Path:
        loaded = self.text + self.gap
        end = self.at + len(loaded)
        table = end + len(self.debug)
        header = struct.pack(
            "<6s10xHHIQQQIHHHHHH",
            *(lean.MAGIC, 3, 62, 1, self.entry, 64, table, 0, 64, 56, 1, 64, 4, 0),
        )
        segment = struct.pack(
            "<IIQQQQQQ",
            *(1, 5, self.at, self.address, self.address),
            *(len(loaded), len(loaded) + self.zeros, PAGE),
        )
        here = self.address + len(loaded)
        rows = [(0, 0, 0, 0, 0), (1, 2, self.address, self.at, len(self.text))]
        rows += [(8, 2, here, end, self.zeros), (1, 0, 0, end, len(self.debug))]
        sections = b"".join(struct.pack("<IIQQQQIIQQ", 0, *row, 0, 0, 0, 0) for row in rows)
        start = (header + segment).ljust(self.at, b"\0")
        path.write_bytes(start + loaded + self.debug + sections + self.behind)
        return path


@pytest.fixture
def compared(tmp_path: Path) -> Callable[[Library, Library], bool]:
    def same(before: Library, after: Library) -> bool:
        return lean.same_in_memory(
            before.written(tmp_path / "before.so"), after.written(tmp_path / "after.so")
        )

    return same


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(Library(debug=b""), id="without what debuggers read"),
        pytest.param(Library(debug=b"", gap=bytes(len(GAP))), id="nothing in a gap"),
        pytest.param(Library(at=2 * PAGE), id="elsewhere in the file, on a page too"),
    ],
)
def test_a_program_that_is_the_same_in_memory(
    compared: Callable[[Library, Library], bool], after: Library
) -> None:
    assert compared(Library(), after)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(Library(text=b"\x90" + TEXT[1:]), id="other code"),
        pytest.param(Library(at=PAGE + 512), id="where no page begins"),
        pytest.param(Library(address=2 * PAGE, entry=2 * PAGE), id="elsewhere in memory"),
        pytest.param(Library(zeros=32), id="less memory than its variables take"),
        pytest.param(Library(gap=b"", text=TEXT[:-1]), id="cut off"),
        pytest.param(Library(entry=PAGE + 8), id="another beginning"),
    ],
)
def test_a_program_that_is_another_in_memory(
    compared: Callable[[Library, Library], bool], after: Library
) -> None:
    assert not compared(Library(), after)


def test_what_somebody_appended_is_not_lost(compared: Callable[[Library, Library], bool]) -> None:
    behind = Library(behind=b"PK an archive")
    assert not compared(behind, replace(behind, behind=b"", debug=b""))


@pytest.mark.parametrize("length", [0, 6, 63, 100, PAGE + 10])
def test_what_is_no_whole_program(tmp_path: Path, length: int) -> None:
    whole = Library().written(tmp_path / "whole.so")
    part = tmp_path / "part.so"
    part.write_bytes(whole.read_bytes()[:length])
    assert not lean.same_in_memory(part, part)
    assert not lean.same_in_memory(whole, part)


def sage(prefix: Path, *files: str) -> Path:
    for name in files:
        path = prefix / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{path.suffix}\n")
    return prefix


def test_what_is_left_out_and_what_stays(tmp_path: Path) -> None:
    site = "lib/python3.13/site-packages"
    gone = [
        f"{site}/numpy/_core/tests/test_array.py",
        f"{site}/gap/pkg/hap/tst/all.tst",
        f"{site}/gap/pkg/hap/doc/manual.pdf",
        f"{site}/sage_wheels/lib/ecl-26.5.5/libcmp.a",
        "share/jupyter/nbextensions/widgets/extension.js.map",
    ]
    kept = [
        f"{site}/numpy/testing/utils.py",
        f"{site}/gap/pkg/hap/doc/manual.txt",
        f"{site}/jinja2/tests.py",
        f"{site}/sage/tests/cython.pyx",
        f"{site}/sage/repl/rich_output/example.pdf",
        f"{site}/Cython/Utility/Buffer.c",
        f"{site}/gmpy2/gmpy2.h",
    ]
    lean.make_lean(sage(tmp_path, *gone, *kept))
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {*kept, lean.TOLD}
    told = dict(line.split("\t") for line in (tmp_path / lean.TOLD).read_text().splitlines())
    assert told == lean.LEFT_OUT


def test_each_thing_left_out_has_a_reason() -> None:
    assert all(reason.strip() for reason in lean.LEFT_OUT.values())


def test_files_that_are_the_same_become_one(tmp_path: Path) -> None:
    sage(tmp_path, "a/lib.txt", "b/lib.txt", "c/other.rst", "d/run.txt")
    (tmp_path / "d/run.txt").chmod(0o755)
    (tmp_path / "a/empty").touch()
    (tmp_path / "b/empty").touch()
    (tmp_path / "b/link.txt").symlink_to("lib.txt")
    lean.make_lean(tmp_path)
    first = tmp_path / "a/lib.txt"
    assert first.samefile(tmp_path / "b/lib.txt")
    assert (tmp_path / "b/link.txt").is_symlink()
    links = {name: (tmp_path / name).stat().st_nlink for name in ("d/run.txt", "a/empty")}
    assert links == {"d/run.txt": 1, "a/empty": 1}  # another mode; nothing to gain


def test_doing_it_again_changes_nothing(tmp_path: Path) -> None:
    sage(tmp_path, "a/lib.txt", "b/lib.txt")

    def state() -> dict[str, tuple[int, int, int]]:
        found = {str(path): path.lstat() for path in tmp_path.rglob("*") if path.name != lean.TOLD}
        return {
            name: (each.st_ino, each.st_mtime_ns, each.st_nlink) for name, each in found.items()
        }

    lean.make_lean(tmp_path)
    before = state()
    lean.make_lean(tmp_path)
    assert state() == before


def test_a_guest_without_strip_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Library().written(tmp_path / "lib.so")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(lean.LeanError, match="apt-get install binutils"):
        lean.make_lean(tmp_path)
