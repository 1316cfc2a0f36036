"""How several workers share the tests (`pytest -n 2`)."""

from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class ByFolder(LoadScopeScheduling):
    """The integration tests of one folder share guests, so they run in one worker, in order."""

    def _split_scope(self, nodeid: str) -> str:
        file = PurePosixPath(nodeid.partition("::")[0])
        return str(file.parent if "integration" in file.parts else file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    """Called by pytest-xdist when there are several workers."""
    return ByFolder(config, log)
