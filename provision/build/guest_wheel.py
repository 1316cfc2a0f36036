"""The guest's half as a wheel: `provision/guest`, and what both halves share."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from provision import resources
from provision.errors import ApplianceError

OF_PROJECT = ("pyproject.toml", "data")  # of provision/guest, what is beside the code in a project


def files() -> tuple[Path, ...]:
    """Every file that decides what is in it."""
    package = resources.PACKAGE
    ours = (path for path in (package / "guest").rglob("*") if path.is_file())
    found = (path for path in ours if "__pycache__" not in path.parts)
    return tuple(sorted((*package.glob("*.py"), *found)))


def build(target: Path) -> Path:
    """Build it, the same bytes from the same source.

    Args:
        target: the directory that it goes to.

    Returns:
        Its file.

    Raises:
        ApplianceError: uv cannot build it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for path in files():
            place = Path(scratch, _place(path.relative_to(resources.PACKAGE)))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            place.chmod(0o644)  # it is in the wheel
        done = subprocess.run(
            [
                *(sys.executable, "-m", "uv", "build", "--wheel", "--offline", "--no-config"),
                *("--no-cache", "--python", sys.executable, "--out-dir", str(target), scratch),
            ],
            env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        told = " ".join(done.stderr.split())[-600:]
        raise ApplianceError(f"the guest's wheel cannot be built: {told}")
    (wheel,) = target.glob("*.whl")
    return wheel


def _place(path: Path) -> Path:
    """Where a file of our package is in the project that uv builds."""
    _, *below = path.parts
    return Path(*below) if below and below[0] in OF_PROJECT else Path("provision", path)
