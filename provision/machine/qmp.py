"""QEMU's machine protocol: one JSON command at a time over a connected socket."""

import json
import socket
from typing import Any

from provision.errors import HypervisorError

ANSWER_SECONDS = 60  # saving a machine's state is one command


class Monitor:
    """The control connection of one QEMU process.

    Args:
        connection: the connected stream socket; closed by `close`.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(ANSWER_SECONDS)
        self._connection = connection
        self._lines = connection.makefile("rb")

    def negotiate(self) -> None:
        """Read QEMU's greeting and leave its negotiation mode; the first call to make."""
        self._read()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> Any:
        """Run a command and return its result; events on the way are dropped.

        Raises:
            HypervisorError: QEMU refused it, or is gone.
        """
        request = {"execute": command, "arguments": arguments}
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise HypervisorError(f"QEMU is gone: {error}") from error
        while True:
            answer = self._read()
            if "error" in answer:
                raise HypervisorError(f"QEMU refused {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def console(self, line: str) -> str:
        """Run a line of the human monitor, for the few things that only it can do."""
        answer: str = self.execute("human-monitor-command", **{"command-line": line})
        return answer

    def close(self) -> None:
        """Close the connection; QEMU goes on."""
        self._lines.close()
        self._connection.close()

    def _read(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except OSError as error:
            raise HypervisorError(f"QEMU does not answer: {error}") from error
        if not line:
            raise HypervisorError("QEMU closed its monitor")
        message: dict[str, Any] = json.loads(line)
        return message
