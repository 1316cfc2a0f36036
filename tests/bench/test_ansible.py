"""What each way for Ansible to speak to a guest brings: the same playbook, in one run."""

import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.build import places
from provision.build.artefacts import LAYER
from provision.build.build import HOST_CA, request
from provision.build.playbook import Transport, run_playbook
from provision.build.request import BUILD_CA_BUNDLE, Request
from provision.build.work import WORK
from provision.build.workshop import Workshop
from provision.config import Config
from provision.config.model import Sage
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
    wanted = request(config)
    private_mounts()
    shop = Workshop(wanted, places.cache() / "packages", where / "log")
    WORK["base"](shop, (), where)
    binds = {HOST_CA: BUILD_CA_BUNDLE} if HOST_CA.exists() else None
    with NspawnMachine([where / LAYER], where / "upper", binds=binds) as machine:
        endpoint = machine.start()
        run_playbook("site", endpoint, wanted.variables(), log=shop.log)
        yield endpoint, wanted, shop.log


def test_transports(guest: tuple[SshEndpoint, Request, Path]) -> None:
    endpoint, wanted, log = guest
    measured: dict[Transport, float] = {}
    for transport in Transport:
        # The slow ones are measured once: they are not what is compared.
        rounds = ROUNDS if transport in (Transport.PIPELINING, Transport.MITOGEN) else 1
        seconds = []
        for _ in range(rounds):
            done = run_playbook(
                "configure", endpoint, wanted.variables(), log=log, transport=transport
            )
            assert done.changed == ()
            seconds.append(done.seconds)
        measured[transport] = statistics.median(seconds)
    best = measured[Transport.PIPELINING]
    print("\nconfigure.yml, nothing to change, in a guest under nspawn")
    for transport, taken in measured.items():
        print(f"  {transport.name.lower():<11}{taken:6.1f} s  {taken / best:5.2f}")
    assert measured[Transport.MITOGEN] / best <= RATIO
