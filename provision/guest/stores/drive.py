"""Leave to use a student's Google Drive.

Google sends the student's browser back to 127.0.0.1, where rclone would be listening if it ran on
the student's own machine. It runs in the session, so the student copies the address at which the
browser ended, and we go there instead.
"""

import http.client
import os
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from provision.guest.stores.rclone import PATIENCE
from provision.guest.stores.remotes import StoreError

HOST, PORT = "127.0.0.1", 53682  # rclone's own
BEGIN_SECONDS, STUDENT_SECONDS = 30, 900
_LINK = re.compile(rf"http://{HOST}:{PORT}(/auth\?state=\S+)")
_TOKEN = re.compile(r"--->\s*(\{.*?\})\s*<---", re.DOTALL)


def token(config: Path, client: tuple[str, str] | None, ask: Callable[[str], str]) -> str:
    """Ask the student to allow it, in the browser.

    Args:
        config: rclone's.
        client: identifier and secret of the school's own OAuth client; None: rclone's.
        ask: shows the address to open and returns the one at which the browser ended.

    Returns:
        rclone's token.

    Raises:
        StoreError: it was not allowed, or did not work.
    """
    env = {**PATIENCE, **os.environ}
    if client:
        env |= {"RCLONE_DRIVE_CLIENT_ID": client[0], "RCLONE_DRIVE_CLIENT_SECRET": client[1]}
    argv = ["rclone", "--config", str(config), "authorize", "drive", "--auth-no-open-browser"]
    with subprocess.Popen(
        argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        late = threading.Timer(BEGIN_SECONDS, process.kill)
        late.start()
        try:
            link, said = None, ""
            for line in process.stdout or ():
                said += line
                if link := _LINK.search(line):
                    break
            if link is None:
                raise StoreError(f"it did not begin; in a minute again? ({said.strip()[-300:]})")
            late.cancel()
            late = threading.Timer(STUDENT_SECONDS, process.kill)
            late.start()
            ended = urlsplit(ask(_visit(link[1])).strip())
            if (ended.hostname, ended.port) != (HOST, PORT) or "code=" not in ended.query:
                raise StoreError(f"this is not an address http://{HOST}:{PORT}/?state=…&code=…")
            _visit(f"/?{ended.query}")
            said = (process.stdout.read() if process.stdout else "") or ""
        finally:
            late.cancel()
            process.kill()
    if found := _TOKEN.search(said):
        return found[1].replace("\n", " ")
    raise StoreError(f"Google did not allow it: {said.strip()[-300:]}")


def _visit(path: str) -> str:
    """Where rclone's own page leads."""
    try:
        connection = http.client.HTTPConnection(HOST, PORT, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.headers.get("Location", "")
    except (OSError, http.client.HTTPException) as error:
        raise StoreError(f"rclone does not answer: {error}") from None
