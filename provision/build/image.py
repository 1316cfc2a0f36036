"""The root file system of a cloud image."""

import contextlib
import io
import tarfile
from pathlib import Path

from provision.build.artefacts import LAYER, mark_whole
from provision.build.fetch import pull_tree
from provision.build.guest import MEMORY, SCRATCH_BYTES
from provision.build.request import Request
from provision.errors import GuestError
from provision.jeos import cloud
from provision.jeos.base import skeleton_tar
from provision.machine import SshEndpoint, keys
from provision.machine.qemu import QemuMachine
from provision.machine.ssh import NoAnswerError, connect, execute, wait_for_ssh
from provision.progress import step

RESTARTS, RESTART_SECONDS = 5, 120
# Made by cloud-init on its first boot, for the network card that it met there.
LEFT_OUT_OF_IMAGE = ("./etc/netplan/50-cloud-init.yaml", "./etc/network/interfaces.d/50-cloud-init")
# Our disks have a boot loader of their own; the image's would fail where it finds no disk, and
# write over our menu. Its kernel may be one for clouds: ours is installed with the packages.
WITHOUT_BOOT_LOADER = (
    "cloud-init status --wait > /dev/null; dpkg-query -W -f '${db:Status-Status} ${Package}\\n'"
    " 'grub*' 'shim*' | sed -n 's/^installed //p'"
    " | DEBIAN_FRONTEND=noninteractive xargs -r apt-get purge -q -y --allow-remove-essential"
)


def image_tree(request: Request, part: Path, *, downloads: Path) -> None:
    """Take the root file system out of a cloud image: boot it once and fetch its files.

    Raises:
        ApplianceError: the image cannot be had, is another than asked for, or does not boot.
    """
    config = request.config
    assert config.image is not None  # noqa: S101 (the caller's condition)
    image = cloud.fetch(config.image.source, config.image.sha256, downloads, proxy=request.proxy)
    disk, seed, key = part / "image.raw", part / "seed.iso", part / "key"
    with step("convert the image"):
        cloud.to_raw(image, disk, SCRATCH_BYTES)
    public = keys.generate(key, comment="build")
    cloud.write_seed(seed, name=config.name, keys=[public])
    machine = QemuMachine(
        [disk],
        write=True,
        seed=seed,
        key=key,
        memory=MEMORY,
        bus="virtio",  # which kernels for clouds know
        streams=True,
    )
    with machine:
        with step("boot the image"):
            endpoint = machine.start()
        with step("remove its boot loader"):
            _remove_boot_loader(endpoint)
        with step("fetch its root file system"):
            pull_tree(endpoint, machine.stream, part / LAYER, LEFT_OUT_OF_IMAGE)
        machine.cut()
    with tarfile.open(fileobj=io.BytesIO(skeleton_tar(request.release.epoch))) as skeleton:
        skeleton.extractall(part / LAYER, filter="tar")
    for left in (disk, seed, key, key.with_name("key.pub")):
        left.unlink()
    mark_whole(part)


def _remove_boot_loader(endpoint: SshEndpoint) -> None:
    for attempt in range(1, RESTARTS + 1):
        wait_for_ssh(endpoint, timeout=RESTART_SECONDS)
        try:
            with contextlib.closing(connect(endpoint)) as client:
                done = execute(client, WITHOUT_BOOT_LOADER)
            break
        except NoAnswerError:  # cloud-init restarts the server when it has made its host keys
            if attempt == RESTARTS:
                raise
    if done.status:
        raise GuestError(f"the image's boot loader cannot be removed: {done.stderr[-500:]}")
