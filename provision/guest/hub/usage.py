"""Root's sampler: what each session and the machine use, every few seconds.

Run as ``python -m provision.guest.hub.usage``. It writes, below ``/run/notebook-usage``:

- ``NAME/usage.json`` for each pool account: bound into that account's session, so a student sees
  what is left and nothing of anybody else;
- ``now.json`` and ``history.json``, for the hub's user: everything, now and over the last day.
"""

import contextlib
import ctypes
import json
import os
import pwd
import shutil
import signal
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.guest import record, typed
from provision.guest.cgroup import table
from provision.guest.hub.wishes import Wishes
from provision.guest.pool.account import (
    USAGE,
    limit_account,
    read_settings,
)
from provision.guest.pool.activity import age_of, processor_time
from provision.guest.pool.certificate import checked
from provision.guest.pool.connection import account_of
from provision.guest.pool.entitlement import share_of
from provision.guest.pool.files import QUOTACTL_FD, limit_disk, student_directory
from provision.guest.pool.leases import Lease, Leases

KEPT = Path("/var/lib/notebook-usage/history.json")
STATE = Path("/var/lib/notebook")
SLICES = Path("/sys/fs/cgroup/user.slice")
GET_USER_QUOTA = 0x800007 << 8  # QCMD(Q_GETQUOTA, USRQUOTA), linux/quota.h
SECONDS = 5.0
ROW_SECONDS = 60.0
ROWS = 1440  # a day
COUNTED_SECONDS = 60.0  # how often files are counted where the file system does not


@dataclass
class Sampler:
    """Takes one sample after another.

    Args:
        expiry: seconds after which any session is ended; 0: never.
        directory: of the students' files.
        leases: who has which account.
    """

    expiry: int
    directory: Path
    leases: Leases
    _before: dict[str, tuple[float, float]] = field(default_factory=dict)
    _counted: dict[str, tuple[float, int]] = field(default_factory=dict)

    def sample(self) -> dict[str, Any]:
        """What is used now: ``host``, ``pool`` and ``sessions``, by account."""
        sessions = {lease.account: self._session(lease) for lease in self._sound()}
        return {
            "time": time.time(),
            "host": self._host(),
            "pool": {"size": len(self.leases.accounts), "taken": len(sessions)},
            "sessions": sessions,
        }

    def _sound(self) -> Iterator[Lease]:
        """The leases of students: the hub writes the names, and root makes paths of them."""
        for lease in self.leases:
            with contextlib.suppress(ValueError):
                checked(lease.student)
                yield lease

    def _session(self, lease: Lease) -> dict[str, Any]:
        account = account_of(lease.account)
        age = age_of(lease.pid) if lease.pid else 0.0
        told: dict[str, Any] = {
            "student": lease.student,
            "age": round(age),
            "left": max(0, round(self.expiry - age)) if self.expiry else None,
        }
        if not account.local:
            return told
        uid = pwd.getpwnam(account.user).pw_uid
        share = share_of(lease.student, lease.profile, record.shares())
        limit = _memory_limit(uid) or share.memory
        return told | {
            "memory": {"used": _memory(uid), "limit": limit, "killed": _kills(uid)},
            "cpu": {"used": self._processor(uid, account.user), "limit": share.cpu},
            "tasks": sum(1 for _ in _processes(uid)),
            "disk": {"used": self._disk(lease.student), "limit": share.disk or None},
        }

    def apply(self, limits: Mapping[str, Mapping[str, int]]) -> None:
        """Let the administrator's limits hold from now on, for running sessions, too.

        Args:
            limits: students' own, by name and kind.
        """
        write(record.OWN, limits, mode=0o600)
        shares = record.shares()
        usual = share_of("", "", shares)
        for lease in self._sound():
            account = account_of(lease.account)
            if account.local:
                share = share_of(lease.student, lease.profile, shares)
                limit_account(pwd.getpwnam(account.user).pw_uid, share, usual=usual)
                path = student_directory(self.directory, lease.student)
                if share.disk:
                    limit_disk(path, path.stat().st_uid, share.disk)

    def _processor(self, uid: int, name: str) -> float | None:
        """Percent of one core since the last sample."""
        used, now = processor_time(uid), time.monotonic()
        if used is None:
            used = sum(_ticks(pid) for pid in _processes(uid)) / os.sysconf("SC_CLK_TCK")
        before, self._before[name] = self._before.get(name), (now, used)
        if before is None or now <= before[0]:
            return None
        return round(max(0.0, 100 * (used - before[1]) / (now - before[0])), 1)

    def _disk(self, student: str) -> int:
        """Bytes of a student's files: as the file system counts them, else counted by us."""
        path = student_directory(self.directory, student)
        if (used := quota_usage(path)) is not None:
            return used
        when, size = self._counted.get(student, (float("-inf"), 0))
        if time.monotonic() - when > COUNTED_SECONDS:
            size = sum(_sizes(path))
            self._counted[student] = (time.monotonic(), size)
        return size

    def _host(self) -> dict[str, Any]:
        memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(memory[k].split()[0]) * 1024 for k in ("MemTotal", "MemAvailable"))
        disks = {}
        for place in ("/", "/home"):
            with contextlib.suppress(OSError):
                usage = shutil.disk_usage(place)
                disks[place] = {"size": usage.total, "free": usage.free}
        return {
            "cores": os.cpu_count() or 1,
            "load": round(os.getloadavg()[0], 2),
            "memory": {"size": total, "free": free},
            "disks": disks,
            "up": round(float(Path("/proc/uptime").read_text().split()[0])),
        }


