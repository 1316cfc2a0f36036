"""A container image of an appliance's root file system, as an OCI image layout.

Every layer of the build becomes a layer of the image, so an engine that has the large ones fetches
only what changed. The same layers give the same bytes. The layout and its media types are those of
the OCI image specification 1.1; removed files are written as its ``.wh.`` names.
"""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from provision.errors import ApplianceError

REMOVED, OPAQUE = ".wh.", ".wh..wh..opq"
_MEDIA = "application/vnd.oci.image"
_LEVEL = 6  # of deflate


@dataclass(frozen=True)
class _Layer:
    """A written layer.

    Args:
        digest: of the compressed bytes, which name it.
        content: digest of the tar.
        size: compressed.
    """

    digest: str
    content: str
    size: int


def write_layout(
    target: Path, layers: Sequence[Path], *, tag: str, epoch: int, settings: Mapping[str, Any]
) -> None:
    """Write an image layout.

    Args:
        target: a directory to make; it must not exist.
        layers: directories of an overlay, the lowest first.
        tag: the image's name in the layout.
        epoch: the image's date, in seconds since 1970.
        settings: the image's ``config``: ``User``, ``Env``, ``Cmd``, …

    Raises:
        ApplianceError: the target is there, or a layer cannot be told in the image's terms.
    """
    if target.exists():
        raise ApplianceError(f"{target} is there already", hint="remove it, or give another place")
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    blobs = part / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # zlib leaves the interpreter to others
        written = list(pool.map(lambda layer: _write_layer(layer, blobs), layers))
    date = datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z")
    config = _blob(
        blobs,
        {
            "created": date,
            "architecture": "amd64",
            "os": "linux",
            "config": dict(settings),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{w.content}" for w in written]},
            "history": [{"created": date, "created_by": "appliance export"} for _ in written],
        },
    )
    manifest = _blob(
        blobs,
        {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA}.manifest.v1+json",
            "config": {"mediaType": f"{_MEDIA}.config.v1+json", **config},
            "layers": [
                {
                    "mediaType": f"{_MEDIA}.layer.v1.tar+gzip",
                    "digest": f"sha256:{each.digest}",
                    "size": each.size,
                }
                for each in written
            ],
        },
    )
    index = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.index.v1+json",
        "manifests": [
            {
                "mediaType": f"{_MEDIA}.manifest.v1+json",
                **manifest,
                "annotations": {"org.opencontainers.image.ref.name": tag},
            }
        ],
    }
    (part / "index.json").write_text(json.dumps(index))
    (part / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    part.rename(target)


def lookup(layers: Sequence[Path], path: str) -> Path | None:
    """Where a file of the whole tree is, in the highest layer that has it.

    Args:
        layers: the lowest first.
        path: below the root, with no link on the way.
    """
    for layer in reversed(layers):
        place = layer / path
        if os.path.lexists(place):
            return None if _is_removal(place.lstat()) else place
    return None


def names_in(layers: Sequence[Path], path: str) -> list[str]:
    """The names in a directory of the whole tree, sorted."""
    found: set[str] = set()
    for layer in layers:
        directory = layer / path
        if directory.is_dir():
            if _opaque(directory):
                found.clear()
            for each in directory.iterdir():
                (found.discard if _is_removal(each.lstat()) else found.add)(each.name)
    return sorted(found)


class _Sink:
    """Compresses what is written to it; digests of both sides."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.size = file, 0
        self._inner, self._outer = hashlib.sha256(), hashlib.sha256()
        self._deflate = zlib.compressobj(_LEVEL, wbits=31)  # gzip, with no date in it

    def write(self, data: bytes) -> int:
        self._inner.update(data)
        self._out(self._deflate.compress(data))
        return len(data)

    def finish(self) -> _Layer:
        self._out(self._deflate.flush())
        return _Layer(self._outer.hexdigest(), self._inner.hexdigest(), self.size)

    def _out(self, data: bytes) -> None:
        self._outer.update(data)
        self._file.write(data)
        self.size += len(data)


def _write_layer(layer: Path, blobs: Path) -> _Layer:
    part = blobs / f"{hashlib.sha256(str(layer).encode()).hexdigest()}.part"
    with part.open("wb") as file:
        sink = _Sink(file)
        with tarfile.open(
            fileobj=cast(BinaryIO, sink), mode="w|", format=tarfile.PAX_FORMAT
        ) as tar:
            links: dict[tuple[int, int], str] = {}
            for info, source in _members(layer, links):
                if source is None:
                    tar.addfile(info)
                else:
                    with source.open("rb") as content:
                        tar.addfile(info, content)
        done = sink.finish()
    part.rename(blobs / done.digest)
    return done


def _members(
    layer: Path, links: dict[tuple[int, int], str]
) -> Iterator[tuple[tarfile.TarInfo, Path | None]]:
    """What goes into a layer's tar, in an order of its own."""
    for directory, below, files in os.walk(layer):
        below.sort()
        here = Path(directory)
        if _opaque(here):
            yield _info(str((here / OPAQUE).relative_to(layer)), here.lstat()), None
        for name in sorted([*below, *files]):
            path = here / name
            status = path.lstat()
            inside = str(path.relative_to(layer))
            if _is_removal(status):
                marker = str((here / f"{REMOVED}{name}").relative_to(layer))
                yield _info(marker, here.lstat()), None
                continue
            if stat.S_ISSOCK(status.st_mode):
                continue
            info = _info(inside, status)
            info.mode = stat.S_IMODE(status.st_mode)
            info.pax_headers = _attributes(path)
            yield _entry(info, path, status, links)


def _entry(
    info: tarfile.TarInfo, path: Path, status: os.stat_result, links: dict[tuple[int, int], str]
) -> tuple[tarfile.TarInfo, Path | None]:
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
    elif stat.S_ISFIFO(status.st_mode):
        info.type = tarfile.FIFOTYPE
    elif not stat.S_ISREG(status.st_mode):
        info.type = tarfile.BLKTYPE if stat.S_ISBLK(status.st_mode) else tarfile.CHRTYPE
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    elif first := links.get((status.st_dev, status.st_ino)):
        info.type, info.linkname = tarfile.LNKTYPE, first
    else:
        if status.st_nlink > 1:
            links[status.st_dev, status.st_ino] = info.name
        info.size = status.st_size
        return info, path
    return info, None


def _info(name: str, status: os.stat_result) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.uid, info.gid, info.mtime = status.st_uid, status.st_gid, int(status.st_mtime)
    return info


def _attributes(path: Path) -> dict[str, str]:
    """A file's capabilities, as tar keeps them; what only the overlay means is left out."""
    kept = {}
    for name in os.listxattr(path, follow_symlinks=False):
        if name in ("trusted.overlay.redirect", "trusted.overlay.metacopy"):
            raise ApplianceError(f"{path}: {name} has no counterpart in an image")
        if name == "security.capability":
            value = os.getxattr(path, name, follow_symlinks=False)
            kept[f"SCHILY.xattr.{name}"] = value.decode("utf-8", "surrogateescape")
    return kept


def _is_removal(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _opaque(directory: Path) -> bool:
    for kind in ("trusted", "user"):  # the latter in the layers of a build without root
        with contextlib.suppress(OSError):
            return os.getxattr(directory, f"{kind}.overlay.opaque") == b"y"
    return False


def _blob(blobs: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    data = json.dumps(content, sort_keys=True).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}
