"""The program for Windows: what is taken for Python, and what is not."""

import zipfile
from pathlib import Path

import pytest

from provision.distribution import windows
from provision.errors import UsageError


def program(machine: int = 0x8664) -> bytes:
    """The beginning of a Windows program for a processor."""
    return (
        b"MZ"
        + bytes(0x3A)
        + (0x40).to_bytes(4, "little")
        + b"PE\0\0"
        + machine.to_bytes(2, "little")
    )


def package(place: Path, **files: bytes) -> Path:
    path = place / "python.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


GOOD = {"python.exe": program(), "python313._pth": b"python313.zip\r\n.\r\n#import site\r\n"}


def test_python_finds_what_is_beside_it(tmp_path: Path) -> None:
    assert windows._unpack(package(tmp_path, **GOOD), tmp_path / "python") == "3.13"
    told = (tmp_path / "python/python313._pth").read_bytes()
    assert told == b"python313.zip\r\n.\r\n..\\site\r\n"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"readme": b""}, "no Python for Windows that runs as it is"),
        ({**GOOD, "python.exe": program(0xAA64)}, "not for 64-bit Windows on x86"),
        ({**GOOD, "python.exe": program(0x14C)}, "not for 64-bit Windows on x86"),
        ({**GOOD, "python.exe": b"\x7fELF"}, "not for 64-bit Windows on x86"),
        ({**GOOD, "python312._pth": b""}, "no Python for Windows"),
        ({**GOOD, "../autorun.inf": b""}, "leads elsewhere"),
        ({**GOOD, "C:/x": b""}, "leads elsewhere"),
    ],
)
def test_what_is_no_such_package(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        windows._unpack(package(tmp_path, **files), tmp_path / "python")
    assert "embeddable package (64-bit)" in (caught.value.hint or "")
    assert not (tmp_path / "python").exists()


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "python.zip").write_bytes(b"PK but not really")
    with pytest.raises(UsageError, match="not a zip file"):
        windows._unpack(tmp_path / "python.zip", tmp_path / "python")


def test_our_own_wheel_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 wheels of this program") as caught:
        windows.add_program(
            package(tmp_path, **GOOD), [tmp_path / "click-8-py3-none-any.whl"], tmp_path
        )
    assert "make release" in (caught.value.hint or "")


def test_the_files_to_click_are_windows_own() -> None:
    for text in (windows._START, windows._COMMAND):
        assert text.isascii()  # cmd reads it in whatever code page there is
        assert "\r" not in text
