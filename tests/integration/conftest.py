"""The appliance that the integration tests share: small, without Sage, built once per host.

And a server that several of them use.
"""

import functools
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from provision.build import places
from provision.build.build import Built, build, request, root_layers
from provision.build.request import Request
from provision.config import read
from provision.jeos import archive
from provision.jeos.boot import grub_config
from provision.jeos.disk import FileSystem, make_disk
from provision.locks import holding
from provision.machine.ports import free_port
from provision.process import require

# The command line's options that name the shared appliance.
SMALL = (
    *("--set", "name=verify", "--set", "sage.source=none", "--set", "pool.count=2"),
    *("--set", "grader.enabled=true", "--set", "jail.enabled=true"),
    *("--set", "documentation=[python]"),
    # Debian's own package tools beside Python, to prove that they work through the proxy.
    *("--set", "grader.images={python: [apt, python3, python3-pip]}"),
)
MOTO = "5.2.5"
CONFIG = read(assignments=SMALL[1::2]).config


@functools.cache
def asked() -> Request:
    """What the shared appliance is built from: the archive may change while the tests run."""
    return request(CONFIG)


def build_shared(wanted: Request) -> Built:
    """Build the shared appliance; its stages and its OVA stay in the user's cache."""
    place = places.cache() / "tests"
    place.mkdir(parents=True, exist_ok=True)
    before = os.umask(0o077)  # as careful administrators have it
    try:
        return build(wanted, place / "verify.ova", with_vm=False)
    finally:
        os.umask(before)


@pytest.fixture(scope="session")
def open_checkout() -> None:
    """Other users, as whom some tests run our code, can read it."""
    for place in Path(__file__).resolve().parents:
        if os.getuid() == 0 and not place.stat().st_mode & 0o001:
            pytest.fail(
                f"{place} is closed to other users, as whom this test runs the project's code:"
                " clone the project elsewhere, below /srv or /var/tmp",
                pytrace=False,
            )


@pytest.fixture(scope="session")
def built() -> Built:
    """The shared appliance."""
    return build_shared(asked())


@pytest.fixture(scope="session")
def sealed(built: Built) -> tuple[Path, ...]:
    """The layers of the shared appliance, the base first."""
    return root_layers(asked())


@pytest.fixture(scope="session")
def disks(built: Built) -> tuple[Path, ...]:
    """The shared appliance's disks, the root disk first."""
    return built.disks


@pytest.fixture(scope="session")
def arguments() -> list[str]:
    """The command line's options that name the shared appliance."""
    return list(SMALL)


@pytest.fixture(scope="session")
def admin() -> str:
    """The shared appliance's administrator."""
    return CONFIG.admin.user


@pytest.fixture(scope="session")
def cloud_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cloud image of our own, as Debian makes them: their kernel, boot loader, cloud-init."""
    image = places.cache() / "tests" / "cloud.qcow2"
    if image.exists():
        return image
    image.parent.mkdir(parents=True, exist_ok=True)
    place = tmp_path_factory.mktemp("cloud")
    system = FileSystem("root", "/", 3 << 30, 5.0, "ext4", "cloud")
    packages = (
        "linux-image-cloud-amd64,grub-cloud-amd64,initramfs-tools,systemd-sysv,udev,dbus,"
        "libpam-systemd,openssh-server,sudo,cloud-init,cloud-guest-utils,fdisk,netplan.io,"
        "e2fsprogs,systemd-resolved"
    )
    (main, *_) = archive.sources("debian", "trixie", None)
    subprocess.run(
        ["mmdebstrap", "--variant=minbase", f"--include={packages}", "trixie", place / "tree", "-"],
        input=main.line() + "\n", text=True, check=True, capture_output=True,
    )  # fmt: skip
    tree = place / "tree"
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (tree / "etc/machine-id").write_text("")
    (tree / "etc/fstab").write_text(f"UUID={system.identity} / ext4 defaults 0 1\n")
    (tree / "boot/grub").mkdir(parents=True, exist_ok=True)
    (tree / "boot/grub/grub.cfg").write_text(grub_config(system.identity))
    make_disk(system, tree, place / "root.raw", tools=tree, epoch=0)
    part = image.with_suffix(".part")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", place / "root.raw", part], check=True)
    part.rename(image)
    subprocess.run(["rm", "-rf", place], check=True)
    return image


@contextmanager
def chromium() -> Iterator[Browser]:
    """A real browser; one at a time, as Playwright wants it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=require("chromium", "chromium"),
            args=[
                *("--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"),
                "--enable-unsafe-swiftshader",  # three dimensions without a graphics card
            ],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real one."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def s3_port() -> int:
    """Where the server of ``s3`` is to listen."""
    return free_port()


@pytest.fixture
def s3(tmp_path: Path, s3_port: int) -> Iterator[int]:
    """A server that speaks S3, on loopback; its port. It has an environment of its own, cached."""
    home = places.cache() / "tests" / f"moto-{MOTO}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with holding(home.with_suffix(".lock"), wait=True):
        if not (home / "bin/moto_server").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            subprocess.run([home / "bin/pip", "install", "-q", f"moto[server]=={MOTO}"], check=True)
    with (tmp_path / "moto.log").open("wb") as log:
        words = [home / "bin/moto_server", "-H", "127.0.0.1", "-p", str(s3_port)]
        # Buckets are in the path, whatever name the server has.
        env = os.environ | {"S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"}
        server = subprocess.Popen(words, stdout=log, stderr=log, env=env)
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{s3_port}/", timeout=5).close()
                    break
                except OSError:
                    assert server.poll() is None, (tmp_path / "moto.log").read_text()
                    time.sleep(0.2)
            yield s3_port
        finally:
            server.terminate()
            server.wait()
