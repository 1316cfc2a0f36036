"""The second way in: somebody's cloud image instead of a package mirror.

The image is fetched and checked, converted to a raw disk of the wanted size, and told who we are
by a NoCloud seed, a small ISO that cloud-init reads on first boot. After that it is a guest like
any other, provisioned over SSH.
"""

import hashlib
import io
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycdlib

from provision.errors import ApplianceError, HostNotReadyError, UsageError
from provision.jeos.proxy import Proxy
from provision.process import CommandFailedError, require, run
from provision.progress import advance, step

TIMEOUT_SECONDS = 30
ATTEMPTS = 5
CHUNK = 1 << 20
FORMATS = ("qcow2", "vmdk", "vdi", "raw")
PARTIAL = 206  # HTTP: the answer continues where we asked it to
UNSATISFIABLE = 416  # HTTP: there is nothing after what we have


class WrongImageError(ApplianceError):
    """The image is not the one whose checksum was given."""


@dataclass(frozen=True)
class DataDisk:
    """A further empty disk that the image's cloud-init formats and mounts.

    Args:
        device: its path in the guest, the same whatever the order of the disks.
        identity: the file system's UUID, by which it is mounted.
        name: the file system's label.
        mount: where.
        reserve: share of the blocks that only root may use, in percent.
    """

    device: str
    identity: str
    name: str
    mount: str
    reserve: float


def fetch(source: str, sha256: str | None, downloads: Path, *, proxy: Proxy | None = None) -> Path:
    """Get an image: a file of this host as it is, a URL into ``downloads``, either one checked.

    An interrupted download goes on where it ended, now or in the next call.

    Args:
        source: path or http(s) URL.
        sha256: hexadecimal checksum; needed for a URL.
        downloads: directory that keeps downloads, by checksum.
        proxy: of the download; None: none.

    Raises:
        UsageError: there is no such file, or a URL has no checksum.
        HostNotReadyError: the server does not answer, or breaks off again and again.
        WrongImageError: the checksum differs; a wrong download is deleted.
    """
    if "://" not in source:
        path = Path(source).expanduser()
        if not path.is_file():
            raise UsageError(f"there is no image {path}", hint="check `image.source:`")
        if sha256:
            _check(path, sha256)
        return path
    if sha256 is None:
        raise UsageError(f"{source} needs a checksum", hint="set `image.sha256:`")
    path = downloads / sha256
    if not path.exists():
        downloads.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{sha256}.part")
        with step(f"download {source}"):
            _download(source, part, proxy)
        try:
            _check(part, sha256)
        except WrongImageError:
            part.unlink()
            raise
        part.rename(path)
    return path


def to_raw(image: Path, target: Path, size: int) -> None:
    """Convert an image to a raw, sparse disk of ``size`` bytes; the guest grows into it.

    Args:
        image: qcow2, VMDK, VDI or raw.
        target: the disk to make.
        size: bytes.

    Raises:
        UsageError: the image is none of these, or is larger than ``size``.
        HostNotReadyError: qemu-img is missing, or there is no room.
    """
    qemu_img = require("qemu-img", "qemu-utils")
    try:
        told = json.loads(run([qemu_img, "info", "--output=json", str(image)]))
    except CommandFailedError as error:
        raise UsageError(f"{image} is not a disk image: {error.tail}") from error
    if told["format"] not in FORMATS:
        raise UsageError(
            f"{image} is {told['format']}, not one of {', '.join(FORMATS)}",
            hint=f"qemu-img convert -O qcow2 {image} image.qcow2",
        )
    if told["virtual-size"] > size:
        raise UsageError(
            f"{image} is a disk of {told['virtual-size'] / 2**30:.1f} GiB,"
            f" but the root disk has {size / 2**30:.1f} GiB",
            hint="enlarge `disks.root.size:`",
        )
    if "backing-filename" in told:
        raise UsageError(f"{image} needs another image: {told['backing-filename']}")
    try:
        run([qemu_img, "convert", "-f", told["format"], "-O", "raw", str(image), str(target)])
        with target.open("r+b") as file:
            file.truncate(size)
    except (CommandFailedError, OSError) as error:
        target.unlink(missing_ok=True)
        if "No space left" in str(error):
            raise HostNotReadyError(
                f"no room for {target}", hint=f"free {size / 2**30:.0f} GiB there"
            ) from error
        raise


