"""The grading service against bare bubblewrap with the same root, in the same run.

The figures are printed; the asserted ratios are the promise: p50 of `print(1+1)` at most 1.3
times bare bubblewrap's, throughput at least 0.8 times, and at most 40 ms from POST to notify
above it.
"""

import concurrent.futures
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provision.guest.grader.engine import Bubblewrap
from provision.guest.grader.uml import UserModeLinux
from provision.guest.sandbox.limits import Limits
from tests.integration.grader.conftest import (
    RECIPE,
    Grader,
    Inbox,
    grader,
    images,
    inbox,
    python,
    squashfs,
    state,
    uml,
    uml_kernel,
)

__all__ = ["grader", "images", "inbox", "squashfs", "state", "uml", "uml_kernel"]

ROUNDS = 60
WORKERS = 2
BATCH, PAIRS = 20, 15
PROGRAM = "print(1+1)"


def bare(root: Path) -> list[str]:
    return [
        *("bwrap", "--unshare-all", "--die-with-parent", "--new-session"),
        *("--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
        *("--uid", "1000", "--gid", "1000", "/usr/bin/python3", "-c", PROGRAM),
    ]


def show(line: str) -> None:
    """Where it is read even when the test passes."""
    sys.stderr.write(f"{line}\n")


def timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@pytest.fixture
def archive(state: Path) -> Path:
    path = state / "task.tar"
    path.write_bytes(python(PROGRAM))
    return path


def test_one_task(images: Path, archive: Path, record_property: Callable[..., None]) -> None:
    """Interleaved, so that the machine's load weighs on both alike."""
    argv = bare(images / RECIPE.name)
    engine, limits = Bubblewrap(images), Limits(nice=0)
    floor, ours = [], []

    def one() -> None:
        result = engine.run(archive, RECIPE.name, limits, name="bench")
        assert result.stdout == "2\n", result

    for _ in range(5):
        one()
        subprocess.run(argv, check=True, capture_output=True)
    for _ in range(ROUNDS):
        floor.append(timed(lambda: subprocess.run(argv, check=True, capture_output=True)))
        ours.append(timed(one))
    ratio = statistics.median(ours) / statistics.median(floor)
    paired = statistics.median(a / b for a, b in zip(ours, floor, strict=True))
    show(
        f"\nprint(1+1): bare bubblewrap p50 {1000 * statistics.median(floor):.1f} ms, "
        f"engine p50 {1000 * statistics.median(ours):.1f} ms, ratio {ratio:.2f}, "
        f"of pairs {paired:.2f}"
    )
    record_property("ratio", ratio)
    assert ratio <= 1.3


def test_throughput(images: Path, archive: Path) -> None:
    """Many short rounds in turn; the median of their ratios, so that a neighbour's work cancels."""
    argv = bare(images / RECIPE.name)
    engine, limits = Bubblewrap(images), Limits(nice=0)

    def one(number: int) -> None:
        assert engine.run(archive, RECIPE.name, limits, name=f"b{number}").stdout == "2\n"

    def floor(_: int) -> None:
        subprocess.run(argv, check=True, capture_output=True)

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:

        def rate(work: Callable[[int], None]) -> float:
            return BATCH / timed(lambda: list(pool.map(work, range(BATCH))))

        rate(one)
        rate(floor)
        pairs = [(rate(floor), rate(one)) for _ in range(PAIRS)]
    ratio = statistics.median(ours / bare_ for bare_, ours in pairs)
    show(
        f"\n2 workers: bare bubblewrap {statistics.median(p[0] for p in pairs):.0f}/s, "
        f"engine {statistics.median(p[1] for p in pairs):.0f}/s, median ratio {ratio:.2f}"
    )
    assert ratio >= 0.8


def test_from_post_to_notify(grader: Callable[..., Grader], inbox: Inbox, images: Path) -> None:
    client = grader(instances=1, limits={"nice": 0}).client
    argv = bare(images / RECIPE.name)
    floor, trips = [], []
    program = python(PROGRAM)
    for number in range(30):
        floor.append(timed(lambda: subprocess.run(argv, check=True, capture_output=True)))
        begun = time.monotonic()
        assert client.post(program, notify=inbox.url).status == 200
        trips.append(inbox.expect(number + 1)[number]["_at"] - begun)
    above = 1000 * (statistics.median(trips) - statistics.median(floor))
    show(
        f"\nPOST to notify p50 {1000 * statistics.median(trips):.1f} ms, "
        f"{above:.1f} ms above bare bubblewrap"
    )
    assert above <= 40


def test_a_kernel_for_each_task(images: Path, uml: dict[str, str], archive: Path) -> None:
    """The original's price: no limit of ours, but an emulated boot stays within seconds."""
    outer = Bubblewrap(images)
    engine = UserModeLinux(Path(uml["uml_kernel"]), Path(uml["uml_images"]), outer)
    argv = bare(images / RECIPE.name)
    times: dict[str, list[float]] = {"uml": [], "bare": []}
    for _ in range(10):
        begun = time.perf_counter()
        result = engine.run(archive, RECIPE.name, Limits(nice=0), name="bench")
        times["uml"].append(time.perf_counter() - begun)
        assert result.stdout == "2\n", result
        times["bare"].append(timed(lambda: subprocess.run(argv, check=True, capture_output=True)))
    slow, floor = (statistics.median(times[name]) for name in ("uml", "bare"))
    show(
        f"\nprint(1+1) in User-Mode Linux: p50 {1000 * slow:.0f} ms, "
        f"{slow / floor:.0f} times bare bubblewrap's {1000 * floor:.1f} ms"
    )
    assert slow < 5
