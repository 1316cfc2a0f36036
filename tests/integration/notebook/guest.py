"""A guest with the notebook, booted from cached layers by nspawn."""

import hashlib
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from provision import resources
from provision.build import places
from provision.build.artefacts import DISKS, LAYER
from provision.build.build import HOST_CA, request, root_layers
from provision.build.playbook import run_playbook
from provision.build.request import BUILD_CA_BUNDLE, Request
from provision.build.work import WORK
from provision.build.workshop import Workshop
from provision.config import Config, books
from provision.errors import ApplianceError
from provision.jeos.archive import identity
from provision.locks import holding
from provision.machine import SshEndpoint
from provision.machine.nspawn import NspawnMachine
from provision.machine.ports import free_port
from provision.machine.ssh import connect, execute
from tests.integration.conftest import asked
from vbox.ports import free as is_free

HERE = Path(__file__).parent
OURS = tuple(resources.PACKAGE / "guest/sage" / name for name in ("install-wheels.sh", "lean.py"))
PORT, SESSIONS_PORT = 8000, 8443
START = "/usr/local/bin/start-notebook"
FORKED = os.environ.get("FORKED", "true") == "true"  # FORKED=false: sessions and kernels start
BOOT_SECONDS = 60
WANTED = "/etc/systemd/system/multi-user.target.wants"
NETWORK = """[Match]
Type=ether
[Network]
DHCP=ipv4
"""
ANY_CERTIFICATE = ssl._create_unverified_context()  # noqa: S323 - the guest made it itself


@dataclass
class Guest:
    """A running guest.

    Args:
        url: where its notebook answers.
        root: a connection as root.
        machine: what it runs in; None where a test need not know.
        endpoint: its SSH server; None where a test need not know.
    """

    url: str
    root: paramiko.SSHClient
    machine: NspawnMachine | None = None
    endpoint: SshEndpoint | None = None

    @property
    def sessions_url(self) -> str:
        """Where its sessions answer browsers."""
        place, _, port = self.url.rpartition(":")
        return f"{place}:{int(port) + SESSIONS_PORT - PORT}"

    def run(self, command: str, timeout: float = 120) -> str:
        """Run a command as root; it must succeed."""
        result = execute(self.root, command, timeout=timeout)
        assert result.status == 0, f"{command}: {result}"
        return result.stdout

    @contextmanager
    def keeping(self, *files: str, then: str = "true") -> Iterator[None]:
        """Put files back as they are now: each with its text, owner and mode.

        The guest is other tests' too: whoever copies a file to a place of the own choice finds
        another's there, and leaves that one's mode upon what it puts back.

        Args:
            files: their paths in the guest.
            then: a command for afterwards, such as the restart of what reads them.
        """
        kept = self.run("mktemp").strip()
        self.run(f"tar -cPf {kept} {' '.join(files)}")
        try:
            yield
        finally:
            self.run(f"tar -xPf {kept} && rm {kept}; {then}")

    def gateway(self) -> str:
        """The address by which the guest reaches this host's loopback."""
        number = self.run("awk '$2 == \"00000000\" {print $3; exit}' /proc/net/route").strip()
        return ".".join(str(byte) for byte in reversed(bytes.fromhex(number)))

    def wait(self, patience: float = BOOT_SECONDS) -> None:
        """Wait until the hub answers."""
        deadline = time.monotonic() + patience
        while True:
            asked = time.monotonic()
            try:
                url = f"{self.url}/hub/login"
                urllib.request.urlopen(url, timeout=30, context=ANY_CERTIFICATE).close()
                return
            except (OSError, urllib.error.URLError):
                if asked > deadline:
                    raise
                # A slow guest has better things to do than to refuse us all the time.
                time.sleep(max(0.2, 5 * (time.monotonic() - asked)))


@contextmanager
def settings(guest: Guest, **values: int | str) -> Iterator[None]:
    """Settings of the start script, changed for a while."""
    with guest.keeping(START, then="systemctl restart notebook"):
        for name, value in values.items():
            guest.run(f"sed -i 's/^    {name}=.*/    {name}={json.dumps(value)},/' {START}")
        guest.run("systemctl restart notebook")
        guest.wait()
        yield


