"""The settings of the backup: tried before they replace those that work."""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .program import RefusedError, attempt, itself, read, run, write
from .restic import SETTINGS, last_words, restic, settings

UNIT = "appliance-backup"
UNITS = Path("/etc/systemd/system")
KEPT = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
HOURS = 20  # a run that takes longer is ended: nothing waits for ever


def setup() -> dict[str, Any]:
    """Take the settings from standard input, make the repository, start the timer.

    ``repository``, ``password``, ``environment`` (of restic, for S3 and rclone), ``keep``
    (restic's own options of forget, as a mapping) and ``when`` (systemd's calendar). With ``made``
    the password is only for a repository that has none yet: that of the settings of now, and
    those of ``known``, are tried first.

    Returns:
        The ``repository``, and the ``password`` that opens it.
    """
    given = _check(json.loads(sys.stdin.read()))
    install(given["repository"])
    before = read(SETTINGS)
    known, made = given.pop("known", []), given.pop("made", False)
    if made and before:
        known, given["password"] = [given["password"], *known], before["password"]
    given["password"] = _opening(given, known if made else [], before)
    SETTINGS.parent.mkdir(mode=0o755, exist_ok=True)
    write(SETTINGS, json.dumps(given), mode=0o600)
    try:
        _start_timer(given["when"])
    except (RefusedError, OSError):
        if before:
            write(SETTINGS, json.dumps(before), mode=0o600)
            _start_timer(before["when"])
        raise
    return {"repository": given["repository"], "password": given["password"]}


def password() -> dict[str, Any]:
    """The repository's password once more, for whoever keeps it off the appliance."""
    return {"repository": settings()["repository"], "password": settings()["password"]}


def install(repository: str) -> None:
    """Have what a repository takes; a newly made root disk may lack it.

    Raises:
        RefusedError: it cannot be had.
    """
    programs = ("restic", "rclone") if repository.startswith("rclone:") else ("restic",)
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-q"], ["install", "-y", "--no-install-recommends", *missing]):
        done = attempt("apt-get", *words, env=env)
    if done.returncode:
        told = done.stderr.strip()[-300:]
        raise RefusedError(f"{' and '.join(missing)} cannot be installed: {told}")


def _check(given: dict[str, Any]) -> dict[str, Any]:
    for name in ("repository", "password"):
        text = given.get(name)
        if not isinstance(text, str) or not text.strip() or re.search(r"[\0\r\n]", text):
            raise RefusedError(f"the {name} is empty, or of more than one line")
    keep = given.setdefault("keep", {})
    for name, count in keep.items():
        if name not in KEPT or not isinstance(count, int) or count < 1:
            raise RefusedError(f"keep {name} {count!r}: one of {', '.join(KEPT)}, at least 1")
    when = given.setdefault("when", "daily")
    if "\n" in when or attempt("systemd-analyze", "calendar", "--", when).returncode:
        raise RefusedError(f"{when!r} is no time of systemd's: as in daily or *-*-* 03:00")
    return given


def _opening(given: Mapping[str, Any], known: list[str], before: Mapping[str, Any]) -> str:
    """The password that opens the repository; a new one is made with the given one.

    Raises:
        RefusedError: neither that nor one that is known opens it; nothing was changed.
    """
    # First, for it makes a bucket, too; where there is none all else is tried for minutes.
    if restic("init", check=False, given=given).returncode == 0:
        return str(given["password"])
    for each in dict.fromkeys([given["password"], *known]):
        done = restic("cat", "config", check=False, given={**given, "password": each})
        if done.returncode == 0:
            return str(each)
    if "wrong password" in done.stderr:
        same = before.get("repository") == given["repository"]
        kept = "; the one that is set up stays" if same else ""
        hint = "the one it was made with is read by --password-stdin"
        raise RefusedError(f"that password does not open {given['repository']}{kept}: {hint}")
    raise RefusedError(f"restic: {last_words(done)}")


def _start_timer(when: str) -> None:
    service = f"[Service]\nType=oneshot\nTimeoutStartSec={HOURS}h\nExecStart={itself()} run\n"
    timer = (
        f"[Timer]\nOnCalendar={when}\nPersistent=true\nRandomizedDelaySec=600\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )
    for kind, text in (("service", service), ("timer", timer)):
        write(UNITS / f"{UNIT}.{kind}", f"[Unit]\nDescription=Backup of the appliance\n\n{text}")
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--quiet", f"{UNIT}.timer")
    run("systemctl", "restart", f"{UNIT}.timer")
