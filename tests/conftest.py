"""How several workers share the tests (`pytest -n 2`), and what they do with Ctrl-C."""

import signal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# No example has a time limit: a loaded machine is no fault.
settings.register_profile(
    "any machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

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
