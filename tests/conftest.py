"""How several workers share the tests (`pytest -n 3`), and what they do with Ctrl-C."""

import signal
from collections.abc import Iterable, Set
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# No example has a time limit: a loaded machine is no fault.
settings.register_profile(
    "any machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# A shell's `&` has its processes ignore it, and all that they start: no test could interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Folders of integration tests that last minutes, the longest first: none of them begins late. Three
# begin at once: of these the first alone makes layers, for which a fleet would stand and wait.
LONG = ("notebook", "distribution", "vbox", "fleet", "build", "qemu", "verify", "playbooks")
# In these a file needs nothing but a guest on ports that are free, which takes half a minute:
# a worker that has nothing else left begins with the last file and has a guest of its own.
SHARED = {"notebook", "fleet"}


def folder_of(file: str) -> str:
    """The folder whose guests a file's tests share; empty for a unit test."""
    parts = PurePosixPath(file).parts
    return "/".join(parts[2:-1]) if parts[1] == "integration" else ""


def next_file(left: Iterable[str], own: str, begun: Set[str]) -> str:
    """The file that a worker takes.

    Its own folder's first, as it has that one's guests; then a folder that nobody has begun; then a
    share of a folder that another has long to go with. Unit tests, of seconds, even out the end.

    Args:
        left: files that nobody has taken, in order.
        own: the folder of the worker's last integration test; empty for none.
        begun: folders of which somebody has taken a file.
    """
    files: dict[str, list[str]] = {}
    for file in left:
        files.setdefault(folder_of(file), []).append(file)
    units = files.pop("", [])
    if own in files:
        return files[own][0]
    fresh = [folder for folder in files if folder not in begun]
    if fresh:
        order = {folder: place for place, folder in enumerate(LONG)}
        return files[min(fresh, key=lambda folder: order.get(folder, len(order)))][0]
    shared = [files[folder] for folder in files if folder in SHARED and len(files[folder]) > 1]
    if shared:
        return max(shared, key=len)[-1]
    return (units or [files[0] for files in files.values()])[0]


class ByFolder(LoadScopeScheduling):
    """The integration tests of one folder share guests: one worker runs them, file by file."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        begun = {n: [*filter(None, map(folder_of, w))] for n, w in self.assigned_work.items()}
        own = (begun[node] or [""])[-1]
        taken = {folder for folders in begun.values() for folder in folders}
        self.workqueue.move_to_end(next_file(self.workqueue, own, taken), last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    """Called by pytest-xdist when there are several workers."""
    config.option.loadscopereorder = False  # the files stay in order
    return ByFolder(config, log)
