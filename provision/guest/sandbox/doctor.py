"""Can this host run boxes, and how is each limit kept?"""

import shutil
import subprocess
from pathlib import Path

from provision.errors import ApplianceError
from provision.guest.sandbox import box, seccomp
from provision.guest.sandbox.cgroups import CONTROLLERS
from provision.guest.sandbox.limits import Limits, Verdict

OK = "ok"
_UML_WITH_AMX = (6, 13)


def check() -> dict[str, str]:
    """What each part of a box rests on here; nothing is changed."""
    return {
        "bubblewrap": shutil.which("bwrap") or "missing",
        "boxes": _boxes(),
        "system calls": _filter(),
        "memory": _cgroup(),
        "uml": _uml(),
    }


def ready(found: dict[str, str]) -> bool:
    """Whether the default engine can run."""
    return found["boxes"] == OK


def _boxes() -> str:
    try:
        ended = box.run(box.Box(Path("/"), ("/bin/true",), Limits(clock=5)))
    except (ApplianceError, OSError) as error:
        return str(error)
    if ended.verdict is Verdict.EXITED and ended.code == 0:
        return OK
    return ended.stderr.decode(errors="replace").strip() or ended.verdict.value


def _filter() -> str:
    try:
        return f"seccomp, {len(seccomp.program()) // 8} instructions"
    except ApplianceError as error:
        return str(error)


def _cgroup() -> str:
    watched = "rlimits, and a look every 25 ms"
    try:
        controllers = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    except OSError:
        return f"{watched}: this host's controllers are not on cgroup v2"
    missing = set(CONTROLLERS) - set(controllers)
    if missing:
        return f"{watched}: cgroup v2 lacks {', '.join(sorted(missing))}"
    return "cgroup v2 where a unit says Delegate=yes"


def _uml() -> str:
    cpu = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    return uml(_uml_version(), amx="amx_tile" in cpu)


def uml(version: str | None, *, amx: bool) -> str:
    """What to say of a User-Mode Linux kernel.

    Args:
        version: as it tells it; None where there is none.
        amx: whether the processor has AMX, on whose state kernels before 6.13 panic.
    """
    sid = "take user-mode-linux from Debian sid: this processor has AMX"
    if version is None:
        return f"missing: {sid if amx else 'apt-get install user-mode-linux'}"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if amx and numbers < _UML_WITH_AMX:
        return f"{version} would panic: {sid}"
    return f"{OK} ({version})"


def _uml_version() -> str | None:
    if not (program := shutil.which("linux.uml")):
        return None
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
