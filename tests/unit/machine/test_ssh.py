"""Waiting for SSH, pinning and running commands, against a server in a thread of ours."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import paramiko
import pytest

from provision.errors import GuestError, HypervisorError
from provision.machine import SshEndpoint
from provision.machine.ssh import (
    HostKeyChangedError,
    KeyRefusedError,
    NoAnswerError,
    connect,
    execute,
    wait_for_ssh,
)


class _Session(paramiko.ServerInterface):
    def __init__(self, server: "Server") -> None:
        self._server = server

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._server.attempts += 1
        if self._server.attempts <= self._server.refusals:
            return paramiko.AUTH_FAILED
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def get_banner(self) -> tuple[str | None, str | None]:
        return (self._server.banner, "en") if self._server.banner else (None, None)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def run() -> None:
            fed = channel.makefile("rb").read()
            channel.sendall_stderr(b"e" * 3_000_000)  # more than a window: both must be read
            channel.sendall(command + b"|" + fed)
            channel.send_exit_status(3)
            channel.close()

        threading.Thread(target=run, daemon=True).start()
        return True


@dataclass
class Server:
    """An SSH server on loopback that refuses the first ``refusals`` sign-ins."""

    refusals: int = 0
    banner: str | None = None
    key: paramiko.PKey = field(default_factory=paramiko.ECDSAKey.generate)
    attempts: int = 0
    listener: socket.socket = field(default_factory=socket.socket)

    def listen(self, port: int = 0) -> int:
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()
        return int(self.listener.getsockname()[1])

    def _serve(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            while True:
                transport = paramiko.Transport(self.listener.accept()[0])
                transport.add_server_key(self.key)
                with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                    transport.start_server(server=_Session(self))


@pytest.fixture
def endpoint(tmp_path: Path) -> SshEndpoint:
    paramiko.ECDSAKey.generate().write_private_key_file(str(tmp_path / "key"))
    return SshEndpoint("127.0.0.1", 0, "root", tmp_path / "key", tmp_path / "pins" / "known_hosts")


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.listener.close()


def test_waits_until_the_server_is_there(endpoint: SshEndpoint, server: Server) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    threading.Timer(0.4, server.listen, [port]).start()
    begun = time.monotonic()
    wait_for_ssh(replace(endpoint, port=port), timeout=10)
    assert time.monotonic() - begun > 0.3


def test_a_nat_that_accepts_and_then_hangs_up_is_asked_again(endpoint: SshEndpoint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nat:

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    nat.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(NoAnswerError, match=r"closed without a word.*waited [\d.]+ s"):
            wait_for_ssh(replace(endpoint, port=nat.getsockname()[1]), timeout=0.3)
        nat.shutdown(socket.SHUT_RDWR)


def test_another_service_on_the_port_is_named(endpoint: SshEndpoint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    web.accept()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(NoAnswerError, match="speaks no SSH, but begins with b'HTTP'"):
            connect(replace(endpoint, port=web.getsockname()[1]))
        web.shutdown(socket.SHUT_RDWR)


def test_a_refused_key_is_told_from_a_silent_guest(endpoint: SshEndpoint, server: Server) -> None:
    server.refusals = 10_000
    with pytest.raises(KeyRefusedError, match="answers, but refuses the key") as caught:
        wait_for_ssh(replace(endpoint, port=server.listen()), timeout=30, refusal=0.3)
    assert "authorized keys" in str(caught.value.hint)


def test_a_key_that_is_let_in_late_in_the_boot(endpoint: SshEndpoint, server: Server) -> None:
    server.refusals = 2
    wait_for_ssh(replace(endpoint, port=server.listen()), timeout=30)


def test_a_guest_that_says_it_is_booting_gets_the_whole_time(
    endpoint: SshEndpoint, server: Server
) -> None:
    server.refusals, server.banner = 4, "System is booting up. Unprivileged users …"
    wait_for_ssh(replace(endpoint, port=server.listen()), timeout=30, refusal=0)


def test_the_host_key_is_pinned_at_first_contact(endpoint: SshEndpoint, server: Server) -> None:
    port = server.listen()
    endpoint = replace(endpoint, port=port)
    connect(endpoint).close()
    connect(endpoint).close()
    assert endpoint.known_hosts.read_text().count("\n") == 1
    assert endpoint.known_hosts.read_text().startswith(f"[127.0.0.1]:{port} ecdsa-")
    server.key = paramiko.ECDSAKey.generate()
    with pytest.raises(HostKeyChangedError, match=r"pinned .*SHA256:.* met .*SHA256:") as caught:
        wait_for_ssh(endpoint, timeout=30)
    assert str(endpoint.known_hosts) in str(caught.value.hint)


def test_a_dead_machine_ends_the_wait(endpoint: SshEndpoint) -> None:
    def alive() -> None:
        raise HypervisorError("the VM crashed")

    with pytest.raises(HypervisorError, match="crashed"):
        wait_for_ssh(endpoint, timeout=30, alive=alive)


def test_an_unreadable_key_is_our_own_fault(endpoint: SshEndpoint) -> None:
    endpoint.key.write_text("nonsense")
    with pytest.raises(GuestError, match="cannot read the private key"):
        wait_for_ssh(endpoint, timeout=30)


def test_execute_returns_status_and_both_streams(endpoint: SshEndpoint, server: Server) -> None:
    client = connect(replace(endpoint, port=server.listen()))
    with contextlib.closing(client):
        result = execute(client, "say", stdin=b"hello")
    assert (result.status, result.stdout, len(result.stderr)) == (3, "say|hello", 3_000_000)


def test_execute_tells_that_the_connection_broke(endpoint: SshEndpoint, server: Server) -> None:
    client = connect(replace(endpoint, port=server.listen()))
    transport = client.get_transport()
    assert transport
    transport.close()
    with pytest.raises(NoAnswerError, match="connection broke while running 'say'"):
        execute(client, "say")
