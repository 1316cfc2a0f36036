"""The seed that a cloud image reads, and the checks on what it is made from."""

import hashlib
import json
from pathlib import Path

import pycdlib
import pytest

from provision.errors import UsageError
from provision.jeos import cloud

HOME = cloud.DataDisk("/dev/disk/by-id/disk1", "44444444-0000-4000-8000-000000000000", "home",
                      "/home", 1.0)  # fmt: skip


def _user_data(*disks: cloud.DataDisk) -> dict[str, object]:
    text = cloud.seed_files("sage", ["ssh-ed25519 AAAA build"], disks)["user-data"]
    header, _, body = text.partition("\n")
    assert header == "#cloud-config"
    parsed: dict[str, object] = json.loads(body)
    return parsed


def test_the_seed_opens_root_by_key_only() -> None:
    data = _user_data()
    assert data["users"] == [{"name": "root", "ssh_authorized_keys": ["ssh-ed25519 AAAA build"]}]
    assert data["ssh_pwauth"] is False


def test_a_data_disk_is_mounted_by_uuid_and_may_be_missing() -> None:
    (mount,) = _user_data(HOME)["mounts"]  # type: ignore[misc]
    assert mount[:3] == [f"UUID={HOME.identity}", "/home", "ext4"]
    assert {"nofail", "discard"} <= set(mount[3].split(","))
    (made,) = _user_data(HOME)["fs_setup"]  # type: ignore[misc]
    assert made["extra_opts"] == ["-U", HOME.identity, "-m", "1"]
    assert made["overwrite"] is False


def test_the_iso_is_what_cloud_init_looks_for(tmp_path: Path) -> None:
    cloud.write_seed(tmp_path / "seed.iso", name="sage", keys=["ssh-ed25519 AAAA build"])
    iso = pycdlib.PyCdlib()
    iso.open(str(tmp_path / "seed.iso"))
    assert iso.pvd.volume_identifier.strip() == b"cidata"
    names = {entry.file_identifier() for entry in iso.list_children(joliet_path="/")}
    iso.close()
    assert {"user-data", "meta-data"} <= {n.decode("utf-16-be", "ignore") for n in names}


def test_a_url_without_a_checksum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a checksum"):
        cloud.fetch("https://example.org/image.qcow2", None, tmp_path)


def test_a_local_image_is_used_where_it_is_once_its_checksum_is_right(tmp_path: Path) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(b"disk")
    right = hashlib.sha256(b"disk").hexdigest()
    with pytest.raises(cloud.WrongImageError, match=r"image\.raw"):
        cloud.fetch(str(image), "0" * 64, tmp_path / "downloads")
    assert cloud.fetch(str(image), right, tmp_path / "downloads") == image
    assert image.exists()


def test_a_missing_local_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.qcow2"):
        cloud.fetch(str(tmp_path / "nothing.qcow2"), None, tmp_path)
