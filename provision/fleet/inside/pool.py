"""Have more or fewer pool accounts while sessions go on: pool resize COUNT, as root.

More come at once. Fewer: nobody gets the last ones any more, and they go when their sessions have
ended; a timer looks again. One JSON object out.
"""

import contextlib
import fcntl
import os
import re
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from provision.waiting import until

from .lease import guarding
from .program import SSHD, RefusedError, answer, later, pool_accounts, run

SEAT = "/usr/local/lib/appliance/seat"
START = Path("/usr/local/bin/start-notebook")
LEASES = Path("/var/lib/notebook/leases")
TIMER = "appliance-pool"
AGAIN_SECONDS = 20
# Each takes its new settings without ending what it has.
RELOADED = ("notebook-firewall", "sshd-pool", "ssh")
HUB = "http://127.0.0.1:8081/hub/api"
HUB_SECONDS = 60.0


def resize(count: str) -> dict[str, Any]:
    """Bring the pool to a size.

    Returns:
        ``pool``, its accounts now, and ``leaving``, those whose sessions are waited for.
    """
    if not (now := pool_accounts()):
        raise RefusedError(f"{SSHD} names no accounts")
    prefix = now[0].rstrip("0123456789")
    wanted = {f"{prefix}{number}" for number in range(1, int(count) + 1)}
    systemctl("stop", f"{TIMER}-*.timer")
    leaving = [name for name in now if name not in wanted]
    if leaving and offer_without(leaving):
        renew_hub()
    if busy := [name for name in leaving if is_leased(name)]:
        # Its own name each time: it may be this very unit that waits on.
        later(f"{TIMER}-{time.time_ns()}", AGAIN_SECONDS, "resize", count)
        return {"pool": now, "leaving": busy}
    with tempfile.TemporaryDirectory(dir="/run") as place:
        Path(place, "appliance.seat").write_text(f"pool={int(count)}")
        run(SEAT, env={**os.environ, "CREDENTIALS_DIRECTORY": place})
    run(SEAT, "homes")
    for unit in RELOADED:
        systemctl("reload", unit)
    renew_hub()
    systemctl("try-restart", "notebook-usage")  # has a file for each account
    systemctl("start", "--no-block", "notebook-mirrors")  # the firewall forgot them
    return {"pool": pool_accounts(), "leaving": []}


def offer_without(names: list[str]) -> bool:
    """Take accounts from those that the hub leases; whether that changed anything."""
    text = START.read_text()

    def fewer(found: "re.Match[str]") -> str:
        servers = re.findall(r'"([^"]*)"', found[2])
        kept = [server for server in servers if server.removesuffix("@localhost") not in names]
        return found[1] + ", ".join(f'"{server}"' for server in kept) + found[3]

    changed = re.sub(r"(server_pool=\[)([^\]]*)(\])", fewer, text)
    if changed == text:
        return False
    fresh = START.with_name(f".{START.name}.new")
    fresh.write_text(changed)
    fresh.chmod(START.stat().st_mode & 0o777)
    fresh.replace(START)
    return True


def is_leased(name: str) -> bool:
    """Whether somebody has a session on an account."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # the directory is the hub's
    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
        descriptor = os.open(LEASES / f"{name}@localhost", flags)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def renew_hub() -> None:
    """Have the hub read its settings anew, and wait until it answers."""
    before = hub_process()
    systemctl("reload", "notebook")
    with contextlib.suppress(OSError):
        if until(lambda: hub_process() != before, HUB_SECONDS):
            until(lambda: urllib.request.urlopen(HUB, timeout=5), HUB_SECONDS, despite=OSError)


def hub_process() -> str:
    """The number of the hub's process."""
    return systemctl("show", "--value", "-p", "MainPID", "notebook").strip()


def systemctl(*words: str) -> str:
    """What is not there needs no word."""
    return run("systemctl", *words, check=False)


def main() -> None:
    """Carry out one verb."""
    with guarding(alone=("resize",)):
        answer({"resize": resize})
