"""What anybody in the room may say of a seat: what is no report is as if it were not there."""

import os
from pathlib import Path

import pytest

from provision.distribution import reports, room
from provision.distribution.reports import FullError, SeatReport
from provision.distribution.source import SourceError

BAD = [
    b"",
    b"no json",
    b"\xff\xfe",
    b"[1]",
    b"null",
    b"{}",
    b'{"state": "dancing"}',
    b'{"state": ["pulling"]}',
    b'{"state": {"a": 1}}',
    b'{"state": null}',
    b'{"state": "pulling", "port": "x"}',
    b'{"state": "pulling", "port": "80"}',
    b'{"state": "pulling", "port": true}',
    b'{"state": "pulling", "port": 80.0}',
    b'{"state": "pulling", "port": 0}',
    b'{"state": "pulling", "port": -1}',
    b'{"state": "pulling", "port": 65536}',
    b'{"state": "pulling", "port": NaN}',
    b'{"state": "pulling", "port": 1e999}',
    b'{"state": "pulling", "port": Infinity}',
    b'{"state": "pulling", "port": [80]}',
    b'{"state": "pulling", "port": ' + b"9" * 4000 + b"}",
    b'{"state": "pulling", "version": ' + b"[" * 1500 + b"]" * 1500 + b"}",
    b'{"state": "pulling", "x": NaN}',
    b'{"state": "ready", "version": 1}',
    b'{"state": "ready", "version": ["1.0"]}',
    b'{"state": "ready", "vm": {"a": 1}}',
    b'{"state": "failed", "error": 5}',
    b'{"state": "failed", "error": "' + b"x" * 4096 + b'"}',
]


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_what_is_no_report_is_refused(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        reports.parse(text, "seat-1", "10.0.0.1")
    (tmp_path / "seats").mkdir()
    (tmp_path / "seats/seat-1.json").write_bytes(text)
    assert reports.list_all(tmp_path) == []


@pytest.mark.parametrize("text", [b"", b"{}", b'{"a": [', b"[" * 100_000, b"[NaN]"])
def test_a_list_of_seats_that_is_none(text: bytes) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        room.read_rows(text)


def test_bad_rows_of_a_list_are_left_out() -> None:
    rows = b"""[{"name": "a", "state": "ready", "age": 1.5, "address": "10.0.0.1"}, 5, null, {},
        {"name": "b", "state": "ready", "address": "evil.example/"}, {"name": "../c",
        "state": "ready"}, {"name": "d", "state": "ready", "age": true, "address": "::1"}]"""
    assert room.read_rows(rows) == [
        {"name": "a", "state": "ready", "age": 1.5, "address": "10.0.0.1"},
        {"name": "d", "state": "ready", "address": "::1"},
    ]


def test_what_is_said_is_kept_and_nothing_else(tmp_path: Path) -> None:
    said = b"""{"state": "failed", "port": 65535, "vm": "sage", "version": "1.0-ab", "name": "x",
        "error": "no\\u001b[2J room", "address": "10.9.9.9", "else": [1, 2]}"""
    reports.keep(tmp_path, reports.parse(said, "seat-1", "10.0.0.1"))
    (row,) = reports.list_all(tmp_path)
    assert row.pop("age") < 60
    assert row == {
        "name": "seat-1",
        "state": "failed",
        "port": 65535,
        "vm": "sage",
        "version": "1.0-ab",
        "error": "no\N{REPLACEMENT CHARACTER}[2J room",
        "address": "10.0.0.1",
    }


def test_on_a_share_only_files_are_read(tmp_path: Path) -> None:
    seats = tmp_path / "seats"
    seats.mkdir()
    (tmp_path / "secret").write_text('{"state": "ready"}')
    (seats / "link.json").symlink_to(tmp_path / "secret")
    (seats / "endless.json").symlink_to("/dev/zero")
    (seats / "folder.json").mkdir()
    (seats / "not a name.json").write_text('{"state": "ready"}')
    os.mkfifo(seats / "pipe.json")
    reports.keep(tmp_path, SeatReport("seat-1", "ready"))
    assert [row["name"] for row in reports.list_all(tmp_path)] == ["seat-1"]


def test_one_address_fills_no_folder(tmp_path: Path) -> None:
    for number in range(reports.MAX_SEATS_PER_ADDRESS):
        reports.keep(tmp_path, SeatReport(f"a{number}", "ready", address="10.0.0.1"))
    with pytest.raises(FullError, match=r"10\.0\.0\.1"):
        reports.keep(tmp_path, SeatReport("one-more", "ready", address="10.0.0.1"))
    reports.keep(tmp_path, SeatReport("a0", "failed", address="10.0.0.1"))
    reports.keep(tmp_path, SeatReport("b", "ready", address="10.0.0.2"))


def test_a_full_folder_forgets_who_was_silent_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MAX_SEATS", 3)
    for number in range(3):
        reports.keep(tmp_path, SeatReport(f"a{number}", "ready", address=f"10.0.0.{number}"))
    with pytest.raises(FullError, match="3 seats"):
        reports.keep(tmp_path, SeatReport("b", "ready", address="10.0.1.1"))
    os.utime(tmp_path / "seats/a1.json", (1, 1))
    reports.keep(tmp_path, SeatReport("b", "ready", address="10.0.1.1"))
    assert [row["name"] for row in reports.list_all(tmp_path)] == ["a0", "a2", "b"]


@pytest.mark.parametrize(
    ("host", "name"),
    [("Teacher's PC", "Teacher-s-PC"), ("", "seat"), ("…", "seat"), ("pc-7.school", "pc-7.school")],
)
def test_any_hosts_name_makes_a_seats_name(host: str, name: str) -> None:
    assert reports.seat_name(host) == name


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/minisign.pub", ("minisign.pub",)),
        ("/chunks/ab/abcd.zst?x=1#y", ("chunks", "ab", "abcd.zst")),
        ("/versions/1.0%7Erc1-ab/manifest.json", ("versions", "1.0~rc1-ab", "manifest.json")),
        ("/seats/", ("seats", "")),
    ],
)
def test_what_a_request_asks_for(path: str, names: tuple[str, ...]) -> None:
    assert room.wanted_names(path) == names


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "/",
            "//",
            "/.lock",
            "/%2elock",
            "/%2Elock",
            "/seats%2f.x.json",
            "/seats%2F..%2f.lock",
        ),
        *("/%2f.lock", "//.lock", "/./.lock", "/seats/../.lock", "/seats/%2e%2e/.lock"),
        *("/%252elock", "/%25%32%65lock", "/seats/..%5c.lock", "/seats\\..\\.lock", "/C:/x"),
        *("/a%00.zst", "/a%0d%0aX: y", "/a%20b", "/%c0%ae", "/%ef%bc%8e", "/chunks/", "/seats//"),
        *("http://evil.example/.lock", "*", "/%", "/%2", "/%zz", "/versions/%2e/manifest.json"),
    ],
)
def test_what_no_published_file_is_called(path: str) -> None:
    assert room.wanted_names(path) is None
