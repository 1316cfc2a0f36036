"""Guests with what is off by default."""

import hashlib
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import FORKED, Guest, books_layer, further_layer, notebook_guest
from playwright.sync_api import Browser, sync_playwright

from provision import resources
from provision.build.variables import EGRESS_PORT, egress_proxy
from provision.config import Config, languages
from provision.process import require

sys.path.insert(0, str(Path(__file__).parent))

from gitserver import GIT_PORT

from tests.integration.webdav import HOSTED_PORT

LIMITS = {
    **{"memory": 1 << 30, "swap": 0, "cpu": 100, "tasks": 256, "files": 1024},
    **{"file_size": 100 << 20, "tmp": 32 << 20, "disk": 200 << 20},
}
VARIABLES = {
    "pool_accounts": ["nb1", "nb2", "nb3"],
    "notebook_accounts": True,
    "notebook_patience": 6,
    "notebook_limits": LIMITS,
    "notebook_forked": FORKED,
    "notebook_egress": EGRESS_PORT,
    "egress_squid": egress_proxy(
        (f"git.school.test:{GIT_PORT}", f"store.school.test:{HOSTED_PORT}")
    ),
    "notebook_record": {
        "groups": {
            "seniors": {"members": ["emmy"], "limits": {"memory": 2 << 30, "disk": 300 << 20}},
        },
        "stores": {"every": 3600},
        "students": {"sonja": {"cpu": 50}},
        "profiles": {
            "any": {"title": "Everything", "kernels": [], "limits": {}, "forked": True},
            "stats": {
                **{"title": "Statistics", "kernels": ["ir"], "forked": False},
                "limits": {"memory": 1536 << 20},
            },
        },
    },
}
# Julia is in no Debian and its package server is not everywhere: what stands in for it has the
# layout of the upstream tarball, answers Pkg.add, and starts bash's kernel in Julia's name. Whoever
# has the real one names its tarball in $JULIA.
STAND_IN = """#!/bin/sh
case "$*" in
*Pkg.add*) mkdir -p "$JULIA_DEPOT_PATH"; exit ;;
*IJulia.run_kernel*) for file; do :; done
    exec /opt/kernels/bin/python -m bash_kernel -f "$file" ;;
esac
echo "julia version 1.99.0"
"""


def julia(scratch: Path) -> dict[str, str]:
    """The variables for Julia's tarball, or for one with its layout."""
    if real := os.environ.get("JULIA"):
        version = Path(real).name.split("-")[1]  # as in julia-1.12.1-linux-x86_64.tar.gz
        digest = hashlib.sha256(Path(real).read_bytes()).hexdigest()
        return {"version": version, "path": str(Path(real).absolute()), "sha256": digest}
    program = scratch / "julia"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    tarball = scratch / "julia.tar.gz"
    with tarfile.open(tarball, "w:gz") as tar:
        tar.add(program, "julia-1.99.0/bin/julia")
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    return {"version": "1.99.0", "path": str(tarball), "sha256": digest}


@pytest.fixture(scope="session")
def hosted_layers(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What is off by default, installed."""
    scratch = tmp_path_factory.mktemp("hosted")
    roles = [resources.playbooks() / "roles" / name for name in ("kernels", "extensions")]
    inputs = [
        Path(languages.__file__),
        *sorted((resources.PACKAGE / "guest/sage").iterdir()),
        *(file for role in roles for file in sorted(role.rglob("*")) if file.is_file()),
    ]
    tarball = julia(scratch)
    kernels = {
        "bash": True,
        "r": True,
        "octave": True,
        "julia": {**tarball, "path": Path(tarball["path"])},
    }
    told = {
        "kernels_languages": languages.further(languages.Kernels.model_validate(kernels)),
        "kernels_julia": tarball,
        "kernels_wheels": True,
        "extensions_names": ["git", "signin", "stores"],
    }
    below = [*layers, further_layer("hosted", layers, inputs, told, scratch)]
    asked = {"sage": {"source": "none"}, "kernels": {"r": True, "octave": True}}
    return [*below, books_layer(below, scratch, Config.model_validate(asked))]


@pytest.fixture(scope="session")
def hosted(hosted_layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A notebook with groups, profiles, languages and git."""
    with notebook_guest(hosted_layers, tmp_path_factory.mktemp("guest"), VARIABLES) as guest:
        guest.run("systemctl start notebook-egress")
        yield guest


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=require("chromium", "chromium"),
            args=[
                *("--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"),
                # What a page would load from outside is not found at once.
                "--host-resolver-rules=MAP id.school.test 127.0.0.1,MAP * ~NOTFOUND,"
                "EXCLUDE 127.0.0.1",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def empty(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no session behind, whatever happens."""
    yield
    for name in request.fixturenames:
        if isinstance(guest := request.getfixturevalue(name) if name == "hosted" else None, Guest):
            guest.run("notebook-sessions end")
