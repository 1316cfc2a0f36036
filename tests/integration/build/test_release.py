"""`make release`: the version, the changelog, the tag and the wheel are of one release."""

import email
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
WHO = {f"GIT_{role}_{what}": "release@example.org" for role in ("AUTHOR", "COMMITTER")
       for what in ("NAME", "EMAIL")}  # fmt: skip


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The last commit, with nothing tagged."""
    place = tmp_path / "clone"
    # A tree of root's may be tested by root in the name of somebody else.
    trust = ("-c", f"safe.directory={ROOT}", "-c", f"safe.directory={ROOT}/.git")
    subprocess.run(["git", *trust, "clone", "-q", "--no-tags", ROOT, place], check=True)
    return place


def run(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **WHO, "PROJECT_URL": "https://example.org/appliance"}
    return subprocess.run(
        words, cwd=clone, env=env, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def release(clone: Path) -> subprocess.CompletedProcess[str]:
    venv = Path(sys.executable).parents[1]
    return run(clone, "make", "release", f"VENV={venv}", "-o", f"{venv}/.installed")


def test_version_changelog_tag_and_wheel_are_of_one_release(clone: Path) -> None:
    done = release(clone)
    assert done.returncode == 0, done.stdout
    assert run(clone, "git", "describe", "--exact-match").stdout == f"v{VERSION}\n"
    assert run(clone, "git", "cat-file", "-t", f"v{VERSION}").stdout == "tag\n"
    (wheel,) = (clone / "dist").glob(f"*-{VERSION}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        told = email.message_from_bytes(archive.read(metadata))
        assert any(name.endswith("/man/man1/appliance.1") for name in archive.namelist())
    assert told["Version"] == VERSION
    assert told["Author"]
    assert "Homepage, https://example.org/appliance" in told.get_all("Project-URL", [])
    again = release(clone)
    assert again.returncode != 0
    assert f"v{VERSION}" in again.stdout
    assert "already exists" in again.stdout


def test_what_is_unreleased_or_changed_gets_no_tag(clone: Path) -> None:
    log = clone / "CHANGELOG.md"
    log.write_text(log.read_text().replace(f"## {VERSION} (", "## Unreleased ("))
    assert "commit what is changed first" in release(clone).stdout
    assert run(clone, "git", "commit", "-qam", "next").returncode == 0
    done = release(clone)
    assert done.returncode != 0
    assert f"CHANGELOG.md: write '## {VERSION} (YEAR-MONTH-DAY)'" in done.stdout
    assert run(clone, "git", "tag").stdout == ""
