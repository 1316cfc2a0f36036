"""A booted guest to provision, under either runtime, and what remains of it as a layer."""

import contextlib
import functools
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import paramiko

from provision import temporary
from provision.build.artefacts import LAYER, NATIVE, mark_whole
from provision.build.fetch import BUILD_NETWORK, pull_tree
from provision.build.request import BUILD_CA_BUNDLE, KEPT_WHEELS, Request
from provision.build.workshop import Workshop
from provision.config.architectures import ARCHITECTURES
from provision.errors import GuestError
from provision.jeos.disk import make_scratch
from provision.jeos.layers import merging
from provision.machine import SshEndpoint
from provision.machine.chroot import ChrootMachine
from provision.machine.layered import LayeredMachine
from provision.machine.nspawn import NspawnMachine
from provision.machine.qemu import DirectBoot, QemuMachine
from provision.machine.ssh import connect, execute
from provision.progress import step

SCRATCH_BYTES = 40 << 30  # sparse: as large as a root file system can get while it is built
MEMORY = 2 << 30
# Jobs that run by the clock would leave more in the image of a slow build than of a fast one.
TIMERS, CRON = "timers.target", "cron.service"
ENABLED = "etc/systemd/system/multi-user.target.wants"
QEMU_NAME_SERVER = "10.0.2.3"
TUN = "/dev/net/tun"  # what a network of a guest's own is made of; some containers have none


def guest(
    shop: Workshop, layers: Sequence[Path], part: Path
) -> contextlib.AbstractContextManager[SshEndpoint]:
    """A booted guest for a playbook; what it writes becomes the layer in ``part``.

    Args:
        shop: says which runtime.
        layers: to boot on, the lowest first.
        part: the stage's directory.
    """
    if shop.runtime == "qemu":
        return qemu_guest(shop.request, layers, part)
    booting = functools.partial(NspawnMachine, masked=by_the_clock(layers))
    return layered_guest(booting, shop, layers, part)


def programs(
    shop: Workshop, layers: Sequence[Path], part: Path
) -> contextlib.AbstractContextManager[SshEndpoint]:
    """As `guest`, for a playbook that needs no booted one.

    Who is not this host's root, or builds for another architecture, boots in QEMU only, which takes
    many times as long.
    """
    if shop.runtime == "nspawn" or not os.access(TUN, os.R_OK | os.W_OK):
        return guest(shop, layers, part)
    native = layers[0].with_name(NATIVE)
    return layered_guest(
        ChrootMachine, shop, [*layers, native] if native.exists() else layers, part
    )


def variables_for(request: Request, playbook: str, endpoint: SshEndpoint) -> dict[str, Any]:
    """The variables of a playbook, with the proxy as the guest reaches it.

    Args:
        request: what is built.
        playbook: whose variables.
        endpoint: the guest that it runs in.

    Raises:
        GuestError: the guest does not say where its gateway is.
    """
    variables = request.variables_of(playbook)
    if not request.proxy.urls:
        return variables
    with contextlib.closing(connect(endpoint)) as client:
        routes = execute(client, "cat /proc/net/route").stdout
    proxy = request.proxy.within(_gateway(routes)).environment()
    return variables | {"build_environment": {**variables["build_environment"], **proxy}}


def _gateway(routes: str) -> str:
    """Where a guest finds this host, its loopback included: pasta and QEMU both have it so."""
    for _, target, gateway, *_ in (line.split() for line in routes.splitlines()[1:]):
        if int(target, 16) == 0:
            return str(IPv4Address(bytes.fromhex(gateway)[::-1]))
    raise GuestError("the guest has no default route, and so no way to the proxy")


