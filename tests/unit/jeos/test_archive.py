"""The state of the archive decides whether a base is still current."""

import io
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provision.errors import ConfigError, HostNotReadyError
from provision.jeos import archive
from provision.jeos.archive import SourceLine

SOURCE = SourceLine("http://mirror.example/debian", "trixie", ("main",), Path("/keyring.gpg"))
INRELEASE = """\
Origin: Debian
Date: Sat, 12 Sep 2026 07:55:41 UTC
SHA256:
 {hash} 123 main/binary-amd64/Packages
 0000000000000000000000000000000000000000000000000000000000000000 1 main/binary-arm64/Packages
"""

Answer = Callable[[str], bytes | Exception]


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    def serve(answer: Answer) -> None:
        class Opener:
            def open(self, url: str, timeout: float) -> Any:
                given = answer(url)
                if isinstance(given, Exception):
                    raise given
                return io.BytesIO(given)

        monkeypatch.setattr(urllib.request, "build_opener", lambda *_: Opener())

    return serve


def test_the_same_packages_give_the_same_state(mirror: Callable[[Answer], None]) -> None:
    mirror(lambda _: INRELEASE.format(hash="a" * 64).encode())
    one = archive.read_release([SOURCE])
    assert one == archive.read_release([SOURCE])
    assert one.epoch == 1789199741
    mirror(lambda _: INRELEASE.format(hash="b" * 64).encode())
    assert archive.read_release([SOURCE]).packages != one.packages


def test_a_newer_date_alone_is_no_change(mirror: Callable[[Answer], None]) -> None:
    mirror(lambda _: INRELEASE.format(hash="a" * 64).encode())
    security = SourceLine(
        "http://mirror.example/security", "trixie-security", ("main",), Path("/k")
    )
    before = archive.read_release([SOURCE, security])

    def resigned(url: str) -> bytes:
        text = INRELEASE.format(hash="a" * 64)
        return (text.replace("12 Sep", "13 Sep") if "security" in url else text).encode()

    mirror(resigned)
    assert archive.read_release([SOURCE, security]) == before


def test_a_wrong_suite_is_the_configuration_s_fault(mirror: Callable[[Answer], None]) -> None:
    mirror(lambda url: urllib.error.HTTPError(url, 404, "not found", {}, None))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"no suite 'trixie'"):
        archive.read_release([SOURCE])


def test_a_mirror_that_does_not_answer_is_named(mirror: Callable[[Answer], None]) -> None:
    mirror(lambda url: urllib.error.URLError("connection refused"))
    with pytest.raises(HostNotReadyError, match=r"mirror\.example.*connection refused") as caught:
        archive.read_release([SOURCE])
    assert "--offline" in (caught.value.hint or "")


def test_a_mirror_without_our_architecture_is_refused(mirror: Callable[[Answer], None]) -> None:
    mirror(lambda _: b"Origin: Debian\nSHA256:\n")
    with pytest.raises(ConfigError, match="no amd64 packages"):
        archive.read_release([SOURCE])


def test_ubuntu_takes_its_own_suites_and_keyring() -> None:
    found = archive.sources("ubuntu", "noble", "http://mirror.example/ubuntu")
    assert [source.suite for source in found] == ["noble", "noble-updates", "noble-security"]
    assert {source.keyring.name for source in found} == {"ubuntu-archive-keyring.gpg"}
    assert found[0].components == ("main", "universe")


def test_unstable_has_no_updates_suite() -> None:
    found = archive.sources("debian", "sid", "http://mirror.example/debian")
    assert [source.suite for source in found] == ["sid"]


def test_this_hosts_own_mirrors_are_those_that_apt_loads_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives = {
        "https://other.example/apt/dists/trixie": "Origin: Docker\nLabel: Docker CE",
        "http://near.example/debian/dists/trixie": "Origin: Debian\nLabel: Debian",
        "http://far.example/debian/dists/trixie": "Origin: Debian\nLabel: Debian",
        "http://near.example/safe/dists/trixie-security": "Origin: Debian\nLabel: Debian-Security",
        "http://new.example/debian/dists/trixie": None,
    }
    told = ""
    for number, (place, release) in enumerate(archives.items()):
        told += (
            f"'{place}/InRelease' list{number} 0 \n'{place}/main/Packages.xz' packages{number} 0 \n"
        )
        if release is not None:
            (tmp_path / f"list{number}").write_text(f"-----BEGIN PGP-----\n\n{release}\n")
    monkeypatch.setattr(archive, "APT_LISTS", tmp_path)
    answer = subprocess.CompletedProcess([], 0, stdout=told)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert archive.host_mirrors("debian") == {
        "main": "http://near.example/debian",
        "security": "http://near.example/safe",
    }
    assert archive.host_mirrors("ubuntu") == {}
