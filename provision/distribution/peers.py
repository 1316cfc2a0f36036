"""Seats that share: each chunk leaves the server about once, whatever the number of seats.

Every seat that pulls also serves chunks. Who does is in the server's list of seats; where the
server keeps none (any other web server), seats find each other by multicast DNS. For each
chunk one seat is its keeper: the first by a hash over chunk and seat, so that all agree without
asking. A seat asks the keeper, and the keeper asks the server, once. A keeper that is gone, late
or lying only costs a detour: whoever is next is asked, the server last, and every chunk is
believed only for its digest.
"""

import contextlib
import hashlib
import http.client
import http.server
import json
import operator
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from provision import progress
from provision.distribution import chunks, reports, room
from provision.distribution.chunks import ChunkStore, Piece
from provision.distribution.reports import SeatReport
from provision.distribution.source import SourceError, Web
from provision.distribution.supply import Get, Supply
from provision.errors import VerificationError

if TYPE_CHECKING:
    from provision.distribution.nearby import Nearby

REFRESH_SECONDS = 1.0
CALM_SECONDS = 8.0  # where nobody comes or goes: thirty lists a second would be traffic too
GATHER_SECONDS = 2.0
AWAY_SECONDS = 30.0
PEER_TIMEOUT = 10.0
SIGN_SECONDS = 2.0  # between signs of life to who waits for what is still on its way here
_PROBES = 2  # seats that may be asked whether they have a chunk, before the server is
_STRIPES = 64
_NAME: Callable[[Piece], str] = operator.attrgetter("name")


