"""What a student finds at first, and files that come with odd names or are far too large."""

import base64
import http.client
import io
import json
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest
from guest import Guest
from student import RefusedError, Student


@pytest.fixture(scope="module")
def gauss(guest: Guest) -> Iterator[Student]:
    """A student on the first day."""
    student = Student(guest.url, "gauss").sign_in().start()
    yield student
    student.stop()


def put(student: Student, name: str, content: bytes, **more: int) -> None:
    """Upload as the page does."""
    data = {"type": "file", "format": "base64", "content": base64.b64encode(content).decode()}
    student.server("PUT", f"contents/{quote(name, safe='')}", {**data, **more})


def test_the_first_notebook_is_there_and_runs(gauss: Student) -> None:
    notebook = gauss.server("GET", "contents/First%20steps.ipynb")["content"]
    kernel = gauss.kernel(notebook["metadata"]["kernelspec"]["name"])
    shown = [kernel.run(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert shown[:2] == [str(2**101 - 1), "385"]
    left = [c["source"] for c in notebook["cells"] if c["cell_type"] == "code"][2]
    deadline = time.monotonic() + 60
    while "'memory'" not in kernel.run(left):  # counted first some seconds after the start
        assert time.monotonic() < deadline, shown[2]
        time.sleep(1)
    text = "".join(c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown")
    for word in ("Keyboard", "What is left", "Upload".lower(), "hand-in", "no internet", "missing"):
        assert word in text


def test_names_are_kept_or_refused_and_lead_nowhere(gauss: Student) -> None:
    for name in ("🧮 Übung.txt", "two\nlines.txt", "-rf", "a'b\"c;$(id).txt"):
        put(gauss, name, b"kept")
        assert gauss.server("GET", f"contents/{quote(name)}")["content"] == "kept"
    names = [each["name"] for each in gauss.server("GET", "contents")["content"]]
    assert {"🧮 Übung.txt", "two\nlines.txt", "-rf"} <= set(names)
    for name in ("../outside.txt", "a/../../outside.txt", "..", "/etc/outside", "nul\0.txt"):
        with pytest.raises(RefusedError):
            put(gauss, name, b"no")
    kernel = gauss.kernel()
    assert "outside" not in kernel.shell("ls -R ..")


def test_far_too_much_is_refused_early_and_what_does_not_fit_clearly(gauss: Student) -> None:
    # Ten gigabytes in one request: refused by its announcement, not by its bytes.
    where = urlsplit(gauss.url)
    assert where.hostname is not None
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    connection.putrequest("PUT", "/user/gauss/api/contents/large.bin")
    connection.putheader("Authorization", f"token {gauss.token}")
    connection.putheader("Content-Length", str(10 << 30))
    connection.endheaders(b"{" + b" " * 65536)
    answer = connection.getresponse()
    assert 400 <= answer.status < 500 or answer.status == 503, answer.read()
    connection.close()
    # In pieces, as the page sends large files: the piece that passes the limit says so.
    gauss.kernel().shell("truncate -s 104857000 piece.bin")
    with pytest.raises(RefusedError, match="too large"):
        put(gauss, "piece.bin", b"x" * 4096, chunk=2)
    usage = json.loads(gauss.request("GET", "/user/gauss/api/appliance/usage"))
    assert usage["file"] == 100 << 20  # by this the page refuses before it sends


def test_a_folder_comes_as_an_archive(gauss: Student) -> None:
    gauss.kernel().shell("mkdir -p thesis/1; echo proof > thesis/1/é.txt")
    where = "/user/gauss/directories/thesis?archiveToken=x&archiveFormat=tgz"
    request = urllib.request.Request(gauss.url + where)
    request.add_header("Authorization", f"token {gauss.token}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        sent = io.BytesIO(answer.read())
    with tarfile.open(fileobj=sent) as archive:
        proof = archive.extractfile("thesis/1/é.txt")
        assert proof is not None
        assert proof.read() == b"proof\n"
