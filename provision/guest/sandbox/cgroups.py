"""Limits on a whole box by cgroup v2, where systemd or the administrator delegated one."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from provision.guest.cgroup import table
from provision.guest.sandbox.limits import Limits
from provision.waiting import until

CONTROLLERS = ("cpu", "memory", "pids")
_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000  # microseconds; the kernel's default


class Delegation(NamedTuple):
    """A cgroup whose children we may make."""

    path: Path

    def group(self, name: str, values: Mapping[str, str]) -> "Cgroup":
        """Make a cgroup.

        Args:
            name: unique among those that are there.
            values: what to write into which of its files, as from ``settings``.

        Raises:
            OSError: it exists, or the delegation was taken back.
        """
        group = Cgroup(self.path / name)
        group.path.mkdir()
        try:
            for key, value in values.items():
                # Without swap accounting there is no memory.swap.max, and no swap to bound.
                with contextlib.suppress(FileNotFoundError):
                    (group.path / key).write_text(value)
        except OSError:
            group.remove()
            raise
        return group


class Cgroup(NamedTuple):
    """The cgroup of one box, or of all that belongs together."""

    path: Path

    def add(self, pid: int) -> None:
        """Move a process in; its later children are born there."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def cpu(self) -> tuple[float, float]:
        """Seconds of processor time so far: all, and those outside the kernel."""
        stat = table(self.path / "cpu.stat")
        return stat.get("usage_usec", 0) / 1e6, stat.get("user_usec", 0) / 1e6

    def memory_peak(self) -> int:
        """Bytes at the peak; 0 before Linux 5.19, which has no such counter."""
        try:
            return int((self.path / "memory.peak").read_text())
        except OSError:
            return 0

    def out_of_memory(self) -> bool:
        """Whether the kernel killed a process of the box for the memory limit."""
        return table(self.path / "memory.events").get("oom_kill", 0) > 0

    def remove(self) -> None:
        """Kill what is left, and remove the cgroup once it is empty."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")

        def is_gone() -> bool:
            with contextlib.suppress(FileNotFoundError):
                self.path.rmdir()
            return True

        until(is_gone, 5, pause=0.005, despite=OSError)


def memory(most: int) -> dict[str, str]:
    """The files by which processes together have so many bytes, swap being none."""
    return {"memory.max": str(most), "memory.swap.max": "0"}


def settings(limits: Limits) -> dict[str, str]:
    """The cgroup files of some limits, with what to write into each."""
    return {
        **memory(limits.memory + limits.disk),
        "memory.oom.group": "1",
        "pids.max": str(limits.tasks + 3),  # bubblewrap's own, and the shell that unpacks
        "cpu.max": f"{_PERIOD} {_PERIOD}",  # one core for a box
    }


def delegation(root: Path = _ROOT) -> Delegation | None:
    """Our own cgroup, made ready for boxes; None where it is not v2 or not ours to divide.

    We move into a leaf of it, for only a cgroup without processes may have controlled children.
    """
    try:
        entries = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line[3:] for line in entries if line.startswith("0::"))
        path = root / own.lstrip("/")
        if path.name == "service":
            path = path.parent
        if not set(CONTROLLERS) <= set((path / "cgroup.controllers").read_text().split()):
            return None
        leaf = path / "service"
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(os.getpid()))
        (path / "cgroup.subtree_control").write_text(" ".join(f"+{c}" for c in CONTROLLERS))
    except (OSError, StopIteration):
        return None
    return Delegation(path)
