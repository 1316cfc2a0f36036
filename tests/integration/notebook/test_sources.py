"""Sage from elsewhere than PyPI: a classic tarball, and Debian's own package."""

import hashlib
import http.server
import io
import shutil
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from guest import HERE, Guest, booted, make_base, notebook_guest
from student import RefusedError, Student

from provision.build import places
from provision.build.artefacts import LAYER
from provision.build.build import request
from provision.build.playbook import run_playbook
from provision.config import Config
from provision.errors import ProvisioningError
from provision.jeos.archive import SourceLine

# What a classic Sage directory has at its top: a program ``sage`` that runs its own Python.
CLASSIC = """#!/bin/sh
case $1 in
--version) echo 'SageMath version 9.9' ;;
--python) shift; [ "$2" = sage.repl.ipython_kernel ] && shift 2 &&
    exec /opt/notebook/bin/python -m ipykernel_launcher "$@" ;;
esac
"""


def _tarball(path: Path) -> str:
    """Write a tarball in the classic layout; return its checksum."""
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("sage-9.9/sage")
        member.mode, member.size, member.uid = 0o755, len(CLASSIC), 1234
        archive.addfile(member, io.BytesIO(CLASSIC.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _install(guest: Guest, log: Path, **sage: str) -> None:
    told = {**request(Config()).variables(), "sage_source": "tarball", "sage_version": "9.9"}
    assert guest.endpoint
    run_playbook(HERE / "sage.yml", guest.endpoint, told | sage, log=log)


@pytest.fixture
def nothing(guest: Guest) -> Iterator[None]:
    yield
    guest.run("rm -rf /opt/sage-* /usr/local/bin/sage /usr/local/share/jupyter/kernels/sagemath*")
    guest.run("pkill -x ssh || true")


@contextmanager
def _served(directory: Path) -> Iterator[int]:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_tarball_of_this_host(guest: Guest, tmp_path: Path, nothing: None) -> None:
    _tarball(tmp_path / "sage.tar.gz")
    _install(guest, tmp_path / "log", sage_path=str(tmp_path / "sage.tar.gz"))
    assert guest.run("sage --version") == "SageMath version 9.9\n"
    assert guest.run("readlink /opt/sage-current").strip() == "/opt/sage-9.9"
    assert guest.run("stat -c %U /opt/sage-9.9/sage").strip() == "root"
    student = Student(guest.url, "classic").sign_in().start()
    assert {"sagemath", "sagemath-9.9"} <= set(student.server("GET", "kernelspecs")["kernelspecs"])
    assert student.kernel("sagemath").run("6 * 7") == "42"
    assert student.kernel("sagemath-9.9").run("6 * 7") == "42"


def test_a_tarball_from_the_web(guest: Guest, tmp_path: Path, nothing: None) -> None:
    digest = _tarball(tmp_path / "sage.tar.gz")
    gateway = guest.gateway()
    with _served(tmp_path) as port:  # this host's loopback is the guest's gateway
        url = f"http://{gateway}:{port}/sage.tar.gz"
        with pytest.raises(ProvisioningError, match=r"(?i)checksum"):
            _install(guest, tmp_path / "log", sage_url=url, sage_sha256="0" * 64)
        assert guest.run("ls /opt/sage-9.9/sage 2> /dev/null || true") == ""
        _install(guest, tmp_path / "log", sage_url=url, sage_sha256=digest)
    assert guest.run("sage --version") == "SageMath version 9.9\n"


@dataclass(frozen=True)
class _However(SourceLine):
    def line(self, keyring: Path | str | None = None) -> str:
        return super().line(keyring).replace("[", "[check-valid-until=no ", 1)


def _however_old(source: SourceLine) -> SourceLine:
    return _However(source.uri, source.suite, source.components, source.keyring)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_debians_own_package(tmp_path: Path) -> None:
    """In sid, in a student's session: trixie has none. A mirror's sid may be weeks old."""
    wanted = request(Config.model_validate({"suite": "sid", "sage": {"source": "debian"}}))
    wanted = replace(wanted, sources=tuple(map(_however_old, wanted.sources)))
    base = places.cache() / "tests" / "base-sid"
    log = tmp_path / "log"
    shutil.rmtree(base, ignore_errors=True)
    try:
        make_base(wanted, base, log=log)
        layers = [base / LAYER, base / "installed"]
        (layers[0] / "etc/apt/apt.conf.d/99old").write_text('Acquire::Check-Valid-Until "no";\n')
        with booted(layers[:1], layers[1], forwards={}, log=log) as (endpoint, _):
            for playbook in ("install.yml", "sage.yml"):
                variables = {**wanted.variables(), "building": True}
                run_playbook(HERE / playbook, endpoint, variables, log=log)
        variables = {"pool_accounts": ["nb1"], "notebook_accounts": True}
        with notebook_guest(layers, tmp_path, variables) as guest:
            version = guest.run(
                "dpkg-query --show --showformat='${source:Upstream-Version}' sagemath"
            )
            try:
                sage = Student(guest.url, "debbie").sign_in().start(240).kernel("sagemath")
            except RefusedError as error:
                told = "journalctl -b --no-pager -o cat -t sshd-session -t sshd -t notebook-account"
                error.add_note(
                    guest.run(
                        f"{told} -u notebook --namespace=+sessions -t notebook-debbie | tail -60"
                    )
                )
                raise
            assert sage.run("factor(2^67 - 1)", 600) == "193707721 * 761838257287"
            assert "-x*cos(x) + sin(x)" in sage.run("integrate(x * sin(x), x)", 600)
            assert sage.run("gap('Size(SymmetricGroup(5))')", 600) == "120"
            assert "iVBOR" in sage.run("plot(sin, 0, 1)", 600)
            assert "42" in sage.shell("sage -c 'print(6 * 7)'", 600)  # in a terminal, too
            told = sage.run(f"import sage.version as v; v.version.startswith('{version}')", 60)
            assert told == "True"
    finally:
        shutil.rmtree(base, ignore_errors=True)
