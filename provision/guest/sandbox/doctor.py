"""Can this host run boxes, and how is each limit kept?"""

import platform
import shutil
from pathlib import Path

from provision.errors import ApplianceError
from provision.guest.sandbox import box, seccomp
from provision.guest.sandbox.cgroups import CONTROLLERS
from provision.guest.sandbox.limits import Limits, Verdict

OK = "ok"


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
    if not shutil.which("linux.uml"):
        return "missing: apt-get install user-mode-linux"
    flags = next(
        (
            line
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("flags")
        ),
        "",
    )
    if "amx_tile" in flags.split():
        return "needs a kernel newer than Debian 13's: this processor has AMX"
    return f"{OK} ({platform.machine()})"
