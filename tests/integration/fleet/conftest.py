import os
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from guests import Base, Fleet, base, fleet
from toy import packed, tree

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and item.parent is not None:
        item.parent.stash[FAILED] = True
    return report


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """What all guests have in common."""
    return base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def package(shared: Base, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a packed Sage of a version; ``right`` and ``starts`` as in ``toy.tree``."""

    def make(version: str, ballast: int = 0, **how: bool) -> Path:
        place = tmp_path_factory.mktemp("package")
        made = tree(place / f"sage-{version}", version, shared.python, **how)
        (made / "ballast").write_bytes(os.urandom(ballast))
        return packed(made, place / f"sage-{version}.tar.zst")

    return make


@pytest.fixture(scope="module")
def one(shared: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet of one."""
    with fleet(shared, tmp_path_factory.mktemp("fleet"), 1) as running:
        yield running


@pytest.fixture
def afresh(one: Fleet, request: pytest.FixtureRequest) -> None:
    """New guests after a test that failed: what it left behind is not the next one's fault."""
    parent = request.node.parent
    if parent.stash.get(FAILED, False):
        parent.stash[FAILED] = False
        one.renew()
