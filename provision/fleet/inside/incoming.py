"""What a host transfers: the folder that it comes to, and how it is unpacked."""

import contextlib
import ctypes
import gzip
import hashlib
import lzma
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from .program import RefusedError

BLOCK = 1 << 20


def make(place: Path, admin: str) -> None:
    """Make the folder, for the administrator to write into."""
    place.mkdir(mode=0o700, exist_ok=True)
    account = pwd.getpwnam(admin)
    os.chown(place, account.pw_uid, account.pw_gid)


def sizes(incoming: Path) -> dict[str, int]:
    """What has arrived, in bytes."""
    return {p.name: p.stat().st_size for p in incoming.iterdir()} if incoming.is_dir() else {}


def check(archive: Path, digest: str, size: int) -> None:
    """Check a file that was transferred; a damaged one is removed.

    Raises:
        RefusedError: it is not whole.
    """
    if archive.stat().st_size != size:
        raise RefusedError(f"{archive.stat().st_size} of {size} bytes have arrived")
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        archive.unlink()
        raise RefusedError(f"the archive that arrived has sha256 {found}, not {digest}")


def extract(archive: Path, target: Path, strip: int) -> None:
    """Unpack a tar file, whatever compressed it.

    Args:
        archive: the file.
        target: the directory.
        strip: how many directories all is below.

    Raises:
        RefusedError: it is damaged, or there is no room.
    """
    argv = [
        *("tar", "-C", str(target), "-x", "--no-same-owner", "--same-permissions"),
        f"--strip-components={strip}",
    ]
    # What it complains about goes to memory: a pipe that nobody reads would fill, a disk is full.
    with open(os.memfd_create("told"), "w+b") as told:  # noqa: PTH123 (in memory, without a path)
        tar = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=told, stderr=told)
        assert tar.stdin is not None  # noqa: S101 (a pipe was asked for)
        try:
            with archive.open("rb") as file, contextlib.suppress(BrokenPipeError), tar.stdin:
                for block in plain(file):
                    tar.stdin.write(block)
        except (OSError, EOFError, lzma.LZMAError) as error:
            tar.kill()
            raise RefusedError(f"the archive cannot be unpacked: {error}") from error
        finally:
            status = tar.wait()
        told.seek(0)
        words = told.read().decode(errors="replace").strip()
    if status:
        raise RefusedError(f"the archive cannot be unpacked: {words[-400:]}")


def plain(file: IO[bytes]) -> Iterator[bytes]:
    """The plain bytes of a file, whatever compressed it."""
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        yield from _zstd(file)
        return
    with contextlib.ExitStack() as stack:
        opened: Any = file
        if magic.startswith(b"\x1f\x8b"):
            opened = stack.enter_context(gzip.GzipFile(fileobj=file))
        elif magic.startswith(b"\xfd7zXZ"):
            opened = stack.enter_context(lzma.open(file))
        while block := opened.read(BLOCK):
            yield block


class _Buffer(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t))


def _zstd(file: IO[bytes]) -> Iterator[bytes]:
    """Unpack by the library that dpkg brings: the program is not in every appliance."""
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_createDStream.restype = ctypes.c_void_p
    library.ZSTD_freeDStream.argtypes = [ctypes.c_void_p]
    library.ZSTD_DCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    take = library.ZSTD_decompressStream
    take.restype = ctypes.c_size_t
    take.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Buffer), ctypes.POINTER(_Buffer)]
    stream = library.ZSTD_createDStream()
    library.ZSTD_DCtx_setParameter(stream, 100, 31)  # windows up to 2 GB
    space = ctypes.create_string_buffer(BLOCK)
    left = 1
    try:
        while block := file.read(BLOCK):
            held = ctypes.create_string_buffer(block, len(block))
            source = _Buffer(ctypes.cast(held, ctypes.c_void_p), len(block), 0)
            while True:
                target = _Buffer(ctypes.cast(space, ctypes.c_void_p), BLOCK, 0)
                left = take(stream, ctypes.byref(target), ctypes.byref(source))
                if library.ZSTD_isError(ctypes.c_size_t(left)):
                    raise OSError("not zstd, or damaged")
                yield space.raw[: target.pos]
                if source.pos == source.size and target.pos < BLOCK:
                    break
        if left:
            raise EOFError("it is cut off")
    finally:
        library.ZSTD_freeDStream(stream)
