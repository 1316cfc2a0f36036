import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provision.guest.nursery.fresh import Past, check, directory, early, noting
from provision.guest.nursery.wire import (
    LARGEST,
    ForkRefusedError,
    ForkRequest,
    receive_request,
    send_request,
    socket_of,
)

REQUEST = ForkRequest(("/opt/x/bin/python", "-m", "ipykernel_launcher"), {"HOME": "/h"}, 0o77)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def test_what_is_sent_is_received(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    send_request(ours, REQUEST, [0, 1, 2, 0])
    request, descriptors = receive_request(theirs)
    assert request == REQUEST
    assert len(set(descriptors)) == 4
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_request_that_is_too_long_is_not_sent(ends: tuple[socket.socket, socket.socket]) -> None:
    long = ForkRequest(REQUEST.argv, {"HOME": "x" * LARGEST}, 0)
    with pytest.raises(ForkRefusedError, match="131072 at most"):
        send_request(ends[0], long, [0, 1, 2, 0])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"version": 2}, "version 2"),
        ({"argv": "python"}, "not texts"),
        ({"argv": []}, "not texts"),
        ({"env": {"A": 1}}, "not texts"),
        ({"env": {"A": "\0"}}, "not texts"),
        ({"env": {"A=": "x"}}, "one with ="),
        ({"umask": 0o1000}, "umask"),
    ],
)
def test_what_is_no_request_is_refused(
    ends: tuple[socket.socket, socket.socket], changed: dict[str, object], why: str
) -> None:
    said = {"version": 1, "argv": ["p", "-m", "x"], "env": {"HOME": "/"}, "umask": 0} | changed
    socket.send_fds(ends[0], [json.dumps(said).encode()], [0, 1, 2, 0])
    with pytest.raises(ForkRefusedError, match=why):
        receive_request(ends[1])


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("/opt/sage-10.8/bin/python", "sage-10.8"),
        ("/opt/notebook/bin/python3", "notebook"),
        ("/opt/notebook/bin/../../x/bin/python", "x"),
        ("/usr/bin/python3", None),
        ("/opt/notebook/bin/jupyterhub-singleuser", "notebook"),
        ("/opt/notebook/share/python", None),
        ("python", None),
    ],
)
def test_an_environment_has_a_nursery(program: str, name: str | None) -> None:
    assert socket_of(program, Path("/n")) == (name and Path("/n", name))


def test_what_would_start_otherwise_is_not_forked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    binary = tmp_path / "bin"
    binary.mkdir()
    python = binary / "python"
    python.write_bytes(b"\x7fELF")
    monkeypatch.setattr("sys.executable", str(python))
    server = binary / "server"
    server.write_text(f"#!{python}\nprint()\n")
    foreign = binary / "foreign"
    foreign.write_text("#!/usr/bin/python3\nprint()\n")
    flagged = binary / "flagged"
    flagged.write_text(f"#!{python} -I\nprint()\n")
    before = Past(
        home="/n",
        early={"SAGE_X": "1"},
        added={},
        homes=(),
        pids=(),
        place=directory(sys.prefix),
        read=frozenset(["JUPYTERHUB_SERVICE_PREFIX"]),
    )
    env = {"HOME": "/h", "SAGE_X": "1", "PATH": "/bin"}
    kernel = (str(python), "-m", "ipykernel_launcher")
    assert early(env) == before.early
    for argv in (kernel, (str(server), "--port=1")):
        check(ForkRequest(argv, env, 0), before)
    for argv, variables in (
        (("/opt/y/bin/python", "-m", "x"), env),
        ((str(python), "-c", "x"), env),
        ((str(foreign),), env),
        ((str(flagged),), env),
        ((str(binary / "missing"),), env),
        (kernel, {"PATH": "/bin", "SAGE_X": "1"}),
        (kernel, env | {"LD_PRELOAD": "x"}),
        (kernel, env | {"JUPYTERHUB_SERVICE_PREFIX": "/user/emmy/"}),
        (kernel, {"HOME": "/h"}),
    ):
        with pytest.raises((ForkRefusedError, FileNotFoundError)):
            check(ForkRequest(argv, variables, 0), before)
    with pytest.raises(ForkRefusedError, match="another day"):  # shown in place of ours
        check(ForkRequest(kernel, env, 0), replace(before, place=directory(binary)))


def test_what_is_looked_for_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", "/c")
    with noting() as read:
        assert os.environ["JUPYTER_CONFIG_DIR"] == os.getenv("JUPYTER_CONFIG_DIR") == "/c"
        assert os.environ.get("JUPYTERHUB_USER") is None
        assert "JUPYTERHUB_HOST" not in os.environ
    assert {"JUPYTER_CONFIG_DIR", "JUPYTERHUB_USER", "JUPYTERHUB_HOST"} <= read
    assert os.environ.get("JUPYTERHUB_LATER") is None
    assert "JUPYTERHUB_LATER" not in read
