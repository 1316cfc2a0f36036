"""Thirty seats and one server: each chunk leaves the server about once."""

import dataclasses
import http.client
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from publishing import Publisher, Room

from provision.distribution import chunks, peers, reports, room
from provision.distribution.assemble import Origins, assemble
from provision.distribution.chunks import ChunkStore
from provision.distribution.manifest import PublishedDisk
from provision.distribution.peers import Sharing
from provision.distribution.pull import build_chain
from provision.distribution.reports import SeatReport
from provision.distribution.source import Directory, Web
from provision.errors import VerificationError

SEATS = 30
COPIES = 1.5


@pytest.fixture
def served(publisher: Publisher) -> Iterator[Callable[[], room.Server]]:
    servers = []

    def start() -> room.Server:
        server = room.serve(publisher.root, "127.0.0.1", 0)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _url(server: room.Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def _seat(
    publisher: Publisher, url: str, number: int, place: Path, together: threading.Barrier
) -> Origins:
    """One seat's share of the work, without a VirtualBox: its root disk, asked of the others."""
    source = Web(url)
    with _sharing(source, number, place) as sharing:
        together.wait(60)
        sharing._refresh()
        report = _pull(publisher, source, sharing, place)
        together.wait(300)
    return report


def _sharing(source: Web, number: int, place: Path) -> Sharing:
    sharing = Sharing(
        *(source, f"seat-{number}", ChunkStore(place / "spool")),
        address=f"127.0.1.{number}",
        gather=0,
    )
    sharing._report["state"] = "pulling"
    return sharing


def _root(publisher: Publisher) -> tuple[str, PublishedDisk, tuple[chunks.Piece, ...]]:
    """The last version, its root disk, and that disk's chunks."""
    version, described = publisher.publication.versions()[-1]
    disk = described.disks[0]
    return version, disk, publisher.publication.pieces(version, disk)


def _pull(publisher: Publisher, source: Web, sharing: Sharing, place: Path) -> Origins:
    version, disk, pieces = _root(publisher)
    report = assemble(
        disk,
        pieces,
        place / "root.vdi",
        identity=uuid.uuid4(),
        fetch=build_chain(source, place, None, sharing, [pieces]).fetch,
        workers=2,
    )
    sharing.report(state="ready", version=version)
    return report


def _all_seats(publisher: Publisher, url: str, base: Path, count: int) -> list[Origins]:
    together = threading.Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        return list(
            pool.map(
                lambda number: _seat(publisher, url, number, base / str(number), together),
                range(1, count + 1),
            )
        )


@pytest.fixture
def loopback_seats(monkeypatch: pytest.MonkeyPatch) -> None:
    """All seats are on this host: a report's address is the loopback one that its seat has."""
    original = reports.keep

    def keep(root: Path, report: SeatReport) -> None:
        address = f"127.0.1.{report.name.rpartition('-')[2]}"
        original(root, dataclasses.replace(report, address=address))

    monkeypatch.setattr(reports, "keep", keep)


def test_thirty_first_installs(
    publisher: Publisher,
    served: Callable[[], room.Server],
    tmp_path: Path,
    loopback_seats: None,
) -> None:
    publisher.publish(1)
    one = publisher.packs_size("root")
    for chunk in publisher.root.glob("chunks/??/*"):
        chunk.unlink()  # nobody asks for one
    server = served()
    _all_seats(publisher, _url(server), tmp_path, SEATS)
    assert one <= server.sent <= COPIES * one
    first = (tmp_path / "1/root.vdi").stat().st_size
    assert all((tmp_path / str(n) / "root.vdi").stat().st_size == first for n in range(1, 31))


def test_who_has_an_earlier_version_agrees_about_who_fetches_what(
    publisher: Publisher, tmp_path: Path
) -> None:
    """Or the server sent what they ask each other for twice."""
    publisher.publish(1)
    source = Directory(publisher.root)
    version, disk, pieces = _root(publisher)
    listed = publisher.root / "versions" / version / disk.pieces_file
    keepers = []
    for name in ("new", "stick", "earlier"):
        place = tmp_path / name
        cache = publisher.root if name == "stick" else None
        if name == "earlier":
            image = place / "sage/versions/1.0/root.vdi"
            fetch = build_chain(source, place, None, None, [pieces]).fetch
            assemble(disk, pieces, image, identity=uuid.uuid4(), fetch=fetch)
            image.with_suffix(".chunks.zst").write_bytes(listed.read_bytes())
        sharing = Sharing(Web("http://127.0.0.1:9"), name, ChunkStore(place / "spool"))
        build_chain(source, place, cache, sharing, [pieces])
        keepers.append({piece.name: sharing._keeper(piece) for piece in pieces})
    assert keepers[0] == keepers[1] == keepers[2]
    assert len(set(keepers[0].values())) < len(keepers[0])


def test_what_an_early_seat_has_is_not_sent_again(
    publisher: Publisher,
    served: Callable[[], room.Server],
    tmp_path: Path,
    loopback_seats: None,
) -> None:
    """Whichever seats the packs belong to by the list of later."""
    publisher.publish(1)
    server = served()
    source = Web(_url(server))
    with _sharing(source, 9, tmp_path / "9") as early:
        _pull(publisher, source, early, tmp_path / "9")
        before = server.sent
        assert before >= publisher.packs_size("root")
        _all_seats(publisher, _url(server), tmp_path, 8)
    assert server.sent - before < publisher.packs_size("root") / 10


def test_a_keeper_that_takes_long_is_not_gone(
    publisher: Publisher,
    served: Callable[[], room.Server],
    tmp_path: Path,
    loopback_seats: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers, "PEER_TIMEOUT", 0.5)
    monkeypatch.setattr(peers, "SIGN_SECONDS", 0.1)
    publisher.publish(1)
    piece = _root(publisher)[2][0]
    data = publisher.publication.store.path(piece.name).read_bytes()
    server = served()
    source = Web(_url(server))

    def get(piece: chunks.Piece) -> bytes:
        time.sleep(1.5)  # three times as long as a seat that says nothing is waited for
        return data

    with _sharing(source, 1, tmp_path / "1") as keeper, _sharing(source, 2, tmp_path / "2") as seat:
        keeper.suppliers(get)
        seat.suppliers(lambda piece: pytest.fail("the server was asked"))
        seat._refresh()
        assert seat._ask("seat-1", piece, keeper=True) == chunks.decompress(data, piece.name)
        assert not seat._away


def test_a_peer_serving_bad_data_and_a_dead_one_cost_only_a_detour(
    publisher: Publisher,
    served: Callable[[], room.Server],
    tmp_path: Path,
    loopback_seats: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publisher.publish(1)
    server = served()
    source = Web(_url(server))
    source.once("PUT", "seats/dead-9.json", body=b'{"port": 9, "state": "pulling"}')
    honest = peers._PeerHandler.do_GET

    def lie(handler: peers._PeerHandler) -> None:
        if handler.server.sharing.name != "seat-2":
            return honest(handler)
        data = chunks.compress(b"not what you asked for")
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
        return None

    monkeypatch.setattr(peers._PeerHandler, "do_GET", lie)
    reports = _all_seats(publisher, _url(server), tmp_path, 4)
    assert len({report.fetched for report in reports}) == 1  # all of it, everywhere


def test_status_shows_the_room(publisher: Publisher, served: Callable[[], room.Server]) -> None:
    publisher.publish(1)
    source = Web(_url(served()))
    room.report(source, "seat-1", state="ready", version="1.1-abc")
    room.report(Directory(publisher.root), "seat-2", state="failed", error="no room")
    rows = room.status(source)
    assert rows == room.status(Directory(publisher.root)) or len(rows) == 2
    assert [(row["name"], row["state"]) for row in rows] == [
        ("seat-1", "ready"), ("seat-2", "failed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("seats/../../x.json", b"{}"),
        ("seats/.x.json", b"{}"),
        ("channels/stable.minisig", b"{}"),
        ("seats/a.json", b"no json"),
        ("seats/a.json", b"[1]"),
        ("seats/a.json", b"{" + b" " * 5000 + b"}"),
        ("seats/a.json", b'{"state": "pulling", "port": "x"}'),
        ("seats/a.json", b'{"state": ["pulling"]}'),
        ("seats/a.json", b'{"state": "pulling", "x": ' + b"[" * 1900 + b"]" * 1900 + b"}"),
        ("seats/a%2fb.json", b'{"state": "pulling"}'),
        ("seats%2fa.json", b'{"state": "pulling"}'),
        ("seats/%2e%2e%2fa.json", b'{"state": "pulling"}'),
    ],
)
def test_only_reports_can_be_put(
    publisher: Publisher, served: Callable[[], room.Server], path: str, body: bytes
) -> None:
    publisher.publish(1)
    before = sorted(publisher.root.rglob("*"))
    server = served()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.putrequest("PUT", f"/{path}", skip_host=False)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    assert connection.getresponse().status == http.client.BAD_REQUEST
    assert sorted(publisher.root.rglob("*")) == before


def _told(server: room.Server, text: bytes) -> bytes:
    """What the server answers to bytes as they are, until it closes or falls silent."""
    with socket.create_connection(server.server_address[:2], timeout=10) as connection:  # type: ignore[arg-type]
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()


SOUND = b'{"state": "pulling"}'


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: -1",
        b"Content-Length: +20",
        b"Content-Length: 2_0",
        b"Content-Length: 0x14",
        b"Content-Length: \xb2\xb0",
        b"Content-Length: x",
        b"Content-Length: 99999999999999999999",
        b"Content-Length: " + b"9" * 5000,
        b"Content-Length: 21",  # more than comes
        b"Content-Length: 19",  # less
        b"Content-Length: 20\r\nContent-Length: 20",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 20",
        b"X: none at all",
    ],
)
def test_a_report_of_another_length_is_none(
    publisher: Publisher, served: Callable[[], room.Server], head: bytes
) -> None:
    publisher.publish(1)
    server = served()
    answer = _told(
        server, b"PUT /seats/a.json HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n" + SOUND
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1  # what was left of a body is no second request
    assert room.status(Web(_url(server))) == []


def test_a_pupil_fills_neither_the_disk_nor_the_list(
    publisher: Publisher, served: Callable[[], room.Server]
) -> None:
    publisher.publish(1)
    source = Web(_url(served()))
    codes = [
        source.once("PUT", f"seats/x{number}.json", body=SOUND)[0]
        for number in range(reports.MAX_SEATS_PER_ADDRESS + 5)
    ]
    assert codes[-6:] == [204, 507, 507, 507, 507, 507]
    assert len(room.status(source)) == reports.MAX_SEATS_PER_ADDRESS


@pytest.mark.parametrize("text", [b'{"port": "x"}', b"[5, {}, null]", b"[" * 50_000, b"5", b"\xff"])
def test_a_joker_ends_no_sharing_and_no_status(
    publisher: Publisher, served: Callable[[], room.Server], text: bytes, tmp_path: Path
) -> None:
    """What an older server, or a share, took from anybody, and what any server may list."""
    publisher.publish(1)
    (publisher.root / "seats").mkdir()
    (publisher.root / "seats/joker.json").write_bytes(text)
    server = served()
    source = Web(_url(server))
    assert room.status(source) == room.status(Directory(publisher.root)) == []
    listing = publisher.root / "listing"
    (listing / "seats").mkdir(parents=True)
    with Sharing(source, "seat-1", ChunkStore(tmp_path / "spool"), gather=0) as sharing:
        rows = [json.dumps({"name": "joker", "address": "127.0.0.1", "port": "x"}).encode(), text]
        for row in rows:
            sharing._source = _Answering(b"[" + row + b"]")  # type: ignore[assignment]
            assert sharing._refresh() is False
        sharing._source = source
        source.once("PUT", "seats/seat-2.json", body=b'{"state": "pulling", "port": 9}')
        assert sharing._refresh() is True


@dataclasses.dataclass
class _Answering:
    """A server with one answer."""

    data: bytes

    def once(self, *_: object, **__: object) -> tuple[int, bytes]:
        return http.client.OK, self.data


HIDDEN = (
    *(".lock", "%2elock", "%2f.lock", "/.lock", "./.lock", "seats/../.lock", "%252elock"),
    *("seats%2f..%2f.lock", "seats/%2e%2e/.lock", "seats/..%5c.lock", ".lock?x", ".lock%00"),
    *("versions/.part-x/secret", "versions%2f.part-x%2fsecret", "versions/%2epart-x/secret"),
    *("chunks/", "chunks", "seats", "versions/", "../secret.key", "%2e%2e/secret.key"),
)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_secrets_and_listings_are_not_served(
    publisher: Publisher, served: Callable[[], room.Server], method: str
) -> None:
    publisher.publish(1)
    (publisher.root / ".lock").write_text("hidden")
    (publisher.root / "versions/.part-x").mkdir()
    (publisher.root / "versions/.part-x/secret").write_text("hidden")
    server = served()
    for path in HIDDEN:
        answer = _told(server, f"{method} /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404 "), path
        assert b"hidden" not in answer
    good = _told(server, f"{method} /minisign.pub HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert good.startswith(b"HTTP/1.1 200 ")


def test_pull_through_the_room(
    seat: Room, served: Callable[[], room.Server], tmp_path: Path
) -> None:
    seat.publisher.publish(1)
    server = served()
    source = Web(_url(server))
    with Sharing(source, "seat-1", ChunkStore(tmp_path / "spool"), gather=0) as sharing:
        pulled = seat.pull(_url(server), sharing=sharing)
        sharing.report(state="ready", version=pulled.version)
    assert [row["version"] for row in room.status(source)] == [pulled.version]
    seat.assert_version(1)


def test_a_peer_cannot_pass_off_a_bomb() -> None:
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    with pytest.raises(VerificationError, match="larger than any chunk"):
        chunks.decompress(bomb, "0" * 64)
