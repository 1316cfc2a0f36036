"""Web servers and proxies as schools have them."""

import base64
import contextlib
import email.utils
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from publishing import Room

from provision.distribution import source
from provision.distribution.source import MissingError, SilentError, SourceError, Web
from provision.errors import ApplianceError

Answer = tuple[int, Mapping[str, str], bytes]
PASSWORD = "ge/he:im@ß"  # noqa: S105 (what must not be shown)
USER = f"user:{'ge%2Fhe%3Aim%40%C3%9F'}"
LOGIN = f"Basic {base64.b64encode(f'user:{PASSWORD}'.encode()).decode()}"


@dataclass
class School(http.server.ThreadingHTTPServer):
    """A web server, or a proxy, that answers as a test wants and remembers who asked for what."""

    answer: Callable[[str, int], Answer]
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    daemon_threads = True

    def __post_init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: School

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        status, headers, body = self.server.answer(self.path, len(self.server.asked))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_CONNECT = do_PUT = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was paused, in place of a pause."""
    made: list[float] = []
    monkeypatch.setattr(source.time, "sleep", made.append)
    return made


@pytest.fixture
def school() -> Iterator[Callable[[Callable[[str, int], Answer]], School]]:
    made: list[School] = []

    def start(answer: Callable[[str, int], Answer]) -> School:
        made.append(School(answer))
        return made[-1]

    yield start
    for each in made:
        each.shutdown()
        each.server_close()


Start = Callable[[Callable[[str, int], Answer]], School]


def _plain(path: str, number: int) -> Answer:
    return 200, {}, path.encode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(school: Start, status: int) -> None:
    target = school(_plain)
    ways = {
        "/a": "/b",  # on the same server, to a path
        "/b": "c?x=%201",
        "/c?x=%201": f"http://other:word@127.0.0.1:{target.server_address[1]}/d",
    }
    server = school(lambda path, _: (status, {"Location": ways[path]}, b"moved"))
    assert Web(f"http://{USER}@{server.url[7:]}").get("a") == b"/d"
    assert [headers.get("Authorization") for _, headers in server.asked] == [LOGIN] * 3
    assert "Authorization" not in target.asked[0][1]  # another server


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher:x", "http://[x", "http://x:y/", ""],
)
def test_what_leads_nowhere_is_said(school: Start, location: str) -> None:
    server = school(lambda path, _: (302, {"Location": location}, b""))
    with pytest.raises(SourceError) as caught:
        Web(server.url).get("a")
    assert not isinstance(caught.value, SilentError)
    assert len(server.asked) == 1


def test_a_circle_of_redirects_ends(school: Start) -> None:
    server = school(lambda path, _: (302, {"Location": "/a"}, b""))
    with pytest.raises(SourceError, match="from one address to the next"):
        Web(server.url).get("a")
    assert len(server.asked) == source.MOVES + 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(school: Start, pauses: list[float], status: int) -> None:
    server = school(lambda path, number: (status if number < 3 else 200, {}, b"x"))
    assert Web(server.url).get("a") == b"x"
    assert pauses == [0.4, 0.8]


LATER = [
    ("7", 7.0),
    (" 0 ", 0.0),
    ("-5", 0.4),
    ("soon", 0.4),
    ("1.5", 0.4),
    ("9" * 5000, 0.4),
    ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ("Thu, 99 Foo 9999 00:00:00 GMT", 0.4),
]


@pytest.mark.parametrize(("said", "pause"), LATER, ids=range(len(LATER)))
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_heeded(
    school: Start, pauses: list[float], status: int, said: str, pause: float
) -> None:
    server = school(
        lambda path, number: (
            (status, {"Retry-After": said}, b"") if number == 1 else (200, {}, b"x")
        )
    )
    assert Web(server.url).get("a") == b"x"
    assert pauses == [pause]


def test_retry_after_may_be_a_date(school: Start, pauses: list[float]) -> None:
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    server = school(lambda path, number: (503 if number == 1 else 200, {"Retry-After": date}, b""))
    Web(server.url).get("a")
    assert 0 < pauses[0] <= 60


@pytest.mark.parametrize("said", ["3600", "99999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_who_asks_for_hours_is_not_waited_for(
    school: Start, pauses: list[float], said: str
) -> None:
    server = school(lambda path, _: (503, {"Retry-After": said}, b""))
    with pytest.raises(SourceError, match="status 503") as caught:
        Web(server.url).get("a")
    assert pauses == []
    assert "asks to come back in" in str(caught.value.hint)


@pytest.mark.parametrize("status", [400, 401, 403, 405, 407, 418, 429, 451, 500, 503, 599, 999])
def test_each_status_has_a_hint(school: Start, pauses: list[float], status: int) -> None:
    server = school(lambda path, _: (status, {}, b""))
    with pytest.raises(SourceError, match=f"status {status}") as caught:
        Web(f"http://{USER}@{server.url[7:]}/x").get("a")
    assert caught.value.hint
    assert "im@" not in f"{caught.value} {caught.value.hint}"
    assert {headers.get("Authorization") for _, headers in server.asked} == {LOGIN}


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_missing_is_asked_for_once(school: Start, pauses: list[float], status: int) -> None:
    server = school(lambda path, _: (status, {}, b""))
    with pytest.raises(MissingError):
        Web(server.url).get("a")
    assert (len(server.asked), pauses) == (1, [])


def test_the_environments_proxy_is_asked(
    school: Start, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    """The names exist nowhere: only a proxy can reach them."""
    proxy = school(
        lambda path, _: (
            (302, {"Location": "http://b.invalid/moved"}, b"")
            if path.endswith("/a")
            else (200, {}, path.encode())
        )
    )
    monkeypatch.setenv("http_proxy", f"http://{USER}@{proxy.url[7:]}")
    web = Web("http://who:are-you@a.invalid/f")
    assert web.get("a") == b"http://b.invalid/moved"
    first, second = (headers for _, headers in proxy.asked)
    assert first["Proxy-Authorization"] == second["Proxy-Authorization"] == LOGIN
    assert "Authorization" in first and "Authorization" not in second
    monkeypatch.setenv("no_proxy", "b.invalid")
    with pytest.raises(SilentError) as caught:  # the redirect leads past the proxy
        web.get("a")
    assert "im@" not in str(caught.value)


def test_a_proxy_that_refuses_a_tunnel(
    school: Start, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    proxy = school(lambda path, _: (407, {}, b""))
    monkeypatch.setenv("https_proxy", f"http://{USER}@{proxy.url[7:]}")
    with pytest.raises(SourceError) as caught:
        Web("https://a.invalid").get("a")
    assert "another user or password" in str(caught.value.hint)
    assert "im@" not in f"{caught.value} {caught.value.hint}"


def test_another_seat_is_not_behind_the_proxy(
    school: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = school(_plain)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert Web(seat.url, direct=True).get("a") == b"/a"


def test_endless_and_slow_answers_end(school: Start, pauses: list[float]) -> None:
    server = school(lambda path, _: (200, {"Content-Length": str(1 << 60)}, bytes(100_000)))
    with pytest.raises(SourceError, match="larger than such a published file"):
        Web(server.url).get("a", limit=50_000)
    with pytest.raises(SilentError, match="too slowly"):
        Web(server.url, patience=0, tries=1).get("a")


@pytest.mark.parametrize("length", ["100", "nonsense", "-1"])
def test_a_body_of_another_length(school: Start, pauses: list[float], length: str) -> None:
    """Short ones are asked for again; nothing ends in a traceback."""
    server = school(
        lambda path, _: (200, {"Content-Length": length, "Connection": "close"}, b"short")
    )
    with contextlib.suppress(SourceError):
        assert Web(server.url, timeout=2, tries=2).get("a") == b"short"


def test_pull_through_a_redirect_and_a_password(
    seat: Room, school: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole journey, and what the seat keeps and says of it."""
    seat.publisher.publish(1)
    root = seat.publisher.root

    def serve(path: str, number: int) -> Answer:
        if path.startswith("/301/"):
            return 301, {"Location": path.replace("/301/", "/200/", 1)}, b""
        file = root / path.removeprefix("/200/")
        return (200, {}, file.read_bytes()) if file.is_file() else (404, {}, b"")

    server = school(serve)
    pulled = seat.pull(f"http://{USER}@{server.url[7:]}/301")
    seat.assert_version(1)
    assert {headers.get("Authorization") for _, headers in server.asked} == {LOGIN}
    kept = b"".join(
        p.read_bytes() for p in seat.folders.rglob("*") if p.suffix in (".json", ".yml")
    )
    said = "".join(capsys.readouterr()) + json.dumps(str(pulled)) + kept.decode()
    assert "im@" not in said and "%40%C3" not in said
    with pytest.raises(ApplianceError) as caught:
        seat.pull(f"http://{USER}@127.0.0.1:1/x", channel_name="next")
    assert "im@" not in str(caught.value) and "%40" not in str(caught.value)
