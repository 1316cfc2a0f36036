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
    }
    with notebook_guest(layers, tmp_path_factory.mktemp("guest"), variables) as guest:
        yield guest
