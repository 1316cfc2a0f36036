"""The administrator's system password, checked by PAM.

The hub has no right to that (NoNewPrivileges, and it is not root), so it asks a service that the
system's manager starts for one question at a time: a password in, yes or no out, always for the
administrator's account.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

SOCKET = Path("/run/notebook/pam.socket")
SERVICE = "notebook-admin"
LONGEST = 1024
SECONDS = 15


async def opens(password: str, place: Path = SOCKET) -> bool:
    """Whether the system takes the password for the administrator; no when it cannot be asked."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_unix_connection(place)
            with contextlib.closing(writer):
                writer.write(password.encode()[:LONGEST])
                writer.write_eof()
                return await reader.read(3) == b"yes"
    return False


def main() -> None:
    """Answer one question on standard input and output; the argument is the administrator."""
    import pamela  # type: ignore[import-untyped]  # noqa: PLC0415 - the hub itself asks no PAM

    password = sys.stdin.buffer.read(LONGEST).decode(errors="replace")
    try:
        pamela.authenticate(sys.argv[1], password, service=SERVICE)
        pamela.check_account(sys.argv[1], service=SERVICE)
        sys.stdout.write("yes")
    except pamela.PAMError:
        sys.stdout.write("no")


if __name__ == "__main__":
    main()
