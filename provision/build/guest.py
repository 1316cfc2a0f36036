"""A booted guest to provision, under either runtime, and what remains of it as a layer."""

import contextlib
import io
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import paramiko

from provision import temporary
from provision.build.artefacts import LAYER, mark_whole
from provision.build.inputs import BUILD_CA_BUNDLE, Request
from provision.errors import GuestError, HostNotReadyError
from provision.jeos import cloud
from provision.jeos.base import skeleton_tar
from provision.jeos.disk import FileSystem, make_disk
from provision.jeos.layers import merged
from provision.machine import SshEndpoint, keys
from provision.machine.nspawn import NspawnMachine
from provision.machine.qemu import DirectBoot, QemuMachine
from provision.machine.ssh import NoAnswerError, connect, execute, wait_for_ssh
from provision.process import CommandFailedError, feed
from provision.progress import step

SCRATCH_BYTES = 40 << 30  # sparse: as large as a root file system can get while it is built
MEMORY = 2 << 30
RESTARTS, RESTART_SECONDS = 5, 120
# Jobs that run by the clock would leave more in the image of a slow build than of a fast one.
TIMERS, CRON = "timers.target", "cron.service"
ENABLED = "etc/systemd/system/multi-user.target.wants"
QEMU_NAME_SERVER = "10.0.2.3"
BUILD_NETWORK = "etc/systemd/network/99-build.network"
# What a running system has that no root file system should keep.
LEFT_OUT = (f"./{BUILD_NETWORK}", "./root/.ssh", "./var/cache/apt/archives/*.deb", "./lost+found")
# Made by cloud-init on its first boot, for the network card that it met there.
LEFT_OUT_OF_IMAGE = ("./etc/netplan/50-cloud-init.yaml", "./etc/network/interfaces.d/50-cloud-init")
# Our disks have a boot loader of their own; the image's would fail where it finds no disk, and
# write over our menu. Its kernel may be one for clouds: ours is installed with the packages.
WITHOUT_BOOT_LOADER = (
    "cloud-init status --wait > /dev/null; dpkg-query -W -f '${db:Status-Status} ${Package}\\n'"
    " 'grub*' 'shim*' | sed -n 's/^installed //p'"
    " | DEBIAN_FRONTEND=noninteractive xargs -r apt-get purge -q -y --allow-remove-essential"
)


@contextlib.contextmanager
def linked(downloads: Path) -> Iterator[Path]:
    """A directory of one guest's own with the packages there are; new ones are kept at its end.

    apt locks the directory that it downloads into and waits for nobody, and other builds run.

    Args:
        downloads: directory of packages that were downloaded before.
    """
    with temporary.directory(downloads) as own:
        own.chmod(0o755)  # apt downloads as a user of its own
        for package in downloads.glob("*.deb"):
            (own / package.name).hardlink_to(package)
        try:
            yield own
        finally:
            for package in own.glob("*.deb"):
                with contextlib.suppress(FileExistsError):
                    (downloads / package.name).hardlink_to(package)


@contextlib.contextmanager
def nspawn_guest(
    request: Request, layers: Sequence[Path], part: Path, *, downloads: Path, console: Path
) -> Iterator[SshEndpoint]:
    """Boot at native speed; what the guest writes is the new layer."""
    host_ca = request.host_ca
    with (
        linked(downloads) as archives,
        NspawnMachine(
            layers,
            part / LAYER,
            binds={host_ca: BUILD_CA_BUNDLE} if host_ca else None,
            caches={archives: "/var/cache/apt/archives"},
            masked=by_the_clock(layers),
            console=console,
        ) as machine,
    ):
        with step("boot the guest"):
            endpoint = machine.start()
        yield endpoint


