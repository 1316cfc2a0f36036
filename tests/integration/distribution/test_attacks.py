"""The attacks on a source of updates that The Update Framework names, each tried on a seat.

https://theupdateframework.io/docs/security/ has the list. No VirtualBox: what a seat believes is
decided before its disks are touched.
"""

import shutil
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import zstandard
from publishing import Publisher, Server

from provision.distribution import channel, chunks, manifest, pins, pull, room
from provision.distribution.assemble import assemble
from provision.distribution.manifest import MANIFEST
from provision.distribution.pull import Offer
from provision.distribution.source import Directory, Origin, SourceError, open_source
from provision.errors import ApplianceError, UsageError, VerificationError
from provision.ova import minisign

STABLE = "channels/stable.minisig"


@dataclass(frozen=True)
class Seat:
    """What a seat does before it touches a disk, and then one disk."""

    publisher: Publisher
    folder: Path

    def offered(self, place: str | Path, name: str = "stable") -> Offer:
        source = open_source(str(place))
        offer = pull.fetch_offer(source, name, [minisign.public_key(self.publisher.public)])
        pins.check(self.folder, offer.channel, offer.key)
        pull._check_time(self.folder, offer.channel)
        pins.remember(self.folder, offer.channel)
        return offer

    def install(self, place: str | Path) -> None:
        source, offer = open_source(str(place)), self.offered(place)
        described = manifest.read(offer.get(source, MANIFEST))
        disk = described.disks[0]
        assemble(
            disk,
            manifest.read_pieces(offer.get(source, disk.pieces_file)),
            self.folder / "root.vdi",
            identity=uuid.uuid4(),
            fetch=lambda piece: _chunk(source, piece),
        )


def _chunk(source: Origin, piece: chunks.Piece) -> bytes:
    path = f"chunks/{chunks.relative(piece.name)}"
    return chunks.decompress(source.get(path, limit=chunks.FILE_LIMIT), piece.name)


@pytest.fixture
def seat(publisher: Publisher, tmp_path: Path) -> Seat:
    publisher.publish(1)
    (tmp_path / "seat").mkdir()
    return Seat(publisher, tmp_path / "seat")


def _version(seat: Seat, number: int = -1) -> Path:
    name, _ = seat.publisher.publication.versions()[number]
    return seat.publisher.root / "versions" / name


def test_arbitrary_software(seat: Seat, tmp_path: Path) -> None:
    """Signed by nobody, or by somebody else."""
    thief = tmp_path / "thief.key"
    minisign.generate(thief)
    seat.publisher.publication.renew("stable", thief)
    with pytest.raises(VerificationError, match="was signed with key"):
        seat.offered(seat.publisher.root)
    (seat.publisher.root / STABLE).write_bytes(b"channel=stable serial=9 version=1.0")
    with pytest.raises((VerificationError, ApplianceError)):
        seat.offered(seat.publisher.root)


def test_rollback(seat: Seat) -> None:
    old = (seat.publisher.root / STABLE).read_bytes()
    seat.publisher.publish(2)
    seat.offered(seat.publisher.root)
    (seat.publisher.root / STABLE).write_bytes(old)
    with pytest.raises(VerificationError, match="went back"):
        seat.offered(seat.publisher.root)


def test_rollback_within_one_version(seat: Seat) -> None:
    """A renewal is a number of its own: the signature before it is not taken any more."""
    old = (seat.publisher.root / STABLE).read_bytes()
    assert seat.publisher.publication.renew("stable", seat.publisher.secret).serial == 2
    seat.offered(seat.publisher.root)
    (seat.publisher.root / STABLE).write_bytes(old)
    with pytest.raises(VerificationError, match="went back"):
        seat.offered(seat.publisher.root)


