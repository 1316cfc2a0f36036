"""What administrators bring: whole, torn, of another schema, very large, empty."""

import json
import re
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from provision.audit import database
from provision.errors import HostNotReadyError, UsageError
from provision.jeos.proxy import Proxy
from tests.unit.audit.records import HIGH, debian, osv, tracker

HUB = ("PyPI", "jupyter-hub")
ZLIB = ("Debian:13", "zlib")


def written(path: Path, value: Any) -> str:
    path.write_text(json.dumps(value))
    return str(path)


def test_a_record_a_list_a_folder_and_an_archive_say_the_same(tmp_path: Path) -> None:
    records = [osv("GHSA-1", "Jupyter_Hub", "6.2", aliases=["CVE-2026-9"]), osv("GHSA-2", "other")]
    written(tmp_path / "list.json", records)
    folder = tmp_path / "folder/PyPI"
    folder.mkdir(parents=True)
    for record in records:
        written(folder / f"{record['id']}.json", record)
    (folder / "README").write_text("not looked at")
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for record in records:
            archive.writestr(f"{record['id']}.json", json.dumps(record))
    for name in ("list.json", "folder", "all.zip"):
        found = database.read([str(tmp_path / name)], {HUB})
        assert [each.name for each in found.advisories[HUB]] == ["GHSA-1"], name
        assert found.advisories[HUB][0].names == {"GHSA-1", "CVE-2026-9"}
        assert found.advisories.keys() == {HUB}, "the others are not kept"
        assert (found.records, found.newest) == ({"PyPI": 2}, "2026-10-02T08:00:00.123456Z")


def test_debians_tracker(tmp_path: Path) -> None:
    found = database.read([written(tmp_path / "tracker.json", tracker())], {ZLIB})
    told = {each.name: each for each in found.advisories[ZLIB]}
    assert told.keys() == {"CVE-2026-1", "CVE-2026-2", "TEMP-0000000-ABCDEF"}
    assert [each.severity for each in told.values()] == ["high", "low", "low"]
    assert [(e.kind, e.version) for e in told["CVE-2026-1"].ranges[0]] == [
        ("introduced", "0"),
        ("fixed", "1:1.3.dfsg-2"),
    ]
    assert told["CVE-2026-1"].summary == "Overflow in inflate"
    assert found.records == {"Debian:13": 4, "Debian:12": 1}


@pytest.mark.parametrize(
    ("more", "severity"),
    [
        ({}, "unknown"),
        ({"severity": [{"type": "CVSS_V3", "score": HIGH}]}, "high"),
        ({"database_specific": {"severity": "MODERATE"}}, "medium"),
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/nonsense"}]}, "unknown"),
        (
            {
                "severity": [{"type": "CVSS_V3", "score": HIGH}],
                "database_specific": {"severity": "CRITICAL"},
            },
            "critical",
        ),
    ],
)
def test_the_worst_that_is_said_is_the_severity(
    tmp_path: Path, more: dict[str, Any], severity: str
) -> None:
    path = written(tmp_path / "a.json", osv("GHSA-1", "jupyter-hub", "6.2", **more))
    assert database.read([path], {HUB}).advisories[HUB][0].severity == severity


def test_ubuntus_releases_are_those_of_our_bills(tmp_path: Path) -> None:
    record = debian("CVE-2026-1", "zlib", "2")
    record["affected"][0]["package"]["ecosystem"] = "Ubuntu:26.04:LTS"
    record["severity"] = [{"type": "Ubuntu", "score": "negligible"}]
    key = ("Ubuntu:26.04", "zlib")
    found = database.read([written(tmp_path / "a.json", record)], {key})
    assert found.advisories[key][0].severity == "low"


def test_what_was_withdrawn_is_no_advisory_and_alone_no_database(tmp_path: Path) -> None:
    record = osv("GHSA-1", "jupyter-hub", withdrawn="2026-11-01T00:00:00Z")
    with pytest.raises(UsageError, match="no advisory of PyPI"):
        database.read([written(tmp_path / "a.json", record)], {HUB})


def test_without_advisories_nothing_is_said_to_be_safe(tmp_path: Path) -> None:
    only = written(tmp_path / "a.json", osv("GHSA-1", "jupyter-hub"))
    with pytest.raises(UsageError, match=r"no advisory of Debian:13 in .*a.json \(.* 1 of PyPI\)"):
        database.read([only], {HUB, ZLIB})
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match=r"empty holds no \.json and no \.zip"):
        database.read([str(empty)], {HUB})
    with pytest.raises(UsageError, match="no such file or folder"):
        database.read([str(tmp_path / "gone")], {HUB})
    with pytest.raises(UsageError, match="no advisory of PyPI"):
        database.read([written(tmp_path / "none.json", [])], {HUB})


TRACKER = json.dumps(tracker())
LIST = json.dumps([osv("GHSA-1", "jupyter-hub"), osv("GHSA-2", "x")])


@pytest.mark.parametrize(
    "text",
    ["", "   ", "{", "<html>", LIST[:-30], LIST[:-1], TRACKER[:-40], TRACKER[:-1], LIST[2:]],
)
def test_what_is_torn_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "torn.json").write_text(text)
    with pytest.raises(UsageError, match=r"torn\.json.* is torn or no JSON"):
        database.read([str(tmp_path / "torn.json")], {HUB, ZLIB})


