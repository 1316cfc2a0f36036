"""The second way in, whole: somebody's cloud image becomes an appliance like any other."""

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def address(cloud_image: Path) -> Iterator[str]:
    """Where the image can be downloaded."""
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(cloud_image.parent)
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{cloud_image.name}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_cloud_image_becomes_an_appliance(shell, cloud_image: Path, address: str) -> None:
    """Its kernel for clouds, its boot loader and its seed are gone; all that we promise is there,
    as a boot of the OVA's disks from the BIOS on shows."""
    with cloud_image.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    image = ("--set", f"image.source={address}", "--set", f"image.sha256={digest}")
    outcome = shell.build(*image)
    assert outcome.code == 0, outcome.err
    (root,) = (path / "root" for path in shell.stages.iterdir() if (path / "whole").exists())
    for left in ("etc/netplan/50-cloud-init.yaml", "root/.ssh", "usr/sbin/update-grub"):
        assert not (root / left).exists(), left
    parts = json.loads((shell.home / "verify.cdx.json").read_text())["components"]
    names = {part["name"] for part in parts}
    assert "linux-image-amd64" in names
    assert not [name for name in names if "cloud-amd64" in name or name.startswith("grub")]
    verified = shell.run("verify", *image, str(shell.output), timeout=1800)
    assert verified.code == 0, verified.out + verified.err
