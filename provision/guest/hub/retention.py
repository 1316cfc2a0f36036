"""What the rules of retention keep no longer: retention apply | due DAYS, as root.

The rules are the record's (``record.RetentionRecord``). ``apply`` removes what is due, and what an
archive that was cut off has left, and says what it removed and what goes within a week, a line
each; ``due`` says as one JSON object what goes within so many days. The audit is in the hub's
directory, so the hub's user reads and writes it: a link there may lead anywhere.
"""

import contextlib
import datetime
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from provision.guest import record
from provision.guest.hub import audit
from provision.guest.pool.account import read_settings
from provision.guest.pool.archives import Archive, ArchiveError, archives, cut_off, remove
from provision.guest.whole import locking

STATE = Path("/var/lib/notebook")
DAY = 86400
AHEAD_DAYS = 7  # that the nightly letter looks ahead


def old(directory: Path, rules: record.RetentionRecord, now: float) -> Iterator[Archive]:
    """The archives that are kept no longer; what has no time in its name is kept.

    Args:
        directory: of all students.
        rules: seconds by what is kept.
        now: the time, in seconds since 1970.
    """
    for each in archives(directory) if rules["archives"] else ():
        with contextlib.suppress(ValueError):
            if _end(each, rules) < now:
                yield each


def _end(each: Archive, rules: record.RetentionRecord) -> float:
    made = datetime.datetime.strptime(f"{each.time}+0000", "%Y%m%dT%H%M%S%z")
    return made.timestamp() + rules["archives"]


def expired_count(lines: Sequence[str], rules: record.RetentionRecord, now: float) -> int:
    """How many of the audit's lines, the oldest first, are kept no longer.

    One that was cut off has no time, and goes with those before it.
    """
    if not rules["audit"]:
        return 0
    before = time.strftime("%FT%TZ", time.gmtime(now - rules["audit"]))
    kept = (number for number, line in enumerate(lines) if audit.when(line) >= before)
    return next(kept, len(lines))


def due(days: str) -> dict[str, Any]:
    """What goes within so many days, and the rules."""
    rules, later = record.read().retention, time.time() + int(days) * DAY
    found = [_describe(each, rules) for each in old(read_settings().directory, rules, later)]
    return {"rules": rules, "archives": found, "audit": _as_hub("count", days)}


def apply() -> int:
    """Remove what is due; whether something could not be."""
    rules, directory, failed = record.read().retention, read_settings().directory, 0
    for each in old(directory, rules, time.time()):
        try:
            with locking(directory):  # nobody brings it back meanwhile
                if each.path.is_dir():
                    remove(each.path)
                else:
                    each.path.unlink(missing_ok=True)
            _say(f"removed the archive of {each.student}: {each.path.name}")
        except (OSError, ArchiveError) as error:
            failed = 1
            _say(f"left, for it could not be removed: {each.path.name}: {error}")
    for part in cut_off(directory, time.time() - DAY):
        part.unlink(missing_ok=True)
        _say(f"removed what an archive that was cut off has left: {part.name}")
    if lines := _as_hub("cut")["lines"]:
        _say(f"removed the {lines} oldest lines of the audit")
    ahead = due(str(AHEAD_DAYS))
    for told in ahead["archives"]:
        _say(f"goes on {told['goes']}: the archive of {told['student']}: {told['name']}")
    if lines := ahead["audit"]["lines"]:
        _say(f"go within {AHEAD_DAYS} days: the {lines} oldest lines of the audit")
    return failed


def count(days: str = "0") -> dict[str, int]:
    """How many lines of the audit go within so many days; as the hub's user."""
    later = time.time() + int(days) * DAY
    return {"lines": expired_count(audit.lines(STATE), record.read().retention, later)}


def cut() -> dict[str, int]:
    """Remove the audit's lines that are due; as the hub's user."""
    gone, rules, now = 0, record.read().retention, time.time()

    def change(lines: Sequence[str]) -> Sequence[str]:
        nonlocal gone
        gone = expired_count(lines, rules, now)
        return lines[gone:]

    if rules["audit"]:
        audit.rewrite(STATE, change)
    return {"lines": gone}


def _describe(each: Archive, rules: record.RetentionRecord) -> dict[str, str]:
    goes = time.strftime("%F", time.localtime(_end(each, rules)))
    return {"student": each.student, "name": each.path.name, "goes": goes}


def _as_hub(*words: str) -> dict[str, int]:
    owner = STATE.lstat()
    argv = [sys.executable, "-I", "-m", "provision.guest.hub.retention", *words]
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, check=True, cwd="/",
        user=owner.st_uid, group=owner.st_gid, extra_groups=[],
    )  # fmt: skip
    found: dict[str, int] = json.loads(done.stdout)
    return found


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Carry out the verb of the command line."""
    verb, *words = sys.argv[1:]
    if verb == "apply":
        return apply()
    verbs: dict[str, Callable[..., dict[str, Any]]] = {"due": due, "count": count, "cut": cut}
    _say(json.dumps(verbs[verb](*words)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
