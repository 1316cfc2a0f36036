"""The appliance that the integration tests share: small, without Sage, built once per host."""

from pathlib import Path

import pytest

from provision.build import places
from provision.build.artefacts import LAYER
from provision.build.build import Built, build, request, steps
from provision.build.cache import Cache
from provision.config import Config, read

# The command line's options that name the shared appliance.
SMALL = (
    *("--set", "name=verify", "--set", "sage.source=none", "--set", "pool.count=2"),
    *("--set", "grader.enabled=true", "--set", "jail.enabled=true"),
    # Debian's own package tools beside Python, to prove that they work through the proxy.
    *("--set", "grader.images={python: [apt, python3, python3-pip]}"),
)
CONFIG = read(assignments=SMALL[1::2]).config


def layers_of(config: Config) -> list[Path]:
    """The layers of a configuration's appliance, the base first; there once it is built.

    Ask before the build: they are named by the state of our own files.
    """
    named = {each.name: each.key for each in steps(request(config), Path("any.ova"))}
    cache = Cache(places.cache() / "stages")
    order = ("base", "packages", "configure", "seal")
    return [cache.entry(named[stage]) / LAYER for stage in order]


@pytest.fixture(scope="session")
def built() -> Built:
    """The shared appliance; its stages and its OVA stay in the user's cache for the next run."""
    place = places.cache() / "tests"
    place.mkdir(parents=True, exist_ok=True)
    return build(request(CONFIG), place / "verify.ova", with_vm=False)


@pytest.fixture(scope="session")
def sealed(request: pytest.FixtureRequest) -> list[Path]:
    """The layers of the shared appliance, the base first."""
    layers = layers_of(CONFIG)
    request.getfixturevalue("built")
    return layers


@pytest.fixture(scope="session")
def disks(built: Built) -> tuple[Path, ...]:
    """The shared appliance's disks, the root disk first."""
    return built.disks


@pytest.fixture(scope="session")
def arguments() -> list[str]:
    """The command line's options that name the shared appliance."""
    return list(SMALL)


@pytest.fixture(scope="session")
def admin() -> str:
    """The shared appliance's administrator."""
    return CONFIG.admin.user
