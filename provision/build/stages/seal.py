"""The last layer: nothing of one machine, and what belongs to the disks."""

from collections.abc import Sequence
from pathlib import Path

from provision.build.artefacts import LAYER
from provision.build.workshop import Workshop
from provision.jeos import boot, disk
from provision.jeos.layers import clamp_times, merging
from provision.jeos.seal import seal


def work(shop: Workshop, layers: Sequence[Path], part: Path) -> None:
    """Take out all that belongs to one machine, and write what belongs to the disks."""
    request = shop.request
    epoch = request.release.epoch
    with merging(layers, part / LAYER) as tree:
        (tree / "etc/fstab").write_text(disk.fstab(request.file_systems))
        grub = tree / "boot/grub"
        grub.mkdir(parents=True, exist_ok=True)
        (grub / "grub.cfg").write_text(
            boot.grub_config(request.file_systems[0].identity, request.config.architecture)
        )
        for link in ("vmlinuz", "initrd.img"):  # Ubuntu keeps them in /boot only
            if not (tree / link).exists() and (tree / "boot" / link).exists():
                (tree / link).symlink_to(f"boot/{link}")
        for system in request.file_systems:
            (tree / system.mount.lstrip("/")).mkdir(parents=True, exist_ok=True)
        seal(tree, epoch)
    clamp_times(part / LAYER, epoch)
