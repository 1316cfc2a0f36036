import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

sys.path.insert(0, str(Path(__file__).parent))

from guest import FORKED, Guest, further_layer, installed_layers, notebook_guest

from provision import resources

PATIENCE = 60_000  # milliseconds: build hosts are busy


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new window on a phone."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield page
    context.close()


@pytest.fixture(scope="session")
def layers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What is installed, without configuration."""
    return installed_layers(tmp_path_factory.mktemp("install"))


LIMITS = {
    **{"memory": 1 << 30, "swap": 0, "cpu": 100, "tasks": 256, "files": 1024},
    **{"file_size": 100 << 20, "tmp": 32 << 20, "disk": 0},
}


COURSES = {
    "algebra": {"members": ["emmy", "carl", "cheat"], "teachers": ["noether"], "quota": 50 << 20},
    "examined": {"members": ["cheat", "slow"], "teachers": ["marker"], "quota": 50 << 20},
    "graded": {
        **{"members": [f"pupil{n:02}" for n in range(42)] + ["bitdiddle", "hacker", "pupil"]},
        **{"teachers": ["marker"], "quota": 50 << 20},
    },
}


@pytest.fixture(scope="session")
def course_layers(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What courses need beside the notebook, installed."""
    role = resources.playbooks() / "roles" / "extensions"
    inputs = [role / "tasks/main.yml", role / "files/courses.lock"]
    told = {"extensions_names": ["courses"]}
    scratch = tmp_path_factory.mktemp("courses")
    return [*layers, further_layer("courses", layers, inputs, told, scratch)]


@pytest.fixture(scope="session")
def guest(course_layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A running notebook with three places, open to whoever makes an account."""
    variables = {
        "pool_accounts": ["nb1", "nb2", "nb3"],
        "notebook_accounts": True,
        "notebook_patience": 6,
        "notebook_classic": True,
        "notebook_forked": FORKED,
        "notebook_limits": LIMITS,
        "notebook_record": {"courses": COURSES},
    }
    with notebook_guest(course_layers, tmp_path_factory.mktemp("guest"), variables) as guest:
        yield guest


@pytest.fixture(scope="session")
def school(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Another machine, as careful as a school: HTTPS, its name, approval of new accounts."""
    variables = {
        "pool_accounts": ["nb1", "nb2"],
        "notebook_secure": True,
        "notebook_title": "Gauss <School>",
        "notebook_accounts": True,
        "notebook_approval": True,
        "notebook_network": "mirror",
        "notebook_limits": LIMITS,
    }
    scratch = tmp_path_factory.mktemp("school")
    with notebook_guest(layers, scratch, variables, further=[2200]) as guest:
        yield guest
