"""Names of downloads, and what does not come."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.guest.hub.download import DownloadError, download, name_of


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://school.test/a/lesson.ipynb", "lesson.ipynb"),
        ("https://school.test/a/lesson.ipynb?raw=1#top", "lesson.ipynb"),
        ("https://school.test/%C3%9Cbung%201.csv", "Übung 1.csv"),
        ("https://school.test", "download"),
        ("https://school.test/a/..", "download"),
        ("https://school.test/%2e%2e%2fetc", "download"),
        ("https://school.test/" + "x" * 300, "download"),
        ("https://school.test/folder/", "folder"),
    ],
)
def test_an_address_names_its_file(url: str, name: str) -> None:
    assert name_of(url) == name


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "ftp://x/y", "lesson", "http://", "//x"])
def test_what_is_no_address_of_the_web(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="is not an address"):
        download(url, tmp_path)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"/gone": 404, "/file": 302}.get(self.path, 200)
        self.send_response(status)
        if self.path == "/file":
            self.send_header("Location", "file:///etc/passwd")
        size = {"/short": 10, "/large": 1 << 60}.get(self.path, 3)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(b"abc")

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_nothing_is_replaced(place: str, tmp_path: Path) -> None:
    names = [download(f"{place}/ä a.tar", tmp_path).name for _ in range(3)]
    names.append(download(f"{place}/a", tmp_path, ".rc").name)
    names.append(download(f"{place}/a", tmp_path, ".rc").name)
    assert names == ["ä a.tar", "ä a (2).tar", "ä a (3).tar", ".rc", ".rc (2)"]
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert (tmp_path / "ä a (2).tar").read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("path", "name", "why"),
    [
        ("/gone", "", "404"),
        ("/short", "", "too early"),
        ("/large", "", "enough left"),
        ("/file", "", "file"),
        ("/a", "../a", "not a name"),
        ("/a", "a\0b", "not a name"),
    ],
)
def test_what_does_not_come_leaves_nothing(
    place: str, tmp_path: Path, path: str, name: str, why: str
) -> None:
    with pytest.raises(DownloadError, match=why):
        download(place + path, tmp_path, name)
    assert list(tmp_path.iterdir()) == []
