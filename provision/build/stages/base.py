"""The lowest layer: the minimal distribution with a kernel."""

from collections.abc import Sequence
from pathlib import Path

from provision.build.artefacts import LAYER
from provision.build.workshop import Workshop
from provision.jeos.base import build_base
from provision.jeos.layers import clamp_times
from provision.progress import step


def work(shop: Workshop, _layers: Sequence[Path], part: Path) -> None:
    """Bootstrap it from the distribution's packages."""
    request = shop.request
    with step("bootstrap the distribution"):
        build_base(
            request.base,
            part / LAYER,
            downloads=shop.downloads / "base",
            proxy=request.proxy,
        )
    clamp_times(part / LAYER, request.release.epoch)