@contextlib.contextmanager
def qemu_guest(request: Request, layers: Sequence[Path], part: Path) -> Iterator[SshEndpoint]:
    """Boot a scratch disk made of the layers; at the end its files are the new, whole layer."""
    epoch = request.release.epoch
    system = FileSystem("scratch", "/", SCRATCH_BYTES, 0, "ext4", request.config.name)
    disk, extra = part / "scratch.raw", part / "extra"
    with merged(layers, extra) as tree, step("make a scratch disk"):
        (tree / "etc/fstab").write_text(f"UUID={system.identity} / ext4 defaults 0 1\n")
        network = tree / BUILD_NETWORK
        network.parent.mkdir(parents=True, exist_ok=True)
        network.write_text("[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n")
        resolver = tree / "etc/resolv.conf"
        resolver.unlink(missing_ok=True)
        resolver.write_text(f"nameserver {QEMU_NAME_SERVER}\n")
        make_disk(system, tree, disk, tools=tree, epoch=epoch)
        kernel, initrd = part / "kernel", part / "initrd"
        kernel.write_bytes(_newest(tree, "vmlinuz").read_bytes())
        initrd.write_bytes(_newest(tree, "initrd.img").read_bytes())
    arguments = (
        f"root=UUID={system.identity} rw quiet console=ttyS0"
        " systemd.wants=systemd-networkd.service systemd.firstboot=off "
        + " ".join(f"systemd.mask={unit}" for unit in by_the_clock(layers))
    )
    machine = QemuMachine(
        [disk], write=True, memory=MEMORY, boot=DirectBoot(kernel, initrd, arguments), bus="virtio"
    )
    with machine:
        with step("boot the guest"):
            endpoint = machine.start()
        if request.host_ca:
            _put(endpoint, request.host_ca, BUILD_CA_BUNDLE)
        yield endpoint
        with step("fetch its root file system"):
            pull_tree(endpoint, part / LAYER)
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


def image_tree(request: Request, part: Path, *, downloads: Path) -> None:
    """Take the root file system out of a cloud image: boot it once and fetch its files.

    Raises:
        ApplianceError: the image cannot be had, is another than asked for, or does not boot.
    """
    config = request.config
    assert config.image is not None  # noqa: S101 (the caller's condition)
    image = cloud.fetch(config.image.source, config.image.sha256, downloads, proxy=config.proxy)
    disk, seed, key = part / "image.raw", part / "seed.iso", part / "key"
    with step("convert the image"):
        cloud.to_raw(image, disk, SCRATCH_BYTES)
    public = keys.generate(key, comment="build")
    cloud.write_seed(seed, name=config.name, keys=[public])
    machine = QemuMachine(
        [disk], write=True, seed=seed, key=key, memory=MEMORY, bus="virtio"
    )  # which kernels for clouds know
    with machine:
        with step("boot the image"):
            endpoint = machine.start()
        with step("remove its boot loader"):
            _remove_boot_loader(endpoint)
        with step("fetch its root file system"):
            pull_tree(endpoint, part / LAYER, LEFT_OUT_OF_IMAGE)
        machine.cut()
    with tarfile.open(fileobj=io.BytesIO(skeleton_tar(request.release.epoch))) as skeleton:
        skeleton.extractall(part / LAYER, filter="tar")
    for left in (disk, seed, key, key.with_name("key.pub")):
        left.unlink()
    mark_whole(part)


def pull_tree(endpoint: SshEndpoint, target: Path, left_out: Sequence[str] = ()) -> None:
    """Copy the guest's root file system into a directory, with owners, modes and attributes.

    Args:
        endpoint: the guest.
        target: the directory to make.
        left_out: further patterns of what stays behind.

    Raises:
        GuestError: the guest's tar failed, or the connection broke.
        HostNotReadyError: there is no room.
    """
    target.mkdir()
    excluded = " ".join(f"--exclude='{pattern}'" for pattern in (*LEFT_OUT, *left_out))
    attributes = "--numeric-owner --xattrs --xattrs-include='*'"
    boot = "$(mountpoint -q /boot && echo ./boot)"  # a partition of its own, as in Ubuntu's images
    packing = f"tar -C / --one-file-system --sort=name {attributes} {excluded} -cf - . {boot}"
    unpacking = ["tar", "-C", str(target), "--numeric-owner", "--xattrs", "--xattrs-include=*"]
    try:
        with contextlib.closing(connect(endpoint)) as client:
            _, out, _ = client.exec_command(packing)
            try:
                feed([*unpacking, "-xf", "-"], lambda pipe: shutil.copyfileobj(out, pipe, 1 << 20))
            except CommandFailedError as error:
                raise HostNotReadyError(
                    f"cannot unpack the guest's files in {target}: {error.tail[-500:]}"
                ) from error
            # 1: a file changed while it was read, which logs of a running system do
            if out.channel.recv_exit_status() not in (0, 1):
                raise GuestError("tar failed in the guest")
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise GuestError(f"the connection broke while fetching files: {error}") from error


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


def _put(endpoint: SshEndpoint, source: Path, target: str) -> None:
    client = connect(endpoint)
    try:
        with client.open_sftp() as sftp:
            sftp.put(str(source), target)
    except (OSError, paramiko.SSHException) as error:
        raise GuestError(f"cannot copy {source} into the guest: {error}") from error
    finally:
        client.close()
