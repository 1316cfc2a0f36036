"""What the programs of this folder share: how they run commands, write files and answer.

Standard library only. Each program goes to the guest in one file with this module
(``fleet.remote.pack``), so that what a timer or the next start runs again is whole.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from provision.waiting import until

RESTARTED = ("notebook", "notebook-proxy", "sshd-pool")  # by systemd, for ever
LOOP_SECONDS = 15.0
SSHD = Path("/etc/notebook/sshd_config")


class RefusedError(Exception):
    """It cannot be done; the message says why."""


def itself() -> str:
    """The path of the running program, for what shall run it again."""
    return str(Path(sys.argv[0]).resolve())


def answer(
    verbs: Mapping[str, Callable[..., object]],
    *,
    lock: Path | None = None,
    unlocked: Collection[str] = (),
    umask: int = 0o022,
    patience: float | None = None,
) -> None:
    """Carry out the verb that the command line names; one JSON object out.

    Args:
        verbs: by name, each called with the words behind it; they return what JSON can say, or a
            dataclass.
        lock: held meanwhile, so that others wait; the directory must be there.
        unlocked: the verbs that wait for nobody.
        umask: of the files that are made.
        patience: seconds that others wait; None: for ever.
    """
    verb, *words = sys.argv[1:]
    os.umask(umask)
    with contextlib.ExitStack() as held:
        try:
            if lock is not None and verb not in unlocked:
                held.enter_context(holding(lock, patience))
            told = json.dumps(verbs[verb](*words), default=asdict)
            print(told)  # noqa: T201 (a program of its own)
        except (RefusedError, OSError, ValueError) as error:
            print(json.dumps({"error": str(error)}))  # noqa: T201
            sys.exit(1)


@contextlib.contextmanager
def holding(lock: Path, patience: float | None = None) -> Iterator[None]:
    """Hold a lock for a ``with`` block, when whoever has it has ended.

    Args:
        lock: its file; the directory must be there.
        patience: seconds to wait; None: for ever.

    Raises:
        RefusedError: it is still held then.
    """
    with lock.open("a") as file:
        if patience is None:
            fcntl.flock(file, fcntl.LOCK_EX)
        elif not try_lock(file, patience):
            raise RefusedError(f"another run is still at work after {patience:.0f} s")
        yield


def try_lock(
    file: IO[str],
    seconds: float,
    *,
    kind: int = fcntl.LOCK_EX,
    how: Callable[[IO[str], int], None] = fcntl.flock,
) -> bool:
    """Take a lock within so many seconds; tells whether it could be had.

    Args:
        file: whose.
        seconds: how long to wait for whoever has it.
        kind: alone, or with others.
        how: flock, or lockf's locks, which are others.
    """

    def take() -> bool:
        how(file, kind | fcntl.LOCK_NB)
        return True

    with contextlib.suppress(BlockingIOError):
        return until(take, seconds, despite=BlockingIOError)
    return False


def attempt(*argv: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, however that is; it gets no input."""
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, check=False
    )


def run(*argv: str, check: bool = True, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed.

    Raises:
        RefusedError: it failed and ``check`` is set; with its last words.
    """
    done = attempt(*argv, env=env)
    if check and done.returncode:
        told = "\n".join((done.stdout + done.stderr).strip().splitlines()[-6:])
        raise RefusedError(f"{argv[0]}: {told[-600:]}")
    return done.stdout


def later(unit: str, seconds: float, *words: str) -> None:
    """Have systemd run this program again in so many seconds, counted anew if it waits already.

    What it does then is the appliance's own, and no step of anybody's run (``lease``).
    """
    run("systemctl", "stop", f"{unit}.timer", check=False)
    run(
        *("systemd-run", "--quiet", "--collect", f"--unit={unit}", f"--on-active={seconds}"),
        *("--timer-property=AccuracySec=1s", itself(), "--own", *words),
    )


def at_boot(unit: str, text: str) -> None:
    """Have systemd start a unit of ours at each boot, with just this text."""
    file = Path(f"/etc/systemd/system/{unit}")
    if not file.exists() or file.read_text() != text:
        write(file, text)
        run("systemctl", "daemon-reload")
        run("systemctl", "enable", "--quiet", unit)


def remove(path: Path) -> None:
    """Remove a tree; what is half removed is not taken for whole."""
    if path.exists():
        (path / ".archive").unlink(missing_ok=True)
        grave = path.with_name(f".{path.name.lstrip('.')}.old")
        shutil.rmtree(grave, ignore_errors=True)
        try:
            path.rename(grave)
            path = grave
        except OSError as error:
            if error.errno != errno.EXDEV:  # else something is mounted there, which stays
                raise
            # overlayfs renames no directory of a lower layer
        shutil.rmtree(path)


def read(path: Path) -> dict[str, Any]:
    """The object in a file of JSON; empty where there is none or it is damaged."""
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    return {}


def check_services() -> None:
    """Look after the notebook's services.

    Raises:
        RefusedError: one of them does not run.
    """
    dead = [
        unit
        for unit in RESTARTED
        if run("systemctl", "is-active", unit, check=False).strip() != "active"
    ]
    if dead:
        raise RefusedError(f"not running: {', '.join(dead)}")


def boot_id() -> str:
    """The name of this start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def free_memory() -> int:
    """The bytes of memory that programs may still take."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kilobytes) * 1024


def pool_accounts(settings: Path = SSHD) -> list[str]:
    """The accounts that the pool's SSH server lets in; none where it has no settings."""
    with contextlib.suppress(OSError):
        if found := re.search(r"(?m)^AllowUsers (.*)$", settings.read_text()):
            return [word.partition("@")[0] for word in found[1].split()]
    return []


def failed_units() -> list[str]:
    """The units that have failed, by name, and those of ours that crash again and again."""
    told = run("systemctl", "--failed", "--plain", "--no-legend", check=False)
    failed = {line.split()[0] for line in told.splitlines() if line.strip()}
    return sorted(failed | {f"{unit}.service" for unit in RESTARTED if _crashes(unit)})


def _crashes(unit: str) -> bool:
    """Whether a service ends badly and is started anew, again and again: systemd calls it active.

    It is looked at for a while only where it runs since a moment and was started anew before.
    """
    deadline = time.monotonic() + LOOP_SECONDS
    names = "SubState,ExecMainCode,ExecMainStatus,NRestarts,ActiveEnterTimestampMonotonic"
    while True:
        lines = run("systemctl", "show", "-p", names, unit, check=False).splitlines()
        told = dict(line.partition("=")[::2] for line in lines)
        waits = told.get("SubState", "").startswith("auto-restart")
        if waits and told["ExecMainStatus"] not in ("0", str(int(signal.SIGTERM))):
            return True
        since = time.monotonic() - int(told.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        calm = told.get("NRestarts", "0") == "0" or (not waits and since > LOOP_SECONDS)
        if calm or time.monotonic() > deadline:
            return False
        time.sleep(0.2)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file; a power cut leaves the old one or the new one, and no link is followed."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