def test_bytes_that_are_no_text_are_torn(tmp_path: Path) -> None:
    for data in (b'{"id": "\xff\xfe"}', b'[{"id": "\xff\xfe"}]', b'{"zlib": {"\xff": {}}}'):
        (tmp_path / "torn.json").write_bytes(data)
        with pytest.raises(UsageError, match=r"torn\.json.* is torn or no JSON"):
            database.read([str(tmp_path / "torn.json")], {HUB})


def test_a_torn_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", json.dumps(osv("GHSA-1", "jupyter-hub")))
    whole = path.read_bytes()
    flipped = whole.replace(b"GHSA-1", b"GHSA-7", 1)
    for data in (whole[:-20], whole[:40], flipped, b""):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"all\.zip.* is torn"):
            database.read([str(path)], {HUB})


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"bomFormat": "CycloneDX", "components": []}, "id: Field required"),
        ({"document": {"csaf_version": "2.0"}}, "'document' is neither a source package"),
        (osv("GHSA-1", "x", schema_version="2.0.0"), "schema_version 2.0.0"),
        (osv("GHSA-1", "x", affected="all"), "affected: Input should be a valid list"),
        ([1, 2], "record 1 .*Input should be"),
        ([osv("GHSA-1", "x"), {"id": "GHSA-2"}], "record 2 .*modified: Field required"),
        ({"zlib": {"CVE-1": {"releases": {"trixie": {"urgency": "low"}}}}}, "zlib.*status"),
        ({}, "id: Field required"),
        ("text", "Input should be"),
    ],
)
def test_another_schema_is_refused_with_file_and_reason(
    tmp_path: Path, value: Any, why: str
) -> None:
    path = written(tmp_path / "other.json", value)
    with pytest.raises(UsageError, match=rf"(?s)other\.json.*{why}"):
        database.read([path], {HUB})


def test_an_event_to_come_is_not_passed_over(tmp_path: Path) -> None:
    record = osv("GHSA-1", "jupyter-hub")
    record["affected"][0]["ranges"][1]["events"] = [{"reintroduced": "1"}]
    with pytest.raises(UsageError, match=re.escape("'reintroduced' is not known")):
        database.read([written(tmp_path / "a.json", record)], {HUB})


@pytest.mark.parametrize("shape", ["list", "tracker"])
def test_a_large_file_is_read_in_little_memory(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "large.json"
    with path.open("w") as file:
        if shape == "list":
            text = json.dumps(osv("GHSA-1", "other", details="x" * 100_000))
            file.write("[" + ",".join([text] * 500) + "]")
        else:
            text = json.dumps(
                tracker()["zlib"] | {"CVE-2026-8": {"releases": {}, "x": "y" * 100_000}}
            )
            file.write("{" + ",".join(f'"p{n}": {text}' for n in range(500)) + "}")
    key = ("PyPI", "a") if shape == "list" else ("Debian:13", "a")
    tracemalloc.start()
    try:
        database.read([str(path)], {key})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 50e6
    assert peak < 5e6


def test_a_record_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LIMIT", 1 << 20)
    long = osv("GHSA-1", "jupyter-hub", details="x" * (2 << 20))
    for value in (long, [long], {"zlib": {"CVE-1": {"releases": {}, "x": "y" * (2 << 20)}}}):
        with pytest.raises(UsageError, match="one record of more than 1 MiB"):
            database.read([written(tmp_path / "a.json", value)], {HUB})


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """A web server of a folder, also as a proxy; it breaks off at some, at ``/once.json`` once."""
    broken = {"/once.json"}

    class Mirror(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.path = urlsplit(self.path).path
            if self.path not in ("/short", "/chunked", *broken):
                super().do_GET()
                return
            broken.discard(self.path)
            self.send_response(200)
            if self.path == "/short":
                self.send_header("Content-Length", "1000")
            else:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"2\r\n[]\r\n")
            self.close_connection = True

        def log_message(self, *words: object) -> None:
            pass

    served = tmp_path / "served"
    served.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Mirror, directory=str(served))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_mirror_serves_them(tmp_path: Path, mirror: str) -> None:
    with zipfile.ZipFile(tmp_path / "served/all.zip", "w") as archive:
        archive.writestr("a.json", json.dumps(osv("GHSA-1", "jupyter-hub")))
    written(tmp_path / "served/json", tracker())
    found = database.read([f"{mirror}/all.zip", f"{mirror}/json"], {HUB, ZLIB})
    assert found.advisories.keys() == {HUB, ZLIB}


def test_a_mirror_is_reached_through_the_proxy_and_asked_again(tmp_path: Path, mirror: str) -> None:
    written(tmp_path / "served/once.json", osv("GHSA-1", "jupyter-hub"))
    through = Proxy({"http": mirror}).opener()
    found = database.read(["http://advisories.invalid/once.json"], {HUB}, opener=through)
    assert found.advisories.keys() == {HUB}


@pytest.mark.parametrize("path", ["short", "chunked", "gone.zip"])
def test_a_mirror_that_breaks_off_is_named(mirror: str, path: str) -> None:
    with pytest.raises(HostNotReadyError, match=rf"{mirror}/{path}: "):
        database.read([f"{mirror}/{path}"], {HUB})


def test_addresses_have_no_password(tmp_path: Path) -> None:
    for address in ("https://me:SECRET@host/all.zip", "https://me:SEC/RET@x", "https://"):
        with pytest.raises(UsageError) as refused:
            database.read([address], {HUB})
        assert "SEC" not in str(refused.value)
