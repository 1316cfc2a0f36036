"""SSH to a guest: wait until it lets us in, pin its host key at first contact, run commands."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import paramiko

from provision.errors import GuestError
from provision.machine import SshEndpoint

POLL_SECONDS = 0.05
FIRST_PATIENCE_SECONDS = 1.0  # a NAT that swallowed our SYN while the guest booted: ask again soon
MOST_PATIENCE_SECONDS = 15.0  # an emulated guest needs seconds for its greeting
REFUSAL_SECONDS = 20.0

logging.getLogger("paramiko").addHandler(logging.NullHandler())


class NoAnswerError(GuestError):
    """Nothing speaks SSH at the endpoint."""


class KeyRefusedError(GuestError):
    """The guest's SSH server answers, but does not let us in with our key."""


class HostKeyChangedError(GuestError):
    """The guest's host key is not the one that was pinned at first contact."""


@dataclass(frozen=True)
class CommandResult:
    """What a command did in the guest.

    Args:
        status: its exit status; -1 when the connection ended first or a signal ended it.
        stdout: all that it printed.
        stderr: all that it complained.
    """

    status: int
    stdout: str
    stderr: str


class _PinAtFirstContact(paramiko.MissingHostKeyPolicy):
    """Accept the host key of a guest that was never met, and write it down."""

    def __init__(self, endpoint: SshEndpoint) -> None:
        self._file = endpoint.known_hosts

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as file:
            file.write(f"{hostname} {key.get_name()} {key.get_base64()}\n")


def connect(
    endpoint: SshEndpoint, *, patience: float = MOST_PATIENCE_SECONDS
) -> paramiko.SSHClient:
    """Sign in to a guest; the caller closes the client.

    Args:
        endpoint: where and how; its host key is pinned in ``known_hosts`` at first contact.
        patience: seconds to wait for the server's greeting.

    Raises:
        NoAnswerError: nothing answers, or what answers does not speak SSH.
        KeyRefusedError: the server does not accept our key.
        HostKeyChangedError: the host key is not the pinned one.
        GuestError: our own key cannot be read.
    """
    key = _load_key(endpoint)
    connection = _open_connection(endpoint, patience)
    client = paramiko.SSHClient()
    try:
        if endpoint.known_hosts.exists():
            client.load_host_keys(str(endpoint.known_hosts))
        client.set_missing_host_key_policy(_PinAtFirstContact(endpoint))
        client.connect(
            endpoint.host,
            endpoint.port,
            endpoint.user,
            pkey=key,
            sock=connection,
            allow_agent=False,
            look_for_keys=False,
            banner_timeout=MOST_PATIENCE_SECONDS,
            auth_timeout=2 * MOST_PATIENCE_SECONDS,
        )
    except BaseException as error:
        told = _banner(client)
        client.close()
        connection.close()
        raise _translate(endpoint, error, told) from error
    return client


def wait_for_ssh(
    endpoint: SshEndpoint,
    *,
    timeout: float,
    alive: Callable[[], None] | None = None,
    refusal: float = REFUSAL_SECONDS,
) -> None:
    """Return once the guest lets us in over SSH.

    Args:
        endpoint: where and how.
        timeout: seconds until we give up.
        alive: called at every attempt; raises when the machine has died, which ends the wait.
        refusal: seconds for which a server may refuse our key before we believe it: the account
            may be made late in the boot. A server that says that it is still booting is given
            the whole ``timeout``.

    Raises:
        NoAnswerError: no SSH server answered in time.
        KeyRefusedError: it answered and kept refusing our key.
        HostKeyChangedError: its host key is not the pinned one; at once.
    """
    deadline = time.monotonic() + timeout
    patience = FIRST_PATIENCE_SECONDS
    refused_since: float | None = None
    while True:
        if alive:
            alive()
        try:
            connect(endpoint, patience=min(patience, max(deadline - time.monotonic(), 0.1))).close()
        except NoAnswerError as error:
            refused_since = None
            if time.monotonic() > deadline:
                raise NoAnswerError(f"{error} (waited {timeout:g} s)", hint=error.hint) from error
            if isinstance(error.__cause__, TimeoutError):
                patience = min(2 * patience, MOST_PATIENCE_SECONDS)
        except _StillBootingError as error:
            if time.monotonic() > deadline:
                raise KeyRefusedError(str(error), hint=error.hint) from error
        except KeyRefusedError:
            now = time.monotonic()
            refused_since = refused_since or now
            if now > deadline or now - refused_since > refusal:
                raise
        else:
            return
        time.sleep(POLL_SECONDS)


