"""Ubuntu by the same path, as far as it can be shown without an archive of Ubuntu.

An archive of our own has its suites, components, kernel package and signature; what is in the
packages is Debian's. It is the path that is tested here, not Ubuntu.
"""

import dataclasses
import email.utils
import functools
import hashlib
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.build import places
from provision.build.artefacts import DISKS, LAYER
from provision.build.build import HOST_CA
from provision.build.request import Request
from provision.build.work import WORK
from provision.build.workshop import Workshop
from provision.config import Config, read
from provision.errors import HostNotReadyError
from provision.jeos import archive
from provision.jeos.base import BaseSpec, build_base
from provision.jeos.layers import private_mounts
from provision.verify.run import verify
from tests.integration.conftest import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
CONFIG = read(assignments=[*SMALL[1::2], "distribution=ubuntu"]).config
UNIVERSE = ("python3-apt", "zstd")  # whatever: the base comes from both components


@dataclasses.dataclass(frozen=True)
class Mirror:
    """An archive like Ubuntu's on loopback.

    Args:
        url: where.
        keyring: the public key that it is signed with.
        other: a public key that it is not signed with.
    """

    url: str
    keyring: Path
    other: Path


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    place = tmp_path_factory.mktemp("ubuntu")
    private_mounts()
    debs = place / "www/pool"
    debian = Config()
    found = archive.sources("debian", debian.suite, None)
    epoch = archive.read_release(found).epoch
    build_base(BaseSpec("debian", found, epoch), place / "tree", downloads=debs)
    shutil.rmtree(place / "tree")
    shutil.rmtree(debs / "partial", ignore_errors=True)
    (debs / "lock").unlink(missing_ok=True)
    _kernel(place / "kernel", debs)
    _release(place / "files", debs)
    keyrings = [_key(place / name) for name in ("gpg", "gpg-other")]
    for suite in (CONFIG.suite, f"{CONFIG.suite}-updates", f"{CONFIG.suite}-security"):
        chosen = sorted(debs.glob("*.deb")) if suite == CONFIG.suite else []
        _suite(place / "www", suite, chosen, place / "gpg")
    handler = functools.partial(_Quiet, directory=str(place / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Mirror(f"http://127.0.0.1:{server.server_port}", *keyrings)
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _kernel(place: Path, debs: Path) -> None:
    """Ubuntu's name for the kernel, and its links, which are in /boot only."""
    (place / "DEBIAN").mkdir(parents=True)
    (place / "DEBIAN/control").write_text(
        "Package: linux-image-generic\nVersion: 1\nArchitecture: amd64\n"
        "Maintainer: a <a@b.example>\nDepends: linux-image-amd64\nDescription: the kernel\n"
    )
    (place / "etc").mkdir()
    (place / "etc/kernel-img.conf").write_text("link_in_boot = yes\n")
    subprocess.run(["dpkg-deb", "-b", place, debs], check=True, capture_output=True)


def _release(place: Path, debs: Path) -> None:
    """A base-files that calls the system Ubuntu."""
    (package,) = debs.glob("base-files_*.deb")
    subprocess.run(["dpkg-deb", "-R", package, place], check=True)
    told = place / "usr/lib/os-release"
    told.write_text(f"ID=ubuntu\nVERSION_CODENAME={CONFIG.suite}\nPRETTY_NAME=Ubuntu\n")
    subprocess.run(["dpkg-deb", "-b", place, package], check=True, capture_output=True)


def _key(home: Path) -> Path:
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback"]
    subprocess.run(
        [*gpg, "--passphrase", "", "--quick-generate-key", "ubuntu@b.example", "ed25519", "sign"],
        check=True,
        capture_output=True,
    )
    ring = home / "ring.gpg"
    ring.write_bytes(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    return ring


def _suite(www: Path, suite: str, debs: list[Path], home: Path) -> None:
    place = www / "dists" / suite
    sums = []
    for component in ("main", "universe"):
        index = place / component / "binary-amd64/Packages"
        index.parent.mkdir(parents=True)
        index.write_text(
            "".join(
                _entry(www, deb)
                for deb in debs
                if (deb.name.partition("_")[0] in UNIVERSE) == (component == "universe")
            )
        )
        digest = hashlib.sha256(index.read_bytes()).hexdigest()
        sums.append(f" {digest} {index.stat().st_size} {index.relative_to(place)}\n")
    (place / "Release").write_text(
        f"Origin: Ubuntu\nLabel: Ubuntu\nSuite: {suite}\nCodename: {suite.partition('-')[0]}\n"
        f"Date: {email.utils.formatdate(usegmt=True)}\nArchitectures: amd64\n"
        "Components: main universe\nSHA256:\n" + "".join(sums)
    )
    subprocess.run(
        ["gpg", "--homedir", home, "--batch", "--clearsign", "-o", place / "InRelease",
         place / "Release"],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


def _entry(www: Path, deb: Path) -> str:
    control = subprocess.run(["dpkg-deb", "-f", deb], check=True, capture_output=True, text=True)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    return (
        f"{control.stdout}Filename: {deb.relative_to(www)}\nSize: {deb.stat().st_size}\n"
        f"SHA256: {digest}\n\n"
    )


def _request(mirror: Mirror, keyring: Path) -> Request:
    sources = archive.sources("ubuntu", CONFIG.suite, mirror.url, keyring)
    ours = tuple(dataclasses.replace(source, uri=mirror.url) for source in sources)
    return Request(
        config=CONFIG,
        sources=ours,
        release=archive.read_release(ours),
        admin_keys=places.admin_public_keys(CONFIG),
        host_ca=HOST_CA if HOST_CA.exists() else None,
    )


def test_its_signature_is_checked(mirror: Mirror, tmp_path: Path) -> None:
    wanted = _request(mirror, mirror.other)
    with pytest.raises(HostNotReadyError, match="signature does not verify"):
        build_base(wanted.base, tmp_path / "root", downloads=tmp_path / "downloads")


def test_it_becomes_an_appliance_that_keeps_its_promises(mirror: Mirror, tmp_path: Path) -> None:
    """From the mirror to disks that boot; what the playbooks install comes from Debian's own."""
    wanted = _request(mirror, mirror.keyring)
    later = dataclasses.replace(wanted, sources=archive.sources("debian", Config().suite, None))
    layers: list[Path] = []
    for name, work in WORK.items():
        part = tmp_path / name
        part.mkdir()
        downloads = places.cache() / "packages" if name != "base" else tmp_path / "downloads"
        request = wanted if name == "base" else later
        work(Workshop(request, downloads, tmp_path / "log"), tuple(layers), part)
        layers.append(part / LAYER)
    base = layers[0]
    assert not (base / "vmlinuz").is_symlink()
    assert (base / "boot/vmlinuz").is_symlink()
    disks = [tmp_path / "disks" / DISKS / f"{system.name}.raw" for system in wanted.file_systems]
    report = verify(CONFIG, disks)
    assert report.failed == ()
