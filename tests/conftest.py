"""How several workers share the tests (`pytest -n 2`), and what they do with Ctrl-C."""

import signal
from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# A shell's `&` has its processes ignore it, and all that they start: no test could interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


class ByFolder(LoadScopeScheduling):
    """The integration tests of one folder share guests, so they run in one worker, in order."""

    def _split_scope(self, nodeid: str) -> str:
        file = PurePosixPath(nodeid.partition("::")[0])
        return str(file.parent if "integration" in file.parts else file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    """Called by pytest-xdist when there are several workers."""
    return ByFolder(config, log)
