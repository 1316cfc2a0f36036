"""Who does the work of each stage whose result the cache keeps."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from provision.build.stages import base, configure, disks, image, packages, seal
from provision.build.workshop import Workshop

Work = Callable[[Workshop, Sequence[Path], Path], None]
WORK: Mapping[str, Work] = {
    "base": base.work,
    "packages": packages.work,
    "configure": configure.work,
    "seal": seal.work,
    "disks": disks.work,
}
FROM_IMAGE: Work = image.work  # the base's, where the configuration names an image


def work_of(stage: str, shop: Workshop) -> Work:
    """What makes a stage's artefacts from the layers before it."""
    return FROM_IMAGE if stage == "base" and shop.request.config.image else WORK[stage]
