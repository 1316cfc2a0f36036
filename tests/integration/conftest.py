"""The appliance that the integration tests share: small, without Sage, built once per host."""

import pytest

from provision.build import places
from provision.build.build import Built, build, request
from provision.config import Config

CONFIG = Config.model_validate({"name": "verify", "sage": {"source": "none"}, "pool": {"count": 2}})


@pytest.fixture(scope="session")
def built() -> Built:
    """The shared appliance; its stages and its OVA stay in the user's cache for the next run."""
    place = places.cache() / "tests"
    place.mkdir(parents=True, exist_ok=True)
    return build(request(CONFIG), place / "verify.ova", with_vm=False)
