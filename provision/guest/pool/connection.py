"""The one ssh process that is a session: how it is opened, and ports that it leads.

An account of this machine answers on loopback. One of another machine is reached through its
session's own ssh connection, so nothing of it crosses the network in the open: the ports are
added to the running connection (ssh's control socket) once the session has told them.
"""

import asyncio
import contextlib
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.guest.pool.certificate import key_id
from provision.guest.pool.leases import ANNOUNCE, Lease

PORT = 2200
KNOWN_HOSTS = Path("/etc/notebook/known_hosts")  # of the machines that lend accounts
LOOPBACK = frozenset({"localhost", "127.0.0.1"})


class ConnectionFailedError(Exception):
    """A session could not be opened; the message says why."""


@dataclass(frozen=True)
class Account:
    """An entry of the pool.

    Args:
        user: the account.
        host: its machine.
        port: of the pool's SSH server there.
    """

    user: str
    host: str
    port: int

    @property
    def local(self) -> bool:
        """Whether the account is on the hub's own machine."""
        return self.host in LOOPBACK


def account_of(entry: str) -> Account:
    """Read ``user@host`` or ``user@host:port``."""
    user, _, place = entry.partition("@")
    host, _, port = place.partition(":")
    return Account(user, host, int(port or PORT))


async def connect(
    entry: str, lease: int, request: Mapping[str, Any], *, key: str, state: Path
) -> subprocess.Popen[bytes]:
    """Open a session: one ssh process in a process group of its own.

    Args:
        entry: the leased account.
        lease: descriptor of the lease's locked file.
        request: what ``session`` reads; its ``student`` is who the session is for, its ``profile``,
            if any, what was chosen.
        key: the private key that signs sessions' certificates.
        state: directory of the hub's own files.

    Raises:
        ConnectionFailedError: the certificate could not be signed.
    """
    account = account_of(entry)
    certificate = await _certificate(
        account.user,
        key_id(request["student"], request.get("profile", "")),
        key=key,
        state=state,
    )
    control = _control(state, entry)
    control.parent.mkdir(mode=0o700, exist_ok=True)
    control.unlink(missing_ok=True)
    with tempfile.TemporaryFile() as stdin:
        stdin.write(json.dumps(request).encode())
        stdin.seek(0)
        return subprocess.Popen(
            [
                *ANNOUNCE,
                *("/usr/bin/ssh", "-F", "none", "-T", "-x", "-a"),
                *("-i", key, "-o", f"CertificateFile={certificate}"),
                *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
                *("-o", "StrictHostKeyChecking=yes", "-o", f"HostKeyAlias={account.host}"),
                *("-o", f"UserKnownHostsFile={KNOWN_HOSTS}"),
                *("-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"),
                # The end of another machine, or of the way there, is the session's end.
                *(() if account.local else ("-o", "ServerAliveInterval=15")),
                *("-o", "ControlMaster=yes", "-o", f"ControlPath={control}"),
                *("-p", str(account.port)),
                f"{account.user}@{account.host}",
            ],
            stdin=stdin,
            stdout=lease,
            stderr=lease,
            start_new_session=True,
            cwd="/",
        )


async def lead(state: Path, entry: str, *forwards: str) -> None:
    """Add ports to a session's connection.

    Args:
        state: as given to ``connect``.
        entry: the leased account.
        forwards: options of ssh: ``-L`` and ``-R`` with what follows them.

    Raises:
        ConnectionFailedError: a port is taken, or the connection has ended.
    """
    command = ("/usr/bin/ssh", "-F", "none", "-S", str(_control(state, entry)), "-O", "forward")
    await _run(f"ports of {entry}", *command, *forwards, "session")


def greeting(lease: Lease) -> dict[str, Any] | None:
    """What the account's side has told of itself, or None so far."""
    for line in lease.said:
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and isinstance(said.get("port"), int):
                return said
    return None


async def answers(port: int) -> bool:
    """Whether something listens on a port of loopback."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


def local_ports(entries: Sequence[str], entry: str) -> range:
    """Ports of the hub's machine that lead to an account; no session may listen there."""
    first = 28000 + entries.index(entry) * 5
    return range(first, first + 5)


async def _certificate(user: str, identity: str, *, key: str, state: Path) -> Path:
    """Sign that the student may open one session on the account, now."""
    directory = state / "certificates"
    directory.mkdir(mode=0o700, exist_ok=True)
    public = directory / f"{user}.pub"
    public.write_bytes(Path(f"{key}.pub").read_bytes())
    command = ("ssh-keygen", "-q", "-s", key, "-I", identity, "-n", user, "-V", "-5m:+5m")
    options = ("-O", "clear", "-O", "permit-port-forwarding", str(public))
    await _run("certificate", *command, *options)
    return directory / f"{user}-cert.pub"


async def _run(what: str, *argv: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, error = await process.communicate()
    if process.returncode:
        raise ConnectionFailedError(f"{what}: {error.decode().strip()}")


def _control(state: Path, entry: str) -> Path:
    return state / "control" / entry
