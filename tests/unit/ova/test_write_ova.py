"""The OVA as a whole: order, manifest, same bytes, nothing left behind."""

import errno
import hashlib
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from provision import progress
from provision.errors import ApplianceError, HostNotReadyError
from provision.ova import OvaAppliance, OvaDisk, inspect, write_ova, writer


def test_members_stand_in_the_order_that_every_importer_takes(
    ova: Path, appliance: OvaAppliance
) -> None:
    with tarfile.open(ova) as archive:
        members = archive.getmembers()
    assert [m.name for m in members] == [
        "sage.ovf",
        "sage.mf",
        "sage-root.vmdk",
        "sage-home.vmdk",
    ]
    assert {(m.mtime, m.mode, m.uid, m.uname) for m in members} == {(appliance.epoch, 0o644, 0, "")}
    assert ova.read_bytes()[257:265] == b"ustar\x0000"


def test_manifest_has_the_digest_of_every_other_member(ova: Path) -> None:
    with tarfile.open(ova) as archive:
        digests = {
            member.name: hashlib.sha256(archive.extractfile(member).read()).hexdigest()  # type: ignore[union-attr]
            for member in archive
        }
        manifest = archive.extractfile("sage.mf").read().decode()  # type: ignore[union-attr]
    del digests["sage.mf"]
    assert manifest == "".join(f"SHA256({name})= {hash}\n" for name, hash in digests.items())


def test_result_tells_size_and_digests(
    tmp_path: Path, appliance: OvaAppliance, disks: list[OvaDisk]
) -> None:
    result = write_ova(tmp_path / "x.ova", appliance, disks)
    data = result.path.read_bytes()
    assert result.size == len(data)
    assert result.sha256 == hashlib.sha256(data).hexdigest()
    assert list(result.disks) == ["sage-root.vmdk", "sage-home.vmdk"]


def test_same_inputs_give_the_same_bytes(
    tmp_path: Path, ova: Path, appliance: OvaAppliance, disks: list[OvaDisk]
) -> None:
    elsewhere = tmp_path / "another place" / "other name.ova"
    elsewhere.parent.mkdir()
    moved = [replace(d, raw_path=d.raw_path.rename(elsewhere.parent / d.name)) for d in disks]
    for disk in moved:
        # Holes or written zeros: the same disk.
        disk.raw_path.write_bytes(disk.raw_path.read_bytes())
    assert write_ova(elsewhere, appliance, moved).path.read_bytes() == ova.read_bytes()


def test_envelope_says_what_was_given(ova: Path, appliance: OvaAppliance) -> None:
    with ova.open("rb") as stream:
        found = inspect(stream, "sage.ova")
    (system,) = found.envelope.systems
    assert (system.product, system.vendor) == (appliance.product, appliance.vendor)
    assert (system.product_version, system.full_version) == ("1.0", "1.0+trixie.abc")
    assert (system.url, system.description) == (appliance.product_url, appliance.description)
    assert (system.cpus, system.memory) == (2, 4 * 2**30)
    assert [(f.name, f.address, f.host, f.guest) for f in system.forwards] == [
        ("ssh", "127.0.0.1", 2222, 22),
        ("notebook", "", 8000, 8000),
    ]
    assert [(d.file, d.capacity) for d in found.disks] == [
        ("sage-root.vmdk", 70 * 2**20),
        ("sage-home.vmdk", 2**20),
    ]
    assert found.manifest == "SHA256"
    assert not found.leaks


def test_a_name_of_any_characters_gives_plain_member_names(
    tmp_path: Path, appliance: OvaAppliance, disks: list[OvaDisk]
) -> None:
    named = replace(appliance, name='Übung "2"/<../etc> & Co')
    path = write_ova(tmp_path / "x.ova", named, disks).path
    with path.open("rb") as stream:
        found = inspect(stream, "x.ova")
    assert found.envelope.systems[0].name == named.name
    assert next(iter(found.members)) == "bung-2-..-etc-Co.ovf"


def test_an_odd_disk_size_is_refused(tmp_path: Path, appliance: OvaAppliance) -> None:
    raw = tmp_path / "odd.raw"
    raw.write_bytes(bytes(513))
    with pytest.raises(ApplianceError, match=r"odd.raw has 513 bytes, no multiple of 512"):
        write_ova(tmp_path / "x.ova", appliance, [OvaDisk(name="root", raw_path=raw)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["odd.raw"]


def test_a_disk_too_big_for_tar_is_refused_whole(
    tmp_path: Path,
    appliance: OvaAppliance,
    disks: list[OvaDisk],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "MAX_MEMBER", 100_000)
    with pytest.raises(ApplianceError, match=r"sage-root.vmdk takes .* room for 100000"):
        write_ova(tmp_path / "x.ova", appliance, disks)
    assert not list(tmp_path.glob("x.ova*"))


class Failing(progress.Silent):
    """A reporter in whose place the failure strikes, when the first disk is under way."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def advance(self, title: str, done: float, total: float | None) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("struck", "reported"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), HostNotReadyError),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), HostNotReadyError),
        (OSError(errno.EIO, os.strerror(errno.EIO)), OSError),
    ],
)
def test_an_interrupted_write_leaves_the_older_file_and_no_other(
    tmp_path: Path,
    appliance: OvaAppliance,
    disks: list[OvaDisk],
    struck: BaseException,
    reported: type[BaseException],
) -> None:
    place = tmp_path / "out"
    place.mkdir()
    older = place / "x.ova"
    older.write_text("older")
    with pytest.raises(reported), progress.reporting(Failing(struck)):
        write_ova(older, appliance, disks)
    assert [p.name for p in place.iterdir()] == ["x.ova"]
    assert older.read_text() == "older"


def test_progress_reaches_the_end_of_each_disk(
    tmp_path: Path, appliance: OvaAppliance, disks: list[OvaDisk]
) -> None:
    reached: dict[str, list[float]] = {}

    class Recorder(progress.Silent):
        def advance(self, title: str, done: float, total: float | None) -> None:
            assert total is not None
            reached.setdefault(title, []).append(done / total)

    with progress.reporting(Recorder()):
        write_ova(tmp_path / "x.ova", appliance, disks)
    assert list(reached) == ["compress the root disk", "compress the home disk"]
    for shares in reached.values():
        assert shares == sorted(shares)
        assert shares[-1] == 1
