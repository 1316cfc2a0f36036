"""What a session asks of a nursery, and what it is told.

One connection (``SOCK_SEQPACKET``) for each child, one message for the request. Who asked gives the
child up by closing it. At the other end nursery and child both have it: it is closed when the child
has ended, whatever becomes of the nursery.
"""

import array
import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PLACE = Path("/run/nursery")
VERSION = 1
LARGEST = 128 << 10  # bytes of a message
DESCRIPTORS = 4  # standard input, output, error, and the working directory


class ForkRefusedError(Exception):
    """Nothing is forked; the message says why."""


@dataclass(frozen=True)
class ForkRequest:
    """A program to fork: a kernel, or a session's server.

    Args:
        argv: its command, as it would be executed.
        env: its whole environment.
        umask: of the files that it makes.
        version: of this protocol.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    umask: int
    version: int = VERSION


def send_request(
    connection: socket.socket, request: ForkRequest, descriptors: Sequence[int]
) -> None:
    """Ask for a child.

    Args:
        connection: to a nursery.
        request: what to fork.
        descriptors: as in ``DESCRIPTORS``.

    Raises:
        ForkRefusedError: the request is longer than a message may be.
        OSError: nobody takes it.
    """
    message = json.dumps(asdict(request)).encode()
    if len(message) > LARGEST:
        raise ForkRefusedError(f"its request has {len(message)} bytes, {LARGEST} at most")
    socket.send_fds(connection, [message], list(descriptors))


def receive_request(connection: socket.socket) -> tuple[ForkRequest, list[int]]:
    """Read what a session asks.

    Returns:
        The request, and the descriptors that came with it.

    Raises:
        ForkRefusedError: it is not what ``send_request`` sends.
        OSError: nothing came in time.
    """
    size = array.array("i").itemsize
    message, ancillary, flags, _ = connection.recvmsg(
        LARGEST, socket.CMSG_SPACE(DESCRIPTORS * size)
    )
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) // size * size])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(descriptors) != DESCRIPTORS:
        raise ForkRefusedError("it is too long, or not four descriptors came with it")
    return _request(message), list(descriptors)


def _request(message: bytes) -> ForkRequest:
    try:
        read = json.loads(message)
        version, argv, env, umask = (read[name] for name in ("version", "argv", "env", "umask"))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ForkRefusedError("it is no request") from None
    if version != VERSION:
        raise ForkRefusedError(f"it is of version {version!r}, this is {VERSION}")
    words = [*argv, *env, *env.values()] if isinstance(argv, list) and isinstance(env, dict) else []
    if (
        not words
        or not argv
        or not all(isinstance(word, str) and "\0" not in word for word in words)
    ):
        raise ForkRefusedError("argv and env are not texts")
    if any(not name or "=" in name for name in env):
        raise ForkRefusedError("a variable has no name, or one with =")
    if not isinstance(umask, int) or not 0 <= umask <= 0o777:
        raise ForkRefusedError("umask is none")
    return ForkRequest(tuple(argv), env, umask)


def tell(connection: socket.socket, **said: Any) -> None:
    """Answer a session, if it still listens: a ``pid``, a ``status``, or why it is ``refused``."""
    with contextlib.suppress(OSError):
        connection.send(json.dumps(said).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def socket_of(program: str, place: Path = PLACE) -> Path | None:
    """Where the nursery of a program's environment would listen; only ``/opt/NAME`` have one."""
    match Path(os.path.normpath(program)).parts:
        case ("/", "opt", name, "bin", _):
            return place / name
    return None
