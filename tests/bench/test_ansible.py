"""What each way for Ansible to speak to a guest brings: the same playbook, in one run."""

import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.build.artefacts import LAYER
from provision.build.inputs import Request
from provision.build.playbook import Transport, run_playbook
from provision.build.stages import WORK, Workshop
from provision.config import Config
from provision.config.model import Sage
from provision.jeos import archive
from provision.jeos.layers import private_mounts
from provision.machine import SshEndpoint
from provision.machine.nspawn import NspawnMachine

ROUNDS = 2
RATIO = 0.6  # of mitogen to pipelining, the best that Ansible has of its own


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SshEndpoint, Request, Path]]:
    """A guest that has everything already: what is measured is Ansible and its transport."""
    where = tmp_path_factory.mktemp("ansible")
    config = Config(sage=Sage(source="none"))
    sources = archive.sources(config.distribution, config.suite, config.mirror)
    request = Request(config, sources, archive.read_release(sources), (), host_ca=None)
    private_mounts()
    shop = Workshop(request, where / "downloads", where / "log")
    WORK["base"](shop, (), where)
    with NspawnMachine([where / LAYER], where / "upper") as machine:
        endpoint = machine.start()
        run_playbook("site", endpoint, request.variables(), log=shop.log)
        yield endpoint, request, shop.log


def test_transports(guest: tuple[SshEndpoint, Request, Path]) -> None:
    endpoint, request, log = guest
    measured: dict[Transport, float] = {}
    for transport in Transport:
        # The slow ones are measured once: they are not what is compared.
        rounds = ROUNDS if transport in (Transport.PIPELINING, Transport.MITOGEN) else 1
        seconds = []
        for _ in range(rounds):
            done = run_playbook(
                "configure", endpoint, request.variables(), log=log, transport=transport
            )
            assert done.changed == ()
            seconds.append(done.seconds)
        measured[transport] = statistics.median(seconds)
    best = measured[Transport.PIPELINING]
    print("\nconfigure.yml, nothing to change, in a guest under nspawn")
    for transport, taken in measured.items():
        print(f"  {transport.name.lower():<11}{taken:6.1f} s  {taken / best:5.2f}")
    assert measured[Transport.MITOGEN] / best <= RATIO
