"""Wheels of a notebook's list that are yanked, or for other platforms, from a real index."""

import re
from pathlib import Path

import pytest

from provision.build import notebook
from provision.errors import ApplianceError
from provision.progress import Silent, reporting

YANKED = "certifi==2022.5.18", "8d15a5a7fde18536a249c49e07e8e462b8fc13de21b3c80e8a68315dfa227c99"
WINDOWS = "pywin32==311", "718a38f7e5b058e76aee1c56ddd06908116d35147e133427e59a3983f703a20d"


class Notes(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, message: str) -> None:
        self.told.append(message)


def line(wanted: str, digest: str) -> str:
    return f"{wanted} --hash=sha256:{digest}\n"


def test_what_is_yanked_is_taken_and_said(tmp_path: Path) -> None:
    """It is still there, for those whose list names it; why it was yanked is theirs to judge."""
    with reporting(notes := Notes()):
        notebook._install(line(*YANKED), tmp_path / "tree", "3.13", "amd64", tmp_path / "wheels")
    assert (tmp_path / "tree/certifi/__init__.py").exists()
    (told,) = notes.told
    assert "certifi==2022.5.18` is yanked" in told


def test_what_is_for_another_platform_is_refused() -> None:
    with pytest.raises(ApplianceError, match="pywin32==311 has no wheels with a matching") as no:
        notebook.environment(line(*WINDOWS), "3.13", "amd64")
    assert "for another platform" in str(no.value.hint)
    with pytest.raises(ApplianceError, match=r"[Hh]ash mismatch"):
        notebook.environment(line(YANKED[0], WINDOWS[1]), "3.13", "amd64")


def test_an_appliance_with_another_processor_gets_wheels_for_it(tmp_path: Path) -> None:
    text = notebook.wanted_environment().notebook
    (marked,) = re.findall(r"^markupsafe==(?:.*\\\n)*.*\n", text, re.MULTILINE)
    for arch, machine in (("amd64", b"\x3e\x00"), ("arm64", b"\xb7\x00")):
        notebook._install(marked, tmp_path / arch, "3.13", arch, tmp_path / "wheels")
        (library,) = (tmp_path / arch).glob("markupsafe/_speedups*.so")
        assert library.read_bytes()[18:20] == machine  # e_machine, as elf(5) has it