@contextmanager
def booted(
    layers: Sequence[Path], upper: Path, *, forwards: Mapping[int, int], log: Path
) -> Iterator[tuple[SshEndpoint, paramiko.SSHClient]]:
    """A guest on layers, with this host's certificate authorities."""
    with _machine(layers, upper, forwards=forwards, log=log) as machine:
        endpoint = machine.start()
        with connect(endpoint) as client:
            yield endpoint, client


def _machine(
    layers: Sequence[Path], upper: Path, *, forwards: Mapping[int, int], log: Path
) -> NspawnMachine:
    return NspawnMachine(
        layers,
        upper,
        forwards=forwards,
        binds={HOST_CA: BUILD_CA_BUNDLE} if HOST_CA.exists() else None,
        console=log.with_suffix(".console"),
    )


def make_base(wanted: Request, base: Path, *, log: Path) -> None:
    """Make the minimal distribution of a configuration."""
    shop = Workshop(wanted, places.cache() / "packages", log)
    shop.downloads.mkdir(parents=True, exist_ok=True)
    part = base.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    WORK["base"](shop, [], part)
    part.rename(base)


def installed_layers(scratch: Path) -> list[Path]:
    """The base and a layer with the notebook's packages, from the cache or made now."""
    cache = places.cache() / "tests"
    cache.mkdir(parents=True, exist_ok=True)
    with holding(cache / "layers.lock", wait=True):
        return _installed_layers(cache, scratch)


def _installed_layers(cache: Path, scratch: Path) -> list[Path]:
    wanted = request(Config())
    base_key = hashlib.sha256(identity(wanted.sources).encode()).hexdigest()[:12]
    roles = resources.playbooks() / "roles"
    inputs = [
        roles / "notebook" / "tasks" / "install.yml",
        roles / "notebook" / "files" / "trim-notebook.sh",
        *sorted((roles / "notebook" / "files").glob("*.lock")),
        resources.playbooks() / "library" / "wheels.py",
        *OURS,
    ]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()[:12]
    install = cache / f"notebook-{base_key}-{key}"
    log = scratch / "install.log"
    try:
        base, *_ = root_layers(asked())  # of the shared appliance
    except ApplianceError:  # which was not built
        base = cache / f"base-{base_key}" / LAYER
        if not base.exists():
            make_base(wanted, base.parent, log=log)
    if not install.exists():
        part = install.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        variables = {**wanted.variables(), "building": True}
        with booted([base], part, forwards={}, log=log) as (endpoint, _):
            run_playbook(HERE / "install.yml", endpoint, variables, log=log)
        part.rename(install)
    return [base, install]


def sage_layer(layers: Sequence[Path], scratch: Path, *, lean: bool = True) -> Path:
    """A layer with Sage on top of the notebook's, from the cache or made now.

    Args:
        layers: from ``installed_layers``.
        scratch: directory for its log.
        lean: leave out what a build leaves out.
    """
    role = resources.playbooks() / "roles" / "sage"
    inputs = sorted([*(role / "tasks").iterdir(), *(role / "files").iterdir()])
    inputs += OURS[: 1 + lean]
    variables = {"sage_source": "passagemath", "sage_lean": lean}
    return further_layer("sage", layers, inputs, variables, scratch)


def books_layer(layers: Sequence[Path], scratch: Path, config: Config) -> Path:
    """A layer with a configuration's books on top of what they are about."""
    role = resources.playbooks() / "roles" / "documentation"
    inputs = [file for file in sorted(role.rglob("*")) if file.is_file()]
    programs = ("docstrings.py", "names.py", "reference.R")
    inputs += [
        Path(books.__file__),
        *(resources.PACKAGE / "guest/documentation" / p for p in programs),
    ]
    variables = {
        "documentation_books": books.descriptions(config),
        "sage_source": config.sage.source,
    }
    return further_layer("documentation", layers, inputs, variables, scratch)


