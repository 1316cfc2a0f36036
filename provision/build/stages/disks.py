"""The disks, made from the layers, and the bill of materials of what is on them."""

import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from provision.build.artefacts import DISKS, SBOM
from provision.build.workshop import Workshop
from provision.jeos import disk
from provision.jeos.layers import merging, skipping_sync
from provision.ova.sbom import sbom
from provision.process import run
from provision.progress import step


def work(shop: Workshop, layers: Sequence[Path], part: Path) -> None:
    """Make one raw, sparse image for each disk, and the bill of materials of what is on them."""
    request = shop.request
    epoch = request.release.epoch
    root, *data = request.file_systems
    names = {"name": request.config.name, "version": request.config.version}
    with (
        merging(layers) as tree,
        skipping_sync(part / DISKS) as images,
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
        image = images / f"{root.name}.raw"
        with step(f"disk {root.name}"), shop.following(image):
            make(root, tree, image)
        (images / SBOM).write_text(materials.result())


def _hide(place: Path, epoch: int) -> None:
    """Cover a mount point of another disk, so that the root disk gets an empty directory."""
    status = place.stat()
    run(["mount", "-t", "tmpfs", "-o", f"mode={status.st_mode & 0o7777:o}", "tmpfs", str(place)])
    os.utime(place, (epoch, epoch))
