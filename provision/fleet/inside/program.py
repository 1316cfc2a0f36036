"""What the programs of this folder share: how they run commands, write files and answer.

Standard library only. Each program goes to the guest in one file with this module
(``fleet.remote.packed``), so that what a timer or the next start runs again is whole.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any


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
) -> None:
    """Carry out the verb that the command line names; one JSON object out.

    Args:
        verbs: by name, each called with the words behind it.
        lock: held meanwhile, so that others wait; the directory must be there.
        unlocked: the verbs that wait for nobody.
        umask: of the files that are made.
    """
    verb, *words = sys.argv[1:]
    os.umask(umask)
    with contextlib.ExitStack() as held:
        if lock is not None and verb not in unlocked:
            fcntl.flock(held.enter_context(lock.open("a")), fcntl.LOCK_EX)
        try:
            print(json.dumps(verbs[verb](*words)))  # noqa: T201 (a program of its own)
        except (RefusedError, OSError, ValueError) as error:
            print(json.dumps({"error": str(error)}))  # noqa: T201
            sys.exit(1)


def finished(*argv: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, however that is; it gets no input."""
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, check=False
    )


def run(*argv: str, check: bool = True, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed.

    Raises:
        RefusedError: it failed and ``check`` is set; with its last words.
    """
    done = finished(*argv, env=env)
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


def read(path: Path) -> dict[str, Any]:
    """The object in a file of JSON; empty where there is none or it is damaged."""
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    return {}


def boot_id() -> str:
    """The name of this start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def free_memory() -> int:
    """The bytes of memory that programs may still take."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kilobytes) * 1024


def failed_units() -> list[str]:
    """The units that have failed, by name."""
    told = run("systemctl", "--failed", "--plain", "--no-legend", check=False)
    return sorted(line.split()[0] for line in told.splitlines() if line.strip())


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file; a power cut leaves the old one or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
