"""The published folder: versions, chunks and channels, all of them static files.

::

    chunks/ab/abcd….zst           content, shared by all versions
    packs/ab/abcd….zst            the same by the dozen, of the versions that a channel points to
    versions/1.0-0123456789ab/    manifest, lists of chunks, SBOM, packages, changelog, SHA256SUMS
    channels/stable.minisig       which version is current, and the signature over it
    ova/sage-1.0.ova              with its own signature, for those who import by hand
    minisign.pub                  for people; a seat has its own copy

Files are added first and named by their content; the channel's one file comes last. A reader never
meets a version that is not whole, and a killed publish leaves only files that nothing points to.
"""

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision import locks, progress
from provision.distribution import channel, chunks, manifest, packages, packs
from provision.distribution.channel import Channel
from provision.distribution.chunks import ChunkStore, Piece
from provision.distribution.manifest import MANIFEST, SUMS, Manifest, PublishedDisk
from provision.errors import ApplianceError, UsageError
from provision.files import write_whole
from provision.ova import minisign

SBOM = "sbom.cdx.json"
PACKAGES = "packages.txt"
CHANGELOG = "changelog.txt"
OVA = "ova"
WORKERS = min(8, os.cpu_count() or 1)
_AHEAD = 4 * WORKERS  # chunks in memory
_LEFTOVER_SECONDS = 24 * 3600


@dataclass(frozen=True)
class DiskImage:
    """A disk to publish.

    Args:
        name: as in appliance.yml.
        raw: its raw image.
        keep: it holds the users' files: a seat's own is never replaced.
    """

    name: str
    raw: Path
    keep: bool


@dataclass(frozen=True)
class Published:
    """A version that went out.

    Args:
        version: its directory's name.
        channel: the channel that points to it now.
        serial: that channel's serial.
        chunks: how many different chunks its disks have.
        size: bytes of their packs: what a new seat downloads.
        new_chunks: how many of them were not in the folder before.
        new_size: bytes of those: what a seat with the last version downloads.
    """

    version: str
    channel: str
    serial: int
    chunks: int
    size: int
    new_chunks: int
    new_size: int


