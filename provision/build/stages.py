"""The work of each stage: from the layers before it to its own artefacts."""

import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from provision.build.artefacts import DISKS, LAYER, SBOM
from provision.build.guest import image_tree, nspawn_guest, qemu_guest
from provision.build.playbook import run_hooks, run_playbook
from provision.build.sandboxes import roots
from provision.build.workshop import Workshop
from provision.jeos import disk
from provision.jeos.base import build_base
from provision.jeos.layers import clamp_times, merged, unsynced
from provision.jeos.seal import seal
from provision.machine import SshEndpoint
from provision.ova.sbom import sbom
from provision.process import run
from provision.progress import step


def base(shop: Workshop, _layers: Sequence[Path], part: Path) -> None:
    """Make the minimal distribution as the lowest layer; or take an image's."""
    if shop.request.config.image:
        image_tree(shop.request, part, downloads=shop.downloads)
    else:
        with step("bootstrap the distribution"):
            build_base(
                shop.request.base,
                part / LAYER,
                downloads=shop.downloads / "base",
                proxy=shop.request.config.proxy,
            )
    clamp_times(part / LAYER, shop.request.release.epoch)


def provision(name: str, shop: Workshop, layers: Sequence[Path], part: Path) -> None:
    """Boot the guest on the layers so far and run a playbook in it."""
    with _guest(shop, layers, part) as endpoint:
        run_playbook(name, endpoint, shop.request.variables_of(name), log=shop.log)
    clamp_times(part / LAYER, shop.request.release.epoch)


def configure(shop: Workshop, layers: Sequence[Path], part: Path) -> None:
    """Run our configuration and the user's own playbooks and roles."""
    hooks = shop.request.config.hooks
    with _guest(shop, layers, part) as endpoint:
        variables = shop.request.variables_of("configure") | roots(shop.request, shop.downloads)
        run_playbook("configure", endpoint, variables, log=shop.log)
        run_hooks(hooks.playbooks, hooks.roles, endpoint, variables, log=shop.log)
    clamp_times(part / LAYER, shop.request.release.epoch)


def seal_tree(shop: Workshop, layers: Sequence[Path], part: Path) -> None:
    """Take out all that belongs to one machine, and write what belongs to the disks."""
    request = shop.request
    epoch = request.release.epoch
    with merged(layers, part / LAYER) as tree:
        (tree / "etc/fstab").write_text(disk.fstab(request.file_systems))
        grub = tree / "boot/grub"
        grub.mkdir(parents=True, exist_ok=True)
        (grub / "grub.cfg").write_text(disk.grub_config(request.file_systems[0]))
        for link in ("vmlinuz", "initrd.img"):  # Ubuntu keeps them in /boot only
            if not (tree / link).exists() and (tree / "boot" / link).exists():
                (tree / link).symlink_to(f"boot/{link}")
        for system in request.file_systems:
            (tree / system.mount.lstrip("/")).mkdir(parents=True, exist_ok=True)
        seal(tree, epoch)
    clamp_times(part / LAYER, epoch)


def disks(shop: Workshop, layers: Sequence[Path], part: Path) -> None:
    """Make one raw, sparse image for each disk, and the bill of materials of what is on them."""
    request = shop.request
    epoch = request.release.epoch
    root, *data = request.file_systems
    names = {"name": request.config.name, "version": request.config.version}
    with (
        merged(layers) as tree,
        unsynced(part / DISKS) as images,
        ThreadPoolExecutor(1) as beside,
    ):
        materials = beside.submit(sbom, tree, **names, epoch=epoch)
        make = functools.partial(disk.make_disk, tools=tree, epoch=epoch)
        for system in data:
            with step(f"disk {system.name}"):
                place = tree / system.mount.lstrip("/")
                make(system, place, images / f"{system.name}.raw")
        for system in data:
            _hide(tree / system.mount.lstrip("/"), epoch)
        with step(f"disk {root.name}"):
            make(root, tree, images / f"{root.name}.raw")
        (images / SBOM).write_text(materials.result())


Work = Callable[[Workshop, Sequence[Path], Path], None]
WORK: Mapping[str, Work] = {
    "base": base,
    "packages": functools.partial(provision, "packages"),
    "configure": configure,
    "seal": seal_tree,
    "disks": disks,
}


def _guest(
    shop: Workshop, layers: Sequence[Path], part: Path
) -> contextlib.AbstractContextManager[SshEndpoint]:
    """A booted guest for a playbook; what it writes becomes the layer in ``part``."""
    if shop.runtime == "qemu":
        return qemu_guest(shop.request, layers, part)
    return nspawn_guest(
        shop.request,
        layers,
        part,
        downloads=shop.downloads,
        console=shop.log.with_suffix(".console"),
    )


def _hide(place: Path, epoch: int) -> None:
    """Cover a mount point of another disk, so that the root disk gets an empty directory."""
    status = place.stat()
    run(["mount", "-t", "tmpfs", "-o", f"mode={status.st_mode & 0o7777:o}", "tmpfs", str(place)])
    os.utime(place, (epoch, epoch))