class Sharing:
    """This seat among the others; a context that serves as long as it lasts.

    Args:
        source: the room's server, see `room`.
        name: this seat.
        store: takes the chunks that are shared.
        address: to listen on; every address of this host by default.
        gather: seconds to wait for other seats before the first chunk.
    """

    def __init__(
        self,
        source: Web,
        name: str,
        store: ChunkStore,
        *,
        address: str = "0.0.0.0",  # noqa: S104 (the room is who it is for)
        gather: float = GATHER_SECONDS,
    ) -> None:
        self.name, self.store = name, store
        self.from_server = self.from_peers = 0
        self._source, self._gather = source, gather
        self._server = _Server((address, 0), self)
        self._peers: dict[str, Web] = {}
        self._away: dict[str, float] = {}
        self._liars: set[str] = set()
        self._report: dict[str, Any] = {}
        self._locks = [threading.Lock() for _ in range(_STRIPES)]
        self._ended = threading.Event()
        self._get: Get | None = None
        self._keeper: Callable[[Piece], str] = _NAME
        self._wait: Callable[[str], object] = str
        self._nearby: Nearby | None = None

    def __enter__(self) -> "Sharing":
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        if not self.report(state="pulling"):
            self._find_nearby()
        time.sleep(self._gather)
        self._refresh()
        threading.Thread(target=self._keep_refreshing, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        if self._nearby:
            self._nearby.close()
        else:
            self.report(port=None)

    def report(self, **values: Any) -> bool:
        """Tell the room's server how this seat is; whether it takes reports, which none need do."""
        self._report.update({"port": self._server.server_address[1], **values})
        if self._nearby:
            self._nearby.report(str(self._report.get("state", "")))
            return False
        with contextlib.suppress(OSError, http.client.HTTPException, SourceError):
            body, path = json.dumps(self._report).encode(), f"{reports.FOLDER}/{self.name}.json"
            status, _ = self._source.once("PUT", path, body=body, timeout=PEER_TIMEOUT)
            return status == http.client.NO_CONTENT
        return False

    def linger(self, seconds: float) -> None:
        """Serve on until no other seat is pulling, at most so long."""
        deadline = time.monotonic() + seconds
        with progress.step("share with the other seats"):
            while time.monotonic() < deadline and self._refresh():
                time.sleep(2 * REFRESH_SECONDS)

    def suppliers(
        self,
        get: Get,
        keeper: Callable[[Piece], str] = _NAME,
        wait: Callable[[str], object] = str,
    ) -> dict[str, Supply]:
        """The links of a `supply.Chain` that are other seats, and the server.

        Args:
            get: asks the server.
            keeper: for chunks of which it gives the same, the same seat asks the server.
            wait: for a chunk, by its name, that is on its way here with others.
        """
        self._keeper, self._wait = keeper, wait
        self._get = get
        return {"seats": self._from_seats, "server": self._from_server}

    def keep(self, piece: Piece) -> bytes:
        """Have a chunk as its keeper: fetch it from the server unless somebody has it."""
        return self._lookup(piece) or self._from_server(piece)

    def _from_seats(self, piece: Piece) -> bytes | None:
        """From its keeper, else from the next; None: it is this seat that asks the server."""
        order = self._order(piece)
        for name in order[: order.index(self.name)]:
            if content := self._ask(name, piece, keeper=True):
                return content
        return self._lookup(piece)

    def _lookup(self, piece: Piece) -> bytes | None:
        """From whoever may have it already, this seat first; nobody fetches it for us."""
        with self._locks[int(piece.name[:4], 16) % _STRIPES]:
            if content := self._own(piece):
                return content
            others = [name for name in self._order(piece) if name != self.name]
            # One that was there first may have a whole pack, and is none of the first to be asked.
            probes = _PROBES if self._keeper(piece) == piece.name else len(others)
            asked = (self._ask(name, piece, keeper=False) for name in others[:probes])
            return next(filter(None, asked), None)

    def _from_server(self, piece: Piece) -> bytes:
        """From the server, once for all who ask here."""
        with self._locks[int(piece.name[:4], 16) % _STRIPES]:
            if content := self._own(piece):
                return content
            assert self._get is not None  # noqa: S101 (`suppliers` came first)
            data = self._get(piece)
            content = chunks.decompress(data, piece.name)
            self.store.put(piece.name, data)
            self.from_server += 1
            return content

    def _own(self, piece: Piece) -> bytes | None:
        with contextlib.suppress(OSError, VerificationError):
            return chunks.decompress(self.store.path(piece.name).read_bytes(), piece.name)
        return None

    def expect(self, name: str) -> None:
        """Wait for a chunk that another seat asks for, if it is on its way here."""
        self._wait(name)

    def ready(self) -> bool:
        """Whether this seat can fetch for others."""
        return self._get is not None

    def _order(self, piece: Piece) -> list[str]:
        """The seats in the order in which they are asked for a chunk, this one among them."""
        now, chunk = time.monotonic(), self._keeper(piece)
        there = [
            name
            for name in self._peers
            if self._away.get(name, 0) < now and name not in self._liars
        ]
        return sorted(
            [*there, self.name],
            key=lambda name: hashlib.blake2b(f"{chunk} {name}".encode(), digest_size=8).digest(),
        )

    def _ask(self, name: str, piece: Piece, *, keeper: bool) -> bytes | None:
        peer = self._peers.get(name)
        if peer is None:
            return None
        path = f"{'keeper' if keeper else 'chunks'}/{chunks.relative(piece.name)}"
        try:
            status, data = peer.once("GET", path, timeout=PEER_TIMEOUT)
            if status != http.client.OK:
                return None
            content = chunks.decompress(data, piece.name)
        except (OSError, http.client.HTTPException, SourceError):
            self._away[name] = time.monotonic() + AWAY_SECONDS
            return None
        except VerificationError:
            self._liars.add(name)
            progress.note(f"seat {name} sent a damaged chunk and is not asked again")
            return None
        self.store.put(piece.name, data)
        self.from_peers += 1
        return content

    def _refresh(self) -> bool:
        """Read the list of seats; whether another one is still pulling."""
        try:
            rows = self._nearby.seats() if self._nearby else self._read_list()
        except (OSError, ValueError, http.client.HTTPException, SourceError):
            return False
        others: dict[str, SeatReport] = {}
        for row in rows:
            with contextlib.suppress(ValueError):  # what anybody said: only what is sound counts
                seat = reports.check(row)
                if seat.port and seat.address and seat.name != self.name:
                    others[seat.name] = seat
        peers = dict[str, Web]()
        for name, seat in others.items():
            host = f"[{seat.address}]" if ":" in str(seat.address) else seat.address
            url, known = f"http://{host}:{seat.port}", self._peers.get(name)
            if known is None or known.url != url:
                known = Web(url, timeout=PEER_TIMEOUT, tries=1, patience=PEER_TIMEOUT, direct=True)
                self._away.pop(name, None)
            peers[name] = known
        self._peers = peers  # at once: others are going through it
        return any(seat.state == "pulling" for seat in others.values())

    def _read_list(self) -> list[dict[str, Any]]:
        status, data = self._source.once("GET", f"{reports.FOLDER}/", timeout=PEER_TIMEOUT)
        return room.read_rows(data) if status == http.client.OK else []

    def _find_nearby(self) -> None:
        """Look for the others ourselves; the network may not let us, then we are alone."""
        from provision.distribution.nearby import Nearby  # noqa: PLC0415 (seldom needed)

        try:
            self._nearby = Nearby(self.name, self._server.server_address[1], self._source.url)
        except OSError as error:
            progress.note(f"other seats cannot be found by multicast DNS: {error}")
        else:
            self.name = self._nearby.name

    def _keep_refreshing(self) -> None:
        pause = REFRESH_SECONDS
        while not self._ended.wait(pause):
            before = set(self._peers)
            self._refresh()
            self.report()
            changed = set(self._peers) != before
            pause = REFRESH_SECONDS if changed else min(2 * pause, CALM_SECONDS)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], sharing: Sharing) -> None:
        self.sharing = sharing
        super().__init__(address, _PeerHandler)


class _PeerHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def do_GET(self) -> None:
        """Serve ``/chunks/…`` from the store, ``/keeper/…`` also from the server."""
        sharing = self.server.sharing
        parts = urlsplit(self.path).path.split("/")
        name = parts[-1].removesuffix(".zst")
        data = b""
        if len(parts) == 4 and len(name) == 64 and set(name) <= set("0123456789abcdef"):
            path = sharing.store.path(name)
            if not path.exists():
                self._fetch(name, asked=parts[1] == "keeper" and sharing.ready())
            with contextlib.suppress(OSError):
                data = path.read_bytes()
        self.send_response(http.client.OK if data else http.client.NOT_FOUND)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _fetch(self, name: str, *, asked: bool) -> None:
        """Have a chunk that is on its way here, or fetch it when that is what is asked.

        On a slow network this takes longer than anybody waits for a seat that is gone.
        """
        sharing = self.server.sharing

        def work() -> None:
            with contextlib.suppress(SourceError, VerificationError):
                if asked:
                    sharing.keep(Piece(0, 0, name, 0))
                else:
                    sharing.expect(name)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(SIGN_SECONDS)
        while thread.is_alive():
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            thread.join(SIGN_SECONDS)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""