@contextlib.contextmanager
def linking(downloads: Path, pattern: str = "*.deb") -> Iterator[Path]:
    """A directory of one guest's own with the packages there are; new ones are kept at its end.

    apt locks the directory that it downloads into and waits for nobody, and other builds run.

    Args:
        downloads: directory of packages that were downloaded before; made when missing.
        pattern: of the packages' names.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    with temporary.directory(downloads) as own:
        own.chmod(0o755)  # apt downloads as a user of its own
        for package in downloads.glob(pattern):
            (own / package.name).hardlink_to(package)
        try:
            yield own
        finally:
            for package in own.glob(pattern):
                package.replace(downloads / package.name)


@contextlib.contextmanager
def layered_guest(
    kind: Callable[..., LayeredMachine], shop: Workshop, layers: Sequence[Path], part: Path
) -> Iterator[SshEndpoint]:
    """A guest on the layers themselves; what it writes is the new layer.

    Args:
        kind: of machine.
        shop: where it works.
        layers: see `guest`.
        part: see there.
    """
    host_ca = shop.request.host_ca
    with (
        linking(shop.downloads) as archives,
        linking(shop.wheels, "*.tar.zst") as wheels,
        kind(
            layers,
            part / LAYER,
            binds={host_ca: BUILD_CA_BUNDLE} if host_ca else None,
            caches={archives: "/var/cache/apt/archives", wheels: KEPT_WHEELS},
            console=shop.log.with_suffix(".console"),
        ) as machine,
    ):
        with step("boot the guest"):
            endpoint = machine.start()
        yield endpoint


@contextlib.contextmanager
def qemu_guest(request: Request, layers: Sequence[Path], part: Path) -> Iterator[SshEndpoint]:
    """Boot a scratch disk made of the layers; at the end its files are the new, whole layer."""
    identity = uuid.uuid4()
    disk, extra = part / "scratch.raw", part / "extra"
    with merging(layers, extra) as tree, step("make a scratch disk"):
        (tree / "etc/fstab").write_text(f"UUID={identity} / ext4 defaults 0 1\n")
        network = tree / BUILD_NETWORK
        network.parent.mkdir(parents=True, exist_ok=True)
        network.write_text("[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n")
        resolver = tree / "etc/resolv.conf"
        resolver.unlink(missing_ok=True)
        resolver.write_text(f"nameserver {QEMU_NAME_SERVER}\n")
        make_scratch(tree, disk, size=SCRATCH_BYTES, identity=identity)
        kernel, initrd = part / "kernel", part / "initrd"
        kernel.write_bytes(_newest(tree, "vmlinuz").read_bytes())
        initrd.write_bytes(_newest(tree, "initrd.img").read_bytes())
    arch = request.config.architecture
    console = ARCHITECTURES[arch].emulator.console
    arguments = (
        f"root=UUID={identity} rw quiet console={console}"
        " systemd.wants=systemd-networkd.service systemd.firstboot=off "
        + " ".join(f"systemd.mask={unit}" for unit in by_the_clock(layers))
    )
    machine = QemuMachine(
        [disk],
        write=True,
        memory=MEMORY,
        boot=DirectBoot(kernel, initrd, arguments),
        bus="virtio",
        arch=arch,
        streams=True,
    )
    with machine:
        with step("boot the guest"):
            endpoint = machine.start()
        if request.host_ca:
            _put(endpoint, request.host_ca, BUILD_CA_BUNDLE)
        yield endpoint
        with step("fetch its root file system"):
            pull_tree(endpoint, machine.stream, part / LAYER)
        machine.cut()
    for left in (disk, kernel, initrd):
        left.unlink()
    shutil.rmtree(extra)
    mark_whole(part)


def _newest(tree: Path, link: str) -> Path:
    """Where the packages of kernels keep a link to the newest: Ubuntu's in /boot only."""
    return tree / link if (tree / link).exists() else tree / "boot" / link


def by_the_clock(layers: Sequence[Path]) -> tuple[str, ...]:
    """The units to mask while a guest is built.

    A masked service cannot be enabled, so cron, which comes with the packages, is masked only
    once it is there.
    """
    installed = any((layer / ENABLED / CRON).is_symlink() for layer in layers)
    return (TIMERS, CRON) if installed else (TIMERS,)


def _put(endpoint: SshEndpoint, source: Path, target: str) -> None:
    client = connect(endpoint)
    try:
        with client.open_sftp() as sftp:
            sftp.put(str(source), target)
    except (OSError, paramiko.SSHException) as error:
        raise GuestError(f"cannot copy {source} into the guest: {error}") from error
    finally:
        client.close()
