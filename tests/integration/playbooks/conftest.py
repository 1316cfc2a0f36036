"""Real guests: one on the bare base, one that was built and sealed by the stages of a build."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.build import places
from provision.build.artefacts import LAYER
from provision.build.build import HOST_CA
from provision.build.playbook import PlaySummary, run_playbook
from provision.build.request import BUILD_CA_BUNDLE
from provision.build.work import WORK
from provision.build.workshop import Workshop
from provision.jeos.layers import private_mounts
from provision.machine import SshEndpoint
from provision.machine.nspawn import NspawnMachine
from provision.machine.ssh import CommandResult, connect, execute
from tests.integration.conftest import asked

ADMIN = "sageadm"
Boot = Callable[..., "Guest"]


@dataclass
class Guest:
    """A booted guest and the variables of its playbooks."""

    machine: NspawnMachine
    endpoint: SshEndpoint
    variables: dict[str, Any]
    log: Path

    def play(self, playbook: str | Path, **options: Any) -> PlaySummary:
        return run_playbook(playbook, self.endpoint, self.variables, log=self.log, **options)

    def run(self, command: str) -> CommandResult:
        client = connect(self.endpoint)
        try:
            return execute(client, command, timeout=60)
        finally:
            client.close()

    def ask(self, command: str) -> str:
        """What a command printed; it must succeed."""
        result = self.run(command)
        assert result.status == 0, f"{command}: {result.stdout}{result.stderr}"
        return result.stdout.strip()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    where = tmp_path_factory.mktemp("workshop")
    private_mounts()
    return Workshop(asked(), places.cache() / "packages", where / "build.log")


@pytest.fixture(scope="session")
def base(sealed: tuple[Path, ...]) -> Path:
    """The lowest layer of the shared appliance."""
    return sealed[0]


@pytest.fixture(scope="session")
def build(
    workshop: Workshop, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], list[Path]]:
    """Build an appliance on the base with all stages up to the seal; gives its layers."""

    def build() -> list[Path]:
        where = tmp_path_factory.mktemp("build")
        layers = [base]
        for name, work in WORK.items():
            if name not in ("base", "disks"):
                part = where / name
                part.mkdir()
                work(workshop, layers, part)
                layers.append(part / LAYER)
        return layers

    return build


@pytest.fixture(scope="module")
def boot(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boot]:
    """Boot layers; all guests end with the module."""
    machines: list[NspawnMachine] = []

    def boot(layers: Sequence[Path], user: str = "root", **variables: Any) -> Guest:
        where = tmp_path_factory.mktemp("guest")
        machine = NspawnMachine(
            layers,
            where / "upper",
            user=user,
            binds={HOST_CA: BUILD_CA_BUNDLE} if HOST_CA.exists() else None,
            caches={workshop.downloads: "/var/cache/apt/archives"},
            console=where / "console",
        )
        machines.append(machine)
        told = {**workshop.request.variables(), **variables}
        return Guest(machine, machine.start(), told, where / "log")

    yield boot
    for machine in machines:
        machine.stop()