def further_layer(
    name: str,
    layers: Sequence[Path],
    inputs: Sequence[Path],
    variables: Mapping[str, Any],
    scratch: Path,
) -> Path:
    """A layer that the playbook NAME.yml makes on top of the others, from the cache or made now.

    Args:
        name: of the playbook beside this module.
        layers: from ``installed_layers``.
        inputs: files that decide the result.
        variables: of its roles.
        scratch: directory for its log.
    """
    key = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()[:12]
    layer = layers[-1].with_name(f"{name}-{layers[-1].name.split('-', 1)[1]}-{key}")
    with holding(layer.with_name("layers.lock"), wait=True):
        if not layer.exists():
            part = layer.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            log = scratch / f"{name}.log"
            told = {**request(Config()).variables(), **variables}
            with booted(layers, part, forwards={}, log=log) as (endpoint, _):
                run_playbook(HERE / f"{name}.yml", endpoint, told, log=log)
            part.rename(layer)
    return layer


def machine_disks(
    layers: Sequence[Path], scratch: Path, config: Config, variables: Mapping[str, Any]
) -> list[Path]:
    """An appliance's disks for a virtual machine, as its build makes them: root and home.

    Args:
        layers: from ``installed_layers``.
        scratch: directory for what it writes.
        config: decides the disks.
        variables: of the roles, besides those of the configuration.
    """
    wanted = request(config)
    shop = Workshop(wanted, scratch / "packages", scratch / "build.log")
    configured = scratch / "configured"
    told = {**wanted.variables(), **variables}
    with booted(layers, configured / LAYER, forwards={}, log=shop.log) as (endpoint, client):
        run_playbook(HERE / "configure.yml", endpoint, told, log=shop.log)
        guest = Guest("", client)
        guest.run(f"echo '{NETWORK}' > /etc/systemd/network/20-wired.network")
        guest.run("systemctl enable systemd-networkd")
    all_layers = [*layers, configured / LAYER]
    for stage in ("seal", "disks"):
        (scratch / stage).mkdir()
        WORK[stage](shop, all_layers, scratch / stage)
        all_layers.append(scratch / stage / LAYER)
    images = scratch / "disks" / DISKS
    return [images / "root.raw", images / "home.raw"]


def both_ports() -> dict[int, int]:
    """Free ports for hub and sessions, as far apart as they are in the guest."""
    apart = SESSIONS_PORT - PORT
    while True:
        port = free_port()
        if port + apart < 1 << 16 and is_free("127.0.0.1", port + apart):
            return {PORT: port, SESSIONS_PORT: port + apart}


@contextmanager
def notebook_guest(
    layers: Sequence[Path],
    scratch: Path,
    variables: Mapping[str, Any],
    *,
    further: Sequence[int] = (),
) -> Iterator[Guest]:
    """A guest whose notebook runs, configured by the roles.

    Args:
        layers: from ``installed_layers``.
        scratch: directory for what it writes.
        variables: of the roles, besides those of a default configuration.
        further: ports of the guest to forward besides the notebook's.
    """
    log = scratch / "configure.log"
    forwards = {**both_ports(), **{port: free_port() for port in further}}
    told = {**request(Config()).variables(), "building": True, "notebook_secure": False}
    told |= variables
    with _machine(layers, scratch / "upper", forwards=forwards, log=log) as machine:
        endpoint = machine.start()
        run_playbook(HERE / "configure.yml", endpoint, told, log=log)
        url = f"http{'s' if told['notebook_secure'] else ''}://127.0.0.1:{forwards[PORT]}"
        with connect(endpoint) as client:
            guest = Guest(url, client, machine, endpoint)
            # An overlay cannot be mounted with other owners; the appliance's /home is ext4.
            guest.run("mount -t tmpfs -o mode=0711 tmpfs /home/students")
            units = "appliance-keys notebook-usage sshd-pool notebook notebook-pam.socket"
            guest.run("systemctl daemon-reload && systemctl restart systemd-logind")
            guest.run(f"systemctl start {units} $(ls {WANTED} | grep ^nursery@)")
            guest.wait()
            try:
                yield guest
            finally:
                machine.cut()  # nobody looks at what is left of it
