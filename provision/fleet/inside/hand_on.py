"""Hand a received package on to appliances of the same room: hand-on VERB [ARGUMENT...].

The appliance that has it lets a key of this one run in, for one command and for some hours
(``offer``, ``withdraw``, as root); that command sends the file from an offset on (``serve``, as
the administrator); another appliance takes it (``take``, as root). SSH is what all of them have
open. One JSON object out, but for ``serve``.
"""

import hashlib
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .lease import guarding
from .program import RefusedError, answer, itself, write

INCOMING = Path("/var/lib/appliance/sage/incoming")
OFFERED = Path("/var/lib/appliance/sage/offered")
KEYS = Path("/etc/ssh/authorized_keys.d")
MARK = "appliance-hand-on"
TRIES = 3


def offer(admin: str, digest: str, hours: str) -> dict[str, Any]:
    """Let the public key on standard input fetch one file."""
    key = sys.stdin.read().strip()
    if not re.fullmatch(r"ssh-ed25519 [A-Za-z0-9+/=]+( \S+)?", key):
        raise RefusedError("that is no key")
    source = INCOMING / digest
    if not source.exists():
        raise RefusedError(f"there is no {source}")
    shutil.rmtree(OFFERED, ignore_errors=True)
    OFFERED.mkdir(mode=0o700)
    account = pwd.getpwnam(admin)
    os.chown(OFFERED, account.pw_uid, account.pw_gid)
    os.link(source, OFFERED / digest)
    until = time.strftime("%Y%m%d%H%M", time.localtime(time.time() + 3600 * int(hours)))
    command = f"{itself()} serve {digest}"
    words = key.split()
    line = f'restrict,expiry-time="{until}",command="{command}" {words[0]} {words[1]} {MARK}\n'
    _keys(admin, line)
    return {"host_key": Path("/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]}


def withdraw(admin: str) -> dict[str, Any]:
    """Let nobody fetch any more."""
    _keys(admin, "")
    shutil.rmtree(OFFERED, ignore_errors=True)
    return {}


def serve(digest: str) -> None:
    """Send the file from the offset that the other side asks for."""
    wanted = os.environ.get("SSH_ORIGINAL_COMMAND", "0")
    with (OFFERED / digest).open("rb") as file:
        file.seek(int(wanted))
        shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)


def take(admin: str, digest: str, size: str) -> dict[str, Any]:
    """Fetch the file from the appliance that standard input describes; goes on where it broke off.

    Standard input: ``address``, ``port``, ``user``, ``key`` (private) and ``host_key``.
    """
    told = json.loads(sys.stdin.read())
    target, account = INCOMING / digest, pwd.getpwnam(admin)
    with tempfile.TemporaryDirectory(dir="/run") as place:
        key, known = Path(place, "key"), Path(place, "known_hosts")
        known.write_text(f"hand-on {' '.join(told['host_key'])}\n")
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(told["key"])
        argv = [
            *("ssh", "-F", "/dev/null", "-T", "-i", str(key), "-p", str(told["port"])),
            *("-o", f"UserKnownHostsFile={known}", "-o", "HostKeyAlias=hand-on"),
            *("-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "Compression=no"),
            *("-o", "IdentitiesOnly=yes", "-o", "ServerAliveInterval=15"),
            *("-o", "HostKeyAlgorithms=ssh-ed25519", "-o", "ConnectTimeout=15"),
            f"{told['user']}@{told['address']}",
        ]
        begun = had = target.stat().st_size if target.exists() else 0
        for attempt in range(TRIES):
            with target.open("ab") as out:
                os.chown(target, account.pw_uid, account.pw_gid)
                done = subprocess.run(
                    [*argv, str(had)], stdout=out, stderr=subprocess.PIPE, check=False
                )
            had = target.stat().st_size
            if had >= int(size):
                break
            if attempt == TRIES - 1:
                why = done.stderr.decode(errors="replace").strip()[-300:]
                raise RefusedError(f"{had} of {size} bytes came from {told['address']}: {why}")
            time.sleep(1)
    with target.open("rb") as whole:
        found = hashlib.file_digest(whole, "sha256").hexdigest()
    if found != digest:
        target.unlink()
        raise RefusedError(f"what {told['address']} sent has sha256 {found}, not {digest}")
    return {"taken": had - begun}


def _keys(admin: str, line: str) -> None:
    """Replace our line among the administrator's keys."""
    path = KEYS / admin
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    kept = "".join(each for each in lines if not each.rstrip().endswith(MARK))
    write(path, kept + line)


VERBS: dict[str, Callable[..., dict[str, Any]]] = {
    "offer": offer,
    "withdraw": withdraw,
    "take": take,
}


def main() -> None:
    """Carry out one verb."""
    with guarding():
        if sys.argv[1] == "serve":
            serve(*sys.argv[2:])
        else:
            answer(VERBS)