def row(now: Mapping[str, Any]) -> list[Any]:
    """One line of the history: time, sessions, load, share of memory and of each disk used."""
    host = now["host"]
    used = [1 - host["memory"]["free"] / host["memory"]["size"]]
    used += [1 - disk["free"] / disk["size"] for disk in host["disks"].values()]
    return [round(now["time"]), now["pool"]["taken"], host["load"], *(round(u, 3) for u in used)]


def quota_usage(path: Path) -> int | None:
    """Bytes that the owner of a directory has on its file system; None: it keeps no quota."""
    # struct if_dqblk, as in ``files``.
    block = ctypes.create_string_buffer(struct.calcsize("=8QI") + 4)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        owner = os.fstat(descriptor).st_uid
        if libc.syscall(QUOTACTL_FD, descriptor, GET_USER_QUOTA, owner, block):
            return None
    finally:
        os.close(descriptor)
    return int(struct.unpack_from("=8QI", block)[2])


def write(path: Path, data: Any, *, mode: int = 0o644, group: int = -1) -> None:
    """Replace a JSON file as one."""
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        os.fchown(file.fileno(), -1, group)
        json.dump(data, file)
    fresh.replace(path)


@typed.reporting_damage()
def main() -> None:
    """Sample until told to stop."""
    told = record.read()
    entries = told.accounts
    admin = STATE.stat().st_gid
    for entry in entries:
        if account_of(entry).local:
            (USAGE / account_of(entry).user).mkdir(exist_ok=True)
    sampler = Sampler(told.expiry, read_settings().directory, Leases(STATE / "leases", entries))
    history: deque[list[Any]] = deque(maxlen=ROWS)
    with contextlib.suppress(OSError, ValueError):
        history.extend(json.loads(KEPT.read_text()))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    wishes, limits, wanted = Wishes(STATE), None, 0.0
    while not ended.is_set():
        if limits != (limits := wishes.limits()):
            sampler.apply(limits)
        now, messages = sampler.sample(), wishes.messages()
        write(USAGE / "now.json", now, mode=0o640, group=admin)
        for entry in entries:
            if account_of(entry).local:
                mine = now["sessions"].get(entry, {})
                if text := messages.get(mine.get("student", "")):
                    mine = {**mine, "message": text}
                write(USAGE / account_of(entry).user / "usage.json", mine)
        if time.monotonic() >= wanted:
            wanted = time.monotonic() + ROW_SECONDS
            history.append(row(now))
            write(USAGE / "history.json", list(history), mode=0o640, group=admin)
            write(KEPT, list(history), mode=0o600)
        ended.wait(SECONDS)
    write(KEPT, list(history), mode=0o600)


def _memory(uid: int) -> int:
    """Bytes that an account's processes hold, without what the kernel would give back."""
    group = SLICES / f"user-{uid}.slice"
    with contextlib.suppress(OSError, ValueError, KeyError):
        used = int((group / "memory.current").read_text())
        return max(0, used - table(group / "memory.stat")["inactive_file"])
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for pid in _processes(uid):
        with contextlib.suppress(OSError, ValueError, IndexError):
            resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
            total += (int(resident) - int(shared)) * page
    return total


def _memory_limit(uid: int) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int((SLICES / f"user-{uid}.slice" / "memory.max").read_text())
    return None


def _kills(uid: int) -> int:
    """How many of an account's processes the kernel has ended for want of memory, so far."""
    return table(SLICES / f"user-{uid}.slice" / "memory.events").get("oom_kill", 0)


def _processes(uid: int) -> Iterator[int]:
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                yield int(entry.name)


def _ticks(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(words[11]) + int(words[12])
    return 0


def _sizes(path: Path) -> Iterator[int]:
    for directory, _, names, descriptor in os.fwalk(path, follow_symlinks=False):
        del directory
        for name in names:
            with contextlib.suppress(OSError):
                yield os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_blocks * 512


if __name__ == "__main__":
    main()
