"""Waiting for servers that tests start."""

import socket
import subprocess
import time
from pathlib import Path

SECONDS = 120


def until_it_listens(server: subprocess.Popen[bytes], port: int, log: Path | None = None) -> None:
    """Wait until a server takes connections on loopback.

    Args:
        server: just started; it must not end meanwhile.
        port: where.
        log: what it said, for the error.
    """
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            assert server.poll() is None, log.read_text() if log else "it ended"
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return
