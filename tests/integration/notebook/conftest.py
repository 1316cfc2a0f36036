import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from guest import Guest, installed_layers, notebook_guest


@pytest.fixture(scope="session")
def layers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What is installed, without configuration."""
    return installed_layers(tmp_path_factory.mktemp("install"))


@pytest.fixture(scope="session")
def guest(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A running notebook with three places, open to whoever makes an account."""
    variables = {
        "pool_accounts": ["nb1", "nb2", "nb3"],
        "notebook_accounts": True,
        "notebook_patience": 6,
        "notebook_limits": {
            **{"memory": 1 << 30, "swap": 0, "cpu": 100, "tasks": 256, "files": 1024},
            **{"file_size": 100 << 20, "tmp": 32 << 20, "disk": 0},
        },
    }
    with notebook_guest(layers, tmp_path_factory.mktemp("guest"), variables) as guest:
        yield guest
