"""Manifests, channels, package lists and seat files: what is read is checked."""

from pathlib import Path

import pytest

from provision.config import Config
from provision.distribution import channel, installed, packages, seats
from provision.distribution.channel import Channel
from provision.distribution.chunks import Piece
from provision.distribution.manifest import (
    Manifest,
    PublishedDisk,
    checked_name,
    definition,
    read,
    read_pieces,
    write_pieces,
)
from provision.distribution.seats import Seat
from provision.errors import UsageError, VerificationError


def test_manifest_is_read_as_written() -> None:
    wanted = Manifest(
        "sage", "1.0", 3, {"name": "sage"}, (PublishedDisk("root", 4096, "ab", keep=False),)
    )
    assert read(wanted.text().encode()) == wanted


def test_pieces_are_read_as_written() -> None:
    pieces = (Piece(0, 4096, "ab" * 32, 17), Piece(8192, 100, "cd" * 32, 9))
    assert read_pieces(write_pieces(pieces)) == pieces


@pytest.mark.parametrize("text", [b"", b"[]", b'{"format": 1}', b'{"format": 1, "disks": [{}]}'])
def test_broken_manifests_are_refused(text: bytes) -> None:
    with pytest.raises(VerificationError):
        read(text)


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "x" * 101, "a\n"])
def test_names_that_could_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(VerificationError):
        checked_name(name)


def test_a_claim_that_points_elsewhere_is_refused() -> None:
    with pytest.raises(VerificationError):
        channel.claim(b"trusted comment: channel=stable serial=1 version=../../etc\n")
    with pytest.raises(VerificationError):
        channel.claim(b"nothing of the kind")
    told = Channel("stable", 7, "1.0-abc")
    assert channel.claim(f"trusted comment: {told.comment}\n".encode()) == told
    lasts = Channel("stable", 7, "1.0-abc", 1_700_000_000, 1_800_000_000)
    assert lasts.comment.endswith("signed=2023-11-14T22:13:20Z expires=2027-01-15T08:00:00Z")
    assert channel.claim(f"trusted comment: {lasts.comment}\n".encode()) == lasts


@pytest.mark.parametrize(
    "times",
    [
        *("expires=2027-01-15T08:00:00Z", "signed=2027-01-15T08:00:00Z", "signed=x expires=y"),
        "signed=2023-11-14T22:13:20Z expires=never",
        "signed=2023-11-14T22:13:20 expires=2027-01-15T08:00:00",
    ],
)
def test_a_claim_with_half_a_time_never_lasts(times: str) -> None:
    found = channel.claim(f"channel=stable serial=1 version=1.0 {times}\n".encode())
    with pytest.raises(VerificationError, match="does not say when it expires"):
        channel.check_fresh(found, 0)


def test_a_claim_with_an_impossible_time_is_none() -> None:
    times = "signed=2023-02-30T22:13:20Z expires=2027-13-15T08:00:00Z"
    with pytest.raises(VerificationError, match="no time"):
        channel.claim(f"channel=stable serial=1 version=1.0 {times}\n".encode())


def test_a_channel_lasts_until_it_expires_and_a_day_for_wrong_clocks() -> None:
    found = Channel("stable", 1, "1.0", 1_700_000_000, 1_800_000_000)
    for now in (0, 1_700_000_000, 1_800_000_000 + channel.SKEW_SECONDS):
        channel.check_fresh(found, now)
    with pytest.raises(VerificationError, match="expired on 2027-01-15"):
        channel.check_fresh(found, 1_800_000_001 + channel.SKEW_SECONDS)


def test_definition_tells_nothing_of_the_builders_host() -> None:
    config = Config.model_validate({"proxy": "http://proxy.school.example:3128"})
    told = definition(config)
    assert "proxy" not in str(told)
    assert seats.seat_config(told, Seat(0), "sage-01").name == "sage-01"


def test_changes_name_every_kind() -> None:
    text = packages.changes(
        {"deb a": "1", "deb b": "1", "deb d": "1"}, {"deb b": "2", "deb c": "1", "deb d": "1"}
    )
    assert text.splitlines() == ["- deb a 1", "  deb b 1 -> 2", "+ deb c 1"]


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "seats.csv"
    path.write_text(text)
    return path


def test_seat_file(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "seat,name,address,mac,memory,ssh\n1,left,10.0.0.1,08:00:27:aa:bb:cc,2G,2201\n2,,,,,\n",
    )
    first, second = seats.read(path)[1], seats.find(path, 2)
    assert first == Seat(1, "left", "10.0.0.1", "080027AABBCC", {"memory": "2G"}, {"ssh": 2201})
    assert second == Seat(2)
    with pytest.raises(UsageError, match="no seat 3"):
        seats.find(path, 3)


@pytest.mark.parametrize("line", ["0,a,", "x,a,", "1,a,\n1,b,", "1,a,\n2,a,", "1,a,not-an-address"])
def test_wrong_seat_files_say_why(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match="after"):
        seats.read(_file(tmp_path, f"seat,name,address\n{line}\n"))


@pytest.mark.parametrize("comma", [",", ";", "\t"])
def test_a_seat_file_as_spreadsheets_write_it(tmp_path: Path, comma: str) -> None:
    text = "\ufeffseat,name,memory\r\n1,left,2G\r\n".replace(",", comma)
    assert seats.read(_file(tmp_path, text)) == {1: Seat(1, "left", settings={"memory": "2G"})}


@pytest.mark.parametrize("text", ["", "place,name\n1,a\n", "1,a\n", "seat name\n1 a\n"])
def test_a_seat_file_without_its_column_says_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="line 1 has no column seat") as raised:
        seats.read(_file(tmp_path, text))
    assert "seat,name,address" in (raised.value.hint or "")


def test_seat_with_a_port_for_nothing() -> None:
    told = definition(Config())
    with pytest.raises(UsageError, match="notebook, sessions, ssh"):
        seats.seat_config(told, Seat(1, ports={"telnet": 23}), "sage")


def test_a_seats_sessions_are_found_by_its_notebooks_port() -> None:
    own = seats.seat_config(definition(Config()), Seat(1, ports={"notebook": 9000}), "sage")
    assert own.network.forwards["sessions"].host == 9443


def test_names_by_pattern() -> None:
    assert seats.seat_name("{name}-{seat:02d}", "sage", 7) == "sage-07"
    with pytest.raises(UsageError, match="pattern"):
        seats.seat_name("{room}", "sage", 7)
    assert len({seats.mac(f"sage-{number}") for number in range(250)}) == 250


def test_a_seat_has_a_pool_of_its_own(tmp_path: Path) -> None:
    seat = seats.read(_file(tmp_path, "seat,pool\n1,3\n"))[1]
    told = definition(Config.model_validate({"pool": {"count": 5}}))
    own = seats.seat_config(told, seat, "sage-01")
    assert (own.pool.count, own.pool.group) == (3, "sageusers")
    assert installed.seat_credential(own) == "name=sage-01 pool=3"


def test_what_a_seat_cannot_be_is_told_with_its_number() -> None:
    told = definition(Config())
    for wrong in ({"memory": "1G"}, {"pool": {"count": 0}}, {"cpus": 0}):
        with pytest.raises(UsageError, match="seat 4: "):
            seats.seat_config(told, Seat(4, settings=wrong), "sage-04")