def test_indefinite_freeze(seat: Seat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the folder, served while the publisher goes on, is good for a while only."""
    frozen = shutil.copytree(seat.publisher.root, tmp_path / "frozen")
    seat.offered(frozen)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + (channel.LIFE_DAYS + 2) * channel.DAY)
    with pytest.raises(VerificationError, match="expired on") as caught:
        seat.offered(frozen)
    assert "--renew" in str(caught.value.hint)
    seat.publisher.publication.renew("stable", seat.publisher.secret)
    seat.offered(seat.publisher.root)
    # With a clock that is put back, or has lost its battery, it is as late as what was seen.
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert pins.latest(seat.folder) > real() + channel.LIFE_DAYS * channel.DAY
    late = replace(seat.offered(seat.publisher.root).channel, expires=int(real()))
    with pytest.raises(VerificationError, match="expired on"):
        pull._check_time(seat.folder, late)


def test_freeze_with_a_channel_that_never_expires(seat: Seat) -> None:
    """What older programs signed has no date, and would be good for ever."""
    sums = (_version(seat) / "SHA256SUMS").read_bytes()
    dateless = channel.Channel("stable", 9, _version(seat).name)
    signed = channel.sign(dateless, sums, seat.publisher.secret)
    (seat.publisher.root / STABLE).write_bytes(signed)
    with pytest.raises(VerificationError, match="does not say when it expires"):
        seat.offered(seat.publisher.root)


@pytest.mark.parametrize("file", ["manifest.json", "root.chunks.zst", "SHA256SUMS"])
def test_mix_and_match(seat: Seat, file: str) -> None:
    """Files of two versions, each signed at its time."""
    old = (_version(seat) / file).read_bytes()
    seat.publisher.publish(2)
    (_version(seat) / file).write_bytes(old)
    with pytest.raises(VerificationError):
        seat.install(seat.publisher.root)


def test_another_channel(seat: Seat) -> None:
    """What is meant for a trial is not for the room."""
    seat.publisher.publish(2, channel="next")
    shutil.copy(seat.publisher.root / "channels/next.minisig", seat.publisher.root / STABLE)
    with pytest.raises(VerificationError, match="asked for the channel 'stable'"):
        seat.offered(seat.publisher.root)


def _chunks(seat: Seat) -> list[Path]:
    """The files of the chunks that `Seat.install` asks for, in the disk's order."""
    described = manifest.read((_version(seat) / MANIFEST).read_bytes())
    pieces = manifest.read_pieces((_version(seat) / described.disks[0].pieces_file).read_bytes())
    return [seat.publisher.root / "chunks" / chunks.relative(piece.name) for piece in pieces]


def test_another_chunk(seat: Seat) -> None:
    files = _chunks(seat)
    shutil.copy(files[1], files[0])
    with pytest.raises(VerificationError, match="another digest"):
        seat.install(seat.publisher.root)


ENDLESS = ["channels", "sums", "manifest", "list", "chunk"]


@pytest.mark.parametrize("which", ENDLESS)
def test_endless_data(seat: Seat, which: str) -> None:
    """By HTTP and from a folder: no more is read than such a file may have."""
    root, version = seat.publisher.root, _version(seat)
    victim = {
        "channels": root / STABLE,
        "sums": version / "SHA256SUMS",
        "manifest": version / "manifest.json",
        "list": version / "root.chunks.zst",
        "chunk": _chunks(seat)[0],
    }[which]
    with victim.open("ab") as file:
        file.truncate(1 << 40)  # a hole
    server = room.serve(root, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        for place in (root, f"http://127.0.0.1:{server.server_address[1]}"):
            with pytest.raises(SourceError, match="larger than such a published file"):
                seat.install(place)
    finally:
        server.shutdown()
        server.server_close()


def test_endless_data_of_a_device(seat: Seat) -> None:
    (seat.publisher.root / STABLE).unlink()
    (seat.publisher.root / STABLE).symlink_to("/dev/zero")
    with pytest.raises(ApplianceError, match="missing"):
        seat.offered(seat.publisher.root)


def test_wrong_size(seat: Seat) -> None:
    """A chunk that unpacks to more than any, whatever its header claims."""
    victim = _chunks(seat)[0]
    for claims in (True, False):
        packer = zstandard.ZstdCompressor(write_content_size=claims)
        victim.write_bytes(packer.compress(bytes(256 << 20)))
        with pytest.raises(VerificationError, match="damaged"):
            seat.install(seat.publisher.root)


def test_slow_retrieval(
    seat: Seat, serve: Callable[[Path], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provision.distribution.source.SLOW_SECONDS", 0)
    monkeypatch.setattr("provision.distribution.source.PAUSE_SECONDS", 0)
    source = open_source(serve(seat.publisher.root).url)
    source._patience = 0  # type: ignore[attr-defined]
    with pytest.raises(SourceError, match="too slowly"):
        source.get(STABLE)


def test_vulnerability_to_a_lost_key_is_a_new_key(seat: Seat, tmp_path: Path) -> None:
    """There is no trust on first use: a new publisher is told to the seat by hand."""
    with pytest.raises(UsageError, match="nothing can be trusted"):
        pull.fetch_offer(Directory(seat.publisher.root), "stable", [])


def test_what_is_signed_anew_in_time(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published again, a channel is left alone while more than half of its life is left."""
    publication, secret = seat.publisher.publication, seat.publisher.secret
    assert seat.publisher.publish(1).serial == 1
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 0.6 * channel.LIFE_DAYS * channel.DAY)
    assert seat.publisher.publish(1).serial == 2
    with pytest.raises(UsageError, match="no channel 'next'"):
        publication.renew("next", secret)