@dataclass(frozen=True)
class Publication:
    """A published folder.

    Args:
        root: the folder.
    """

    root: Path

    @property
    def store(self) -> ChunkStore:
        """Its chunks."""
        return ChunkStore(self.root / "chunks")

    def versions(self) -> tuple[tuple[str, Manifest], ...]:
        """Name of the directory and manifest of each version, oldest first."""
        found = [
            (path.parent.name, manifest.read(path.read_bytes()))
            for path in self.root.glob(f"versions/[!.]*/{MANIFEST}")
        ]
        return tuple(sorted(found, key=lambda each: each[1].sequence))

    def channels(self) -> tuple[Channel, ...]:
        """All channels, as their files claim."""
        files = sorted(self.root.glob("channels/[!.]*.minisig"))
        return tuple(channel.claim(path.read_bytes()) for path in files)

    def publish(
        self,
        images: list[DiskImage],
        *,
        definition: Mapping[str, Any],
        sbom: str,
        secret: Path,
        channel_name: str = "stable",
        extra: Path | None = None,
        days: float = channel.LIFE_DAYS,
    ) -> Published:
        """Add a version and point a channel to it. A version that is there already is not redone.

        Args:
            images: the disks, root first.
            definition: see `manifest.definition`.
            sbom: the CycloneDX document of what the disks hold.
            secret: the minisign secret key.
            channel_name: the channel.
            extra: a whole OVA to offer beside the chunks.
            days: how long the channel is good; less than half of it left, it is signed anew.

        Raises:
            ApplianceError: the key cannot be used, or another publish is at work.
        """
        with self.locking():
            channel.try_key(secret)  # a bad one fails before the work
            before = self.versions()
            disks, lists, known = [], {}, dict[str, tuple[int, bool]]()
            for image in images:
                with progress.step(f"publish the {image.name} disk"):
                    pieces = self._add(image.raw, known)
                disk = PublishedDisk(
                    image.name,
                    image.raw.stat().st_size,
                    chunks.digest((piece.offset, piece.name) for piece in pieces),
                    image.keep,
                )
                disks.append(disk)
                lists[disk.pieces_file] = manifest.write_pieces(pieces)
            described = Manifest(
                name=str(definition["name"]),
                version=str(definition["version"]),
                sequence=before[-1][1].sequence + 1 if before else 1,
                definition=definition,
                disks=tuple(disks),
            )
            listed = packages.versions(sbom)
            files = {
                **lists,
                SBOM: sbom.encode(),
                PACKAGES: packages.text(listed).encode(),
                CHANGELOG: self._changelog(before, listed).encode(),
            }
            name = self._place(described, files)
            if extra:
                self._offer(extra, secret, name)
            size = self._make_packs(name)
            pointed = self.point(channel_name, name, secret, days)
            self._forget_packs()
        new = [size for size, was_new in known.values() if was_new]
        return Published(
            name,
            channel_name,
            pointed.serial,
            chunks=len(known),
            size=size,
            new_chunks=len(new),
            new_size=sum(new),
        )

    def promote(
        self, version: str, channel_name: str, secret: Path, days: float = channel.LIFE_DAYS
    ) -> Channel:
        """Point a channel to a version that is published already.

        Raises:
            UsageError: there is no such version.
        """
        with self.locking():
            if version not in (name for name, _ in self.versions()):
                raise UsageError(f"no version {version!r} is published in {self.root}")
            self._make_packs(version)
            pointed = self.point(channel_name, version, secret, days)
            self._forget_packs()
        return pointed

    def renew(self, channel_name: str, secret: Path, days: float = channel.LIFE_DAYS) -> Channel:
        """Sign a channel anew, so that it expires later; it names the same version.

        Raises:
            UsageError: there is no such channel.
        """
        with self.locking():
            now = next((each for each in self.channels() if each.name == channel_name), None)
            if now is None:
                raise UsageError(f"no channel {channel_name!r} is published in {self.root}")
            return self.point(channel_name, now.version, secret, days, renew=True)

    def prune(self, keep: int) -> tuple[int, int]:
        """Remove old versions, and chunks that no version needs.

        Args:
            keep: versions to keep; those that a channel points to stay in any case.

        Returns:
            How many versions and how many bytes of chunks went.
        """
        with self.locking():
            named = [name for name, _ in self.versions()]
            stay = {each.version for each in self.channels()} | set(named[-keep:])
            gone = [name for name in named if name not in stay]
            for name in gone:
                aside = self.root / "versions" / f".gone-{name}"
                (self.root / "versions" / name).rename(aside)
            for aside in self.root.glob("versions/.*"):
                shutil.rmtree(aside)
            needed = {
                piece.name
                for name, described in self.versions()
                for disk in described.disks
                for piece in self.pieces(name, disk)
            }
            freed = 0
            for path in self.store.root.glob("??/*"):
                if path.name.removesuffix(".zst") in needed:
                    continue
                status = path.stat()
                if path.suffix == ".zst" or time.time() - status.st_mtime > _LEFTOVER_SECONDS:
                    freed += status.st_size
                    path.unlink()
            freed += self._forget_packs()
        return len(gone), freed

    def pieces(self, version: str, disk: PublishedDisk) -> tuple[Piece, ...]:
        """The chunks of a published disk."""
        return manifest.read_pieces(
            (self.root / "versions" / version / disk.pieces_file).read_bytes()
        )

    def _add(self, raw: Path, known: dict[str, tuple[int, bool]]) -> tuple[Piece, ...]:
        """Put the chunks of a disk into the store, and down in ``known``: size, and if new."""
        pieces: list[Piece] = []
        total, taken = raw.stat().st_blocks * 512, 0
        waiting: list[Future[tuple[Piece, bool]]] = []

        def take() -> None:
            nonlocal taken
            piece, new = waiting.pop(0).result()
            pieces.append(piece)
            _, before = known.get(piece.name, (0, False))
            known[piece.name] = (piece.size, new or before)
            taken += piece.length
            progress.advance(taken, total)

        with ThreadPoolExecutor(WORKERS) as pool:
            for offset, content in chunks.cut(chunks.read(raw)):
                waiting.append(pool.submit(self._keep, offset, content))
                if len(waiting) > _AHEAD:
                    take()
            while waiting:
                take()
        return tuple(pieces)

    def _packs(self, version: str) -> tuple[packs.Pack, ...]:
        described = manifest.read((self.root / "versions" / version / MANIFEST).read_bytes())
        return tuple(
            pack for disk in described.disks for pack in packs.divide(self.pieces(version, disk))
        )

    def _make_packs(self, version: str) -> int:
        """Have the packs of a version, of its chunks; their bytes."""

        def make(pack: packs.Pack) -> int:
            path = self.root / pack.path
            if not (path.exists() and path.stat().st_size):
                content = (self.store.path(piece.name).read_bytes() for piece in pack.pieces)
                write_whole(path, packs.compress(pack, content))
            return path.stat().st_size

        with progress.step("pack for first installs"), ThreadPoolExecutor(WORKERS) as pool:
            return sum(pool.map(make, self._packs(version)))

    def _forget_packs(self) -> int:
        """Remove the packs that no channel needs, and leave its chunks; the bytes that went.

        Who is at a first install of an earlier version goes on by its chunks.
        """
        pointed = {each.version for each in self.channels()}
        there = {name for name, _ in self.versions()}
        needed = {pack.path for version in pointed & there for pack in self._packs(version)}
        freed = 0
        for path in self.root.glob(f"{packs.PLACE}/??/*"):
            if path.relative_to(self.root).as_posix() not in needed:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def _keep(self, offset: int, content: bytes) -> tuple[Piece, bool]:
        name = chunks.name(content)
        path = self.store.path(name)
        with contextlib.suppress(FileNotFoundError):
            if size := path.stat().st_size:
                return Piece(offset, len(content), name, size), False
        data = chunks.compress(content)
        self.store.put(name, data)
        return Piece(offset, len(content), name, len(data)), True

    def _changelog(
        self, before: tuple[tuple[str, Manifest], ...], listed: Mapping[str, str]
    ) -> str:
        if not before:
            return "The first version.\n"
        name, last = before[-1]
        path = self.root / "versions" / name / SBOM
        changed = packages.changes(packages.versions(path.read_text()), listed)
        return f"Since {last.version} ({name}):\n{changed or '  no package changed'}\n"

    def _place(self, described: Manifest, files: Mapping[str, bytes]) -> str:
        """Write a version's directory, unless the same one is there; return its name."""
        identity = hashlib.sha256(
            "".join(f"{disk.name} {disk.digest} {disk.size}\n" for disk in described.disks).encode()
            + repr(sorted(described.definition.items())).encode()
        ).hexdigest()[:12]
        name = manifest.checked_name(f"{described.version}-{identity}")
        target = self.root / "versions" / name
        if target.exists():
            return name
        part = self.root / "versions" / f".part-{name}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for file, content in {**files, MANIFEST: described.text().encode()}.items():
            (part / file).write_bytes(content)
        sums = [
            f"{hashlib.sha256((part / file).read_bytes()).hexdigest()}  {file}\n"
            for file in sorted({*files, MANIFEST})
        ]
        (part / SUMS).write_text("".join(sums))
        part.rename(target)
        return name

    def _offer(self, ova: Path, secret: Path, version: str) -> None:
        """Put a whole OVA beside the chunks, with a signature of its own."""
        target = self.root / OVA / ova.name
        target.parent.mkdir(exist_ok=True)
        part = target.with_name(f".part-{ova.name}")
        with progress.step(f"copy {ova.name}"):
            shutil.copyfile(ova, part)
        signature = minisign.sign(part, secret, f"file={ova.name} version={version}")
        part.replace(target)
        signature.replace(target.with_name(f"{ova.name}.minisig"))

    def point(
        self, name: str, version: str, secret: Path, days: float, *, renew: bool = False
    ) -> Channel:
        """Have a channel name a version, unless it does already; everything else is on disk."""
        sums = (self.root / "versions" / version / SUMS).read_bytes()
        file = self.root / channel.path(name)
        serial, signed = 1, int(time.time())
        life = int(days * channel.DAY)
        if file.exists():
            now = channel.claim(file.read_bytes())
            serial = now.serial + 1
            same = now.version == version and now.good_for(signed) > life / 2
            if same and not renew:
                with contextlib.suppress(ApplianceError):
                    return channel.verify(file.read_bytes(), sums, minisign.public_of(secret), name)
        pointed = Channel(name, serial, version, signed, signed + life)
        signature = channel.sign(pointed, sums, secret)
        (self.root / "minisign.pub").write_text(minisign.public_of(secret).text())
        with progress.step("write all to the disk"):
            os.sync()
        write_whole(file, signature)
        return pointed

    @contextlib.contextmanager
    def locking(self) -> Iterator[None]:
        """Have the folder to oneself for a ``with`` block.

        Raises:
            ApplianceError: another publish is at work.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locks.holding(self.root / ".lock", wait=False))
            except BlockingIOError as error:
                raise ApplianceError(f"another publish is at work in {self.root}") from error
            yield
