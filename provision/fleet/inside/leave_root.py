"""Leave what is this appliance's own to the next root disk: leave-root VERB [ARGUMENT...], as root.

``save`` ends the hub and puts its state, accounts, keys and name on the disk of /home, where the
next root disk takes them on its first boot (``make-keys``). Students' files are on that disk
already. Where no shutdown follows, ``stay`` has the hub serve again. One JSON object out.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from .lease import guarding
from .own import own
from .program import answer, attempt, later

PLACE = Path("/home/.appliance-root")
SERVICES = ("notebook", "notebook-proxy", "grader@default")
STAY = "appliance-root-stay"


def save(admin: str, seconds: str) -> dict[str, Any]:
    """End the sessions' hub and write the bundle; the next start takes it.

    If this root still runs after so many seconds, whoever asked has vanished: it stays.
    """
    active = [unit for unit in SERVICES if systemctl("is-active", "--quiet", unit)]
    later(STAY, float(seconds), "stay", *active)
    for unit in active:
        systemctl("stop", unit)
    try:
        return {"left": _write(admin)}
    except OSError:  # a full disk
        stay(*active)
        raise


def _write(admin: str) -> int:
    """Write the bundle, as a whole; returns how much is in it."""
    PLACE.mkdir(mode=0o700, exist_ok=True)
    PLACE.chmod(0o700)
    hashed = next(
        line.split(":")[1]
        for line in Path("/etc/shadow").read_text().splitlines()
        if line.startswith(f"{admin}:")
    )
    (PLACE / "password").write_text(f"{admin}:{hashed}\n")
    fresh, paths = PLACE / "state.new", [str(path.relative_to("/")) for path in own()]
    # tar opens one name after another: in the hub's directory no link leads it elsewhere.
    done = attempt("tar", "-C", "/", "-cf", str(fresh), "--", *paths)
    if done.returncode > 1:  # 1: a file grew meanwhile
        raise OSError(f"tar: {done.stderr.strip()[-300:]}")
    fresh.replace(PLACE / "state.tar")
    os.sync()
    return len(paths)


def stay(*units: str) -> dict[str, Any]:
    """This root goes on: nothing is left to another, and what ``save`` ended serves again."""
    shutil.rmtree(PLACE, ignore_errors=True)
    os.sync()
    systemctl("stop", f"{STAY}.timer")
    for unit in units:
        systemctl("start", unit)
    return {}


def confirm() -> dict[str, Any]:
    """Whether this root disk has taken what the one before it left; then nothing is kept of it."""
    if (PLACE / "state.tar").exists():
        return {"taken": False}
    shutil.rmtree(PLACE, ignore_errors=True)
    return {"taken": True}


def systemctl(*words: str) -> bool:
    """Whether systemd says yes."""
    return attempt("systemctl", *words).returncode == 0


def main() -> None:
    """Carry out one verb."""
    with guarding(held=("save",)):
        answer({"save": save, "stay": stay, "taken": confirm}, umask=0o077)
