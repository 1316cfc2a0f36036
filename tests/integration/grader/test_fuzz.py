"""Noise: random tars and random requests; the service neither falls nor forgets."""

import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.grader.conftest import USER, Grader, multipart, script

SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
names = st.one_of(
    st.text(min_size=1, max_size=30).filter(lambda name: "\0" not in name),
    st.sampled_from(["tmc-run", "..", "/", "a/../../b", "/etc/passwd", "x" * 300, "tmc-run/x"]),
)
kinds = st.sampled_from(
    [
        *(tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE),
        *(tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.CONTTYPE),
    ]
)


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    """A tar of odd members, then perhaps damaged."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", errors="surrogateescape") as archive:
        for _ in range(draw(st.integers(0, 6))):
            member = tarfile.TarInfo(draw(names))
            member.type, member.linkname = draw(kinds), draw(names)
            member.mode = draw(st.integers(0, 0o7777))
            member.mtime = draw(st.integers(0, 1 << 40))
            data = draw(st.binary(max_size=600)) if member.isreg() else b""
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    data = bytearray(buffer.getvalue())
    for _ in range(draw(st.integers(0, 8))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


@pytest.fixture(scope="module")
def service(images: Path) -> Iterator[Grader]:
    state = Path("/var/tmp") / f"appliance-grader-fuzz-{os.getpid()}"
    state.mkdir()
    if os.getuid() == 0:
        os.chown(state, USER, USER)
    limits = {"clock": 3.0, "cpu": 2.0, "memory": 64 << 20, "disk": 16 << 20}
    running = Grader(state, images, {"queue": 1000, "per_client": 1000}, limits).start()
    yield running
    assert running.client.result(script("echo fine"))["stdout"] == "fine\n"
    assert running.processes() == []
    assert list((state / "uploads").iterdir()) == []
    assert "Traceback" not in (state / "log").read_text()
    running.stop(kill=True)
    shutil.rmtree(state)


@SETTINGS
@given(tars())
def test_any_tar_has_a_result(service: Grader, archive: bytes) -> None:
    result = service.client.result(archive)
    assert result["status"] in ("finished", "failed", "timeout")
    assert result["exit_code"] is None or 0 <= result["exit_code"] <= 255


@SETTINGS
@given(st.binary(max_size=2000), st.text(max_size=60), st.integers(0, 400))
def test_any_request_has_an_answer(service: Grader, noise: bytes, kind: str, cut: int) -> None:
    body, proper = multipart(noise, {"notify": kind, "token": kind})
    for content in (proper, "multipart/form-data", "multipart/mixed; boundary=x"):
        answer = service.client.request("/", body[:cut] or b"x", {"Content-Type": content})
        assert answer.status in (200, 400), answer


def test_the_description_is_true(service: Grader) -> None:
    """Schemathesis reads our own OpenAPI description and looks for answers that it denies."""
    schema = schemathesis.openapi.from_url(f"{service.client.url}/openapi.json")
    for operation in schema.get_all_operations():
        found = operation.ok()
        _every_answer_is_described(found, {*found.definition.raw["responses"], "404"})


def _every_answer_is_described(operation: Any, described: set[str]) -> None:
    @settings(parent=SETTINGS, max_examples=15)
    @given(operation.as_strategy())
    def check(case: Any) -> None:
        case.query = {}
        answer = case.call(timeout=10)
        assert str(answer.status_code) in described, (case, answer.text)
        assert answer.status_code < 500, answer.text

    check()
