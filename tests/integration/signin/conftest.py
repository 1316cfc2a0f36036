"""What the tests of learning platforms share: one hub."""

from collections.abc import Iterator

import pytest

from tests.integration.lti_platform import Platform
from tests.integration.signin.lti_hub import Place, running


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A hub with two platforms."""
    with running(tmp_path_factory.mktemp("hub")) as found:
        yield found


@pytest.fixture
def moodle(place: Place) -> Iterator[Platform]:
    """One of them, with its usual keys and people; afterwards it is as it was."""
    kept = {**vars(place.moodle)}
    with place.moodle.serving() as platform:
        yield platform
    vars(place.moodle).update(kept)
