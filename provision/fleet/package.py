"""A packed Sage on this host: a tar file that goes to the guests as it is."""

import gzip
import hashlib
import lzma
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from provision.errors import UsageError
from provision.ova import minisign

INSTALLED = 9 << 29  # bytes that Sage takes while it is installed from wheels
NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_]{0,40}")


@dataclass(frozen=True)
class Package:
    """One version of Sage, packed.

    Args:
        path: the file: tar, plain or compressed by zstd, gzip or xz.
        version: what it is called below /opt.
        sha256: of the file.
        size: of the file, bytes.
        unpacked: what it takes when unpacked, bytes.
        strip: directories that all its members are below; None: it is no tar file but a list of
            wheels, which the appliances take from their own index.
        lean: leave out there what nobody uses; a tar file is unpacked as it is.
    """

    path: Path
    version: str
    sha256: str
    size: int
    unpacked: int
    strip: int | None
    lean: bool = False


def read_wheels(path: Path, version: str, *, lean: bool = True) -> Package:
    """Look a list of wheels through: pip's requirements, each with its hashes.

    Args:
        path: the list.
        version: the version of Sage that it makes.
        lean: leave out what nobody uses, as a build does.

    Raises:
        UsageError: it is none.
    """
    text = path.read_bytes()
    names = [line for line in text.splitlines() if line[:1].isalnum()]
    if not names or text.count(b"--hash=sha256:") < len(names):
        raise UsageError(
            f"{path}: not every wheel in it has a hash", hint="docs/fleet.md says how to make one"
        )
    digest = hashlib.sha256(text).hexdigest()
    return Package(path, version, digest, len(text), INSTALLED, None, lean)


def read(
    path: Path, version: str, *, sha256: str | None = None, key: Path | None = None
) -> Package:
    """Look a packed Sage through, once, before any guest sees it.

    Args:
        path: the file.
        version: its version.
        sha256: what the file must have; None: what ``FILE.sha256`` says, if there is one.
        key: the minisign public key of who must have signed it, in ``FILE.minisig``.

    Raises:
        UsageError: it is not what it should be.
        VerificationError: the signature is wrong or missing.
    """
    if not NAME.fullmatch(version) or version == "current":
        raise UsageError(f"{version!r} cannot name a version of Sage")
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if key is not None:
        signature = path.with_name(path.name + ".minisig")
        minisign.verify(path, signature, minisign.public_key(key))
    beside = path.with_name(path.name + ".sha256")
    wanted = sha256 or (beside.read_text().split()[0] if beside.exists() else None)
    if wanted is not None and found != wanted.lower():
        raise UsageError(
            f"{path} has sha256 {found}, not {wanted}", hint="it is damaged, or another file"
        )
    unpacked, tops, tool = 0, set(), 0
    try:
        with path.open("rb") as raw, tarfile.open(fileobj=_plain(raw), mode="r|") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name.startswith("/") or ".." in name.split("/"):
                    raise UsageError(f"{path}: {member.name!r} leads out of the archive")
                unpacked += member.size + 4096
                if name:
                    tops.add(name.partition("/")[0])
                depth = name.count("/")
                if name in ("bin/sage", "sage"):
                    tool = 1
                elif depth and name.partition("/")[2] in ("bin/sage", "sage") and not tool:
                    tool = 2
    except (tarfile.TarError, OSError, EOFError, lzma.LZMAError, zstandard.ZstdError) as error:
        raise UsageError(f"{path}: not a whole tar file: {error}") from error
    if tool == 0 or (tool == 2 and len(tops) != 1):
        raise UsageError(f"{path}: there is no bin/sage or sage at its top, so it is no Sage")
    return Package(path, version, found, path.stat().st_size, unpacked, tool - 1)


def _plain(file: Any) -> Any:
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor(max_window_size=2**31).stream_reader(file)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if magic.startswith(b"\xfd7zXZ"):
        return lzma.LZMAFile(file)
    return file
