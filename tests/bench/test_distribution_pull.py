"""A pull that finds nothing new, as a seat runs it every morning: the whole command."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.distribution.conftest import (  # noqa: F401 (fixtures)
    fetched,
    images,
    manage,
    publisher,
    vbox_home,
)
from tests.integration.distribution.network import Network
from tests.integration.distribution.publishing import Publisher
from vbox import VBoxManage

SECONDS = 1.0
RUNS = 7


def test_nothing_new(
    publisher: Publisher,  # noqa: F811
    manage: VBoxManage,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publisher.publish(1)
    env = {**os.environ, **manage.env, "XDG_DATA_HOME": str(tmp_path / "data")}
    env["PATH"] = f"{manage.path.parent}:{env['PATH']}"

    def timed(*argv: str | Path) -> float:
        begun = time.monotonic()
        subprocess.run(argv, env=env, check=True, capture_output=True)
        return time.monotonic() - begun

    with Network(1) as network, network.serving(publisher.root) as url:
        command = [*network.on(1), sys.executable, "-m", "provision.cli", "pull", url]
        first = timed(*command, "--public-key", publisher.public)
        took = [timed(*command) for _ in range(RUNS)]
        python = [timed(sys.executable, "-c", "pass") for _ in range(RUNS)]
        question = ("getextradata", "sage", "enumerate")
        vbox = [timed(manage.path, *question) for _ in range(RUNS)]
    median = statistics.median(took)
    with capsys.disabled():
        print(
            f"\nfirst pull {first:.2f} s; nothing new: median {median:.2f} s of"
            f" {', '.join(f'{each:.2f}' for each in took)};"
            f" in it Python's start {statistics.median(python):.2f} s and one question to"
            f" VirtualBox {statistics.median(vbox):.2f} s"
        )
    assert median < SECONDS
