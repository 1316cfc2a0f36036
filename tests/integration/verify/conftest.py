"""A real appliance, small and without Sage; its stages come from the user's build cache."""

import os
from pathlib import Path

import pytest

from provision.build.build import Built, build, request
from provision.config import Config

CONFIG = Config.model_validate({"name": "verify", "sage": {"source": "none"}, "pool": {"count": 2}})


@pytest.fixture(scope="session")
def built() -> Built:
    """The appliance, built once; its OVA is kept for the next run."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = Path(base) / "appliance-tests" / "verify"
    place.mkdir(parents=True, exist_ok=True)
    return build(request(CONFIG), place / "verify.ova", with_vm=False)


@pytest.fixture(scope="session")
def arguments() -> list[str]:
    """The command line's options that name the same configuration."""
    return [
        *("--set", "name=verify"),
        *("--set", "sage.source=none"),
        *("--set", "pool.count=2"),
    ]