def write_seed(
    target: Path, *, name: str, keys: Sequence[str], disks: Sequence[DataDisk] = ()
) -> None:
    """Write the NoCloud seed: an ISO named ``cidata`` with user-data and meta-data.

    It lets ``keys`` in as root, makes the data disks' file systems, grows the root disk, and
    then retires cloud-init, which would search for a cloud on each boot of the appliance.

    Args:
        target: the ISO to make.
        name: the guest's host name.
        keys: public keys that open root while the appliance is built.
        disks: further empty disks.
    """
    iso: Any = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for number, (file, content) in enumerate(seed_files(name, keys, disks).items()):
        data = content.encode()
        iso.add_fp(
            io.BytesIO(data),
            len(data),
            f"/SEED{number}.;1",
            rr_name=file,
            joliet_path=f"/{file}",
        )
    iso.write(str(target))
    iso.close()


def seed_files(name: str, keys: Sequence[str], disks: Sequence[DataDisk]) -> dict[str, str]:
    """The seed's files by name; JSON is YAML too, and quotes everything."""
    user_data = {
        "disable_root": False,
        "ssh_pwauth": False,
        "users": [{"name": "root", "ssh_authorized_keys": list(keys)}],
        "growpart": {"mode": "auto", "devices": ["/"]},
        "fs_setup": [
            {
                "device": disk.device,
                "partition": "none",
                "filesystem": "ext4",
                "label": disk.name,
                "overwrite": False,
                "extra_opts": ["-U", disk.identity, "-m", f"{disk.reserve:g}"],
            }
            for disk in disks
        ],
        "mounts": [
            [
                f"UUID={disk.identity}",
                disk.mount,
                "ext4",
                "defaults,discard,nosuid,nodev,nofail,x-systemd.device-timeout=10s",
                "0",
                "2",
            ]
            for disk in disks
        ],
        "runcmd": [["touch", "/etc/cloud/cloud-init.disabled"]],
    }
    return {
        "user-data": "#cloud-config\n" + json.dumps(user_data, indent=1) + "\n",
        "meta-data": json.dumps({"instance-id": name, "local-hostname": name}) + "\n",
    }


def _check(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise WrongImageError(
            f"{path} has the SHA-256 {found}, not {sha256.lower()}",
            hint="compare `image.sha256:` with what its maker publishes; the image may be newer",
        )


def _download(url: str, part: Path, proxy: Proxy | None) -> None:
    """Fetch what is missing of a file; a server that breaks off is asked again a few times."""
    opener = (proxy or Proxy()).opener()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if _download_rest(opener, url, part):
                return
            reason = "it broke off"
        except urllib.error.HTTPError as error:
            raise HostNotReadyError(
                f"{url}: the server answers {error.code} {error.reason}",
                hint="check `image.source:`",
            ) from error
        except (OSError, ValueError) as error:
            if part.exists() and shutil.disk_usage(part.parent).free < CHUNK:
                raise HostNotReadyError(
                    f"no room for {part}", hint="free some space there"
                ) from error
            reason = str(error)
        if attempt == ATTEMPTS:
            raise HostNotReadyError(
                f"{url} cannot be downloaded: {reason}",
                hint="check the network and `proxy:`; a new try goes on where this one ended",
            )


def _download_rest(opener: urllib.request.OpenerDirector, url: str, part: Path) -> bool:
    """Append what the server has beyond our part; tell whether that is now all of it."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url)  # noqa: S310 (the configuration allows http and https)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = opener.open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == UNSATISFIABLE:  # all is there, or too much, which the checksum tells
            return True
        raise
    with answer:
        if answer.status != PARTIAL:
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if have else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                have += len(chunk)
                advance(have, total)
    return total is None or have == total