def execute(
    client: paramiko.SSHClient,
    command: str,
    *,
    stdin: bytes = b"",
    timeout: float | None = None,
) -> CommandResult:
    """Run a shell command in the guest and wait for its end.

    Args:
        client: from `connect`.
        command: for the account's login shell; quote what is not yours with shlex.
        stdin: bytes for its standard input, then end of file.
        timeout: seconds without any output or input until we give up; None: for ever.

    Raises:
        NoAnswerError: the connection broke, or time ran out.
    """
    try:
        feed, out, err = client.exec_command(command, timeout=timeout)
        complaints: list[bytes] = []

        def follow() -> None:
            with contextlib.suppress(OSError):
                complaints.append(err.read())

        reader = threading.Thread(target=follow, daemon=True)
        reader.start()
        with contextlib.suppress(OSError):  # a command may end without reading its input
            feed.write(stdin)
            feed.channel.shutdown_write()
        printed = out.read()
        reader.join()
        status = out.channel.recv_exit_status()
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise NoAnswerError(f"the connection broke while running {command!r}: {error}") from error
    return CommandResult(
        status, printed.decode(errors="replace"), b"".join(complaints).decode(errors="replace")
    )


class _StillBootingError(KeyRefusedError):
    """The server refuses everybody but root until the boot is over (pam_nologin)."""


def _load_key(endpoint: SshEndpoint) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(endpoint.key)
    except (OSError, ValueError, paramiko.SSHException) as error:
        raise GuestError(
            f"cannot read the private key {endpoint.key}: {error}",
            hint="give an unencrypted OpenSSH key that you may read",
        ) from error


def _open_connection(endpoint: SshEndpoint, patience: float) -> socket.socket:
    """Open a connection on which the server's greeting already waits to be read."""
    connection: socket.socket | None = None
    try:
        connection = socket.create_connection((endpoint.host, endpoint.port), timeout=patience)
        greeting = connection.recv(4, socket.MSG_PEEK)
        if not greeting:
            raise ConnectionResetError("closed without a word")
        if not b"SSH-".startswith(greeting):
            raise ConnectionError(f"speaks no SSH, but begins with {greeting!r}")
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, OSError):
            raise _no_answer(endpoint, error) from error
        raise
    return connection


def _no_answer(endpoint: SshEndpoint, error: BaseException) -> NoAnswerError:
    why = "no greeting in time" if isinstance(error, TimeoutError) else error
    return NoAnswerError(
        f"no SSH server answers on {endpoint.host} port {endpoint.port}: {why}",
        hint="see the guest's console: `appliance logs`",
    )


def _banner(client: paramiko.SSHClient) -> str:
    transport = client.get_transport()
    text = transport.get_banner() if transport else None
    return text.decode(errors="replace").strip() if text else ""


def _translate(endpoint: SshEndpoint, error: BaseException, told: str) -> BaseException:
    """Say in our terms what paramiko met; interruptions stay what they are."""
    where = f"{endpoint.host} port {endpoint.port}"
    if isinstance(error, paramiko.BadHostKeyException):
        return HostKeyChangedError(
            f"the host key of {where} is not the one in {endpoint.known_hosts}:"
            f" pinned {_fingerprint(error.expected_key)}, met {_fingerprint(error.key)}",
            hint=f"if the machine was made anew: rm {endpoint.known_hosts}",
        )
    if isinstance(error, paramiko.AuthenticationException):
        kind = _StillBootingError if "boot" in told.lower() else KeyRefusedError
        reason = f" ({told})" if told else ""
        return kind(
            f"{where} answers, but refuses the key {endpoint.key} for {endpoint.user}{reason}",
            hint=f"is the public half of {endpoint.key} among {endpoint.user}'s authorized keys?",
        )
    if isinstance(error, OSError | EOFError | paramiko.SSHException):
        return _no_answer(endpoint, error)
    return error


def _fingerprint(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.fingerprint}"
