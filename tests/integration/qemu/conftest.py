"""Disks to boot: the same appliance, cache and OVA as in tests/integration/verify."""

import os
from pathlib import Path

import pytest

from provision.build.build import build, request
from provision.config import Config

CONFIG = Config.model_validate({"name": "verify", "sage": {"source": "none"}, "pool": {"count": 2}})


@pytest.fixture(scope="session")
def disks() -> tuple[Path, ...]:
    """The appliance's disks, the root disk first."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = Path(base) / "appliance-tests" / "verify"
    place.mkdir(parents=True, exist_ok=True)
    return build(request(CONFIG), place / "verify.ova", with_vm=False).disks


@pytest.fixture(scope="session")
def admin() -> str:
    """The administrator's account."""
    return CONFIG.admin.user
