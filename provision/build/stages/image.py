"""The lowest layer, where the configuration names a cloud image: that image's files."""

from collections.abc import Sequence
from pathlib import Path

from provision.build.artefacts import LAYER
from provision.build.image import image_tree
from provision.build.workshop import Workshop
from provision.jeos.layers import clamp_times


def work(shop: Workshop, _layers: Sequence[Path], part: Path) -> None:
    """Boot the image once and fetch its files."""
    image_tree(shop.request, part, downloads=shop.downloads)
    clamp_times(part / LAYER, shop.request.release.epoch)
