"""The published folder, made from real ext4 disks."""

import shutil
import subprocess
import uuid
from pathlib import Path

import pytest
from publishing import Publisher

from provision.distribution import vdi
from provision.distribution.assemble import assemble, present
from provision.distribution.chunks import Piece, decompress
from provision.distribution.supply import Chain, Seed, of_images
from provision.errors import ApplianceError
from provision.process import require


def test_next_version_adds_only_what_changed(publisher: Publisher) -> None:
    first, second = publisher.publish(1), publisher.publish(2)
    assert first.new_chunks > 0
    assert 0 < second.new_size < 0.2 * second.size
    assert (first.serial, second.serial) == (1, 2)


def test_publishing_the_same_again_changes_nothing(publisher: Publisher) -> None:
    first = publisher.publish(1)
    before = sorted((path, path.stat().st_mtime_ns) for path in publisher.root.rglob("*/*"))
    again = publisher.publish(1)
    assert (again.version, again.serial, again.new_chunks) == (first.version, 1, 0)
    assert before == sorted((path, path.stat().st_mtime_ns) for path in publisher.root.rglob("*/*"))


def test_minisign_itself_checks_the_channel(publisher: Publisher) -> None:
    version = publisher.publish(1).version
    folder = publisher.root / "versions" / version
    done = subprocess.run(
        [
            require("minisign", "minisign"), "-V", "-p", publisher.public,
            "-m", folder / "SHA256SUMS", "-x", publisher.root / "channels/stable.minisig",
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert f"channel=stable serial=1 version={version}" in done.stdout
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True)


def test_changelog_names_packages(publisher: Publisher) -> None:
    publisher.publish(1)
    folder = publisher.root / "versions" / publisher.publish(2).version
    changes = (folder / "changelog.txt").read_text()
    assert "deb bash 5.1 -> 5.2" in changes
    assert "+ deb nano 8" in changes


def test_prune_keeps_the_newest_and_the_pointed(publisher: Publisher) -> None:
    pinned = publisher.publish(1, channel="exam").version
    gone = publisher.publish(2).version
    last = publisher.publish(3).version
    versions, freed = publisher.publication.prune(1)
    assert (versions, freed > 0) == (1, True)
    assert {name for name, _ in publisher.publication.versions()} == {pinned, last}
    assert not (publisher.root / "versions" / gone).exists()
    for name, described in publisher.publication.versions():
        for disk in described.disks:
            for piece in publisher.publication.pieces(name, disk):
                assert publisher.publication.store.path(piece.name).exists()


def test_promote_points_another_channel(publisher: Publisher) -> None:
    version = publisher.publish(1, channel="next").version
    assert publisher.publication.promote(version, "stable", publisher.secret).serial == 1
    with pytest.raises(ApplianceError, match="no version"):
        publisher.publication.promote("9.9-none", "stable", publisher.secret)


def test_a_bad_key_fails_before_any_work(publisher: Publisher) -> None:
    publisher.secret.write_text("no key\n")
    with pytest.raises(ApplianceError, match="minisign secret key"):
        publisher.publish(1)
    assert not publisher.publication.store.root.exists()


def _fetch(publisher: Publisher, piece: Piece) -> bytes:
    return decompress(publisher.publication.store.path(piece.name).read_bytes(), piece.name)


def test_assembled_image_is_the_published_disk(publisher: Publisher, tmp_path: Path) -> None:
    name = publisher.publish(2).version
    described = publisher.publication.versions()[0][1]
    root = described.disks[0]
    pieces = publisher.publication.pieces(name, root)
    image = tmp_path / "root.vdi"
    report = assemble(
        root, pieces, image, identity=uuid.uuid4(), fetch=lambda piece: _fetch(publisher, piece)
    )
    assert report.fetched == len({piece.name for piece in pieces})
    qemu_img = require("qemu-img", "qemu-utils")
    subprocess.run(
        [qemu_img, "compare", "-f", "vdi", "-F", "raw", image, publisher.images[2][0].raw],
        check=True,
    )
    assert vdi.read(image).size == root.size
    assert present(image, root)


def test_update_takes_the_rest_from_the_old_image(publisher: Publisher, tmp_path: Path) -> None:
    names = [publisher.publish(1).version, publisher.publish(2).version]
    old, new = (described.disks[0] for _, described in publisher.publication.versions())
    old_pieces = publisher.publication.pieces(names[0], old)
    new_pieces = publisher.publication.pieces(names[1], new)
    fetched: list[Piece] = []

    def fetch(piece: Piece) -> bytes:
        fetched.append(piece)
        return _fetch(publisher, piece)

    first = tmp_path / "1" / "root.vdi"
    assemble(old, old_pieces, first, identity=uuid.uuid4(), fetch=fetch)
    fetched.clear()
    second = tmp_path / "2" / "root.vdi"
    chain = Chain(disks=of_images([Seed(first, old_pieces)]), server=fetch)
    report = assemble(new, new_pieces, second, identity=uuid.uuid4(), fetch=chain.fetch)
    assert len(fetched) == chain.counts["server"].chunks < 0.3 * len(new_pieces)
    assert chain.counts["disks"].chunks + len(fetched) == report.fetched
    assert present(second, new)


def test_a_torn_image_goes_on_where_it_was(publisher: Publisher, tmp_path: Path) -> None:
    name = publisher.publish(1).version
    root = publisher.publication.versions()[0][1].disks[0]
    pieces = publisher.publication.pieces(name, root)
    whole = tmp_path / "whole.vdi"
    identity = uuid.uuid4()
    assemble(root, pieces, whole, identity=identity, fetch=lambda piece: _fetch(publisher, piece))
    image = tmp_path / "root.vdi"
    part = tmp_path / "root.vdi.part"
    shutil.copyfile(whole, part)
    with part.open("r+b") as file:  # the second half never arrived, one chunk only in part
        file.truncate(whole.stat().st_size // 2 + 12_345)
        file.truncate(whole.stat().st_size)
    report = assemble(
        root, pieces, image, identity=identity, fetch=lambda piece: _fetch(publisher, piece)
    )
    assert 0 < report.resumed < len(pieces)
    assert report.fetched < len({piece.name for piece in pieces})
    assert image.read_bytes() == whole.read_bytes()
    assert not part.exists()


def test_whole_ova_has_a_signature_of_its_own(publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish(1)
    ova = tmp_path / "sage-1.1.ova"
    ova.write_bytes(b"an appliance")
    again = publisher.publication.publish(
        publisher.images[1],
        definition=publisher.publication.versions()[0][1].definition,
        sbom='{"components": []}',
        secret=publisher.secret,
        extra=ova,
    )
    assert again.serial == 1  # the version is the same
    offered = publisher.root / "ova" / ova.name
    command = [require("minisign", "minisign"), "-V", "-p", publisher.public, "-m", offered]
    subprocess.run(command, check=True, capture_output=True)
    assert [path.name for path in sorted(offered.parent.iterdir())] == [
        ova.name, f"{ova.name}.minisig",
    ]  # fmt: skip
