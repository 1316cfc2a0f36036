"""The lowest layer: the minimal distribution with a kernel."""

from collections.abc import Sequence
from pathlib import Path

from provision.build.artefacts import LAYER, NATIVE
from provision.build.request import Request
from provision.build.workshop import Workshop
from provision.config.architectures import of_this_host
from provision.jeos import archive
from provision.jeos.base import build_base
from provision.jeos.layers import clamp_times
from provision.jeos.native import make_native
from provision.process import CommandFailedError
from provision.progress import note, step


def work(shop: Workshop, _layers: Sequence[Path], part: Path) -> None:
    """Bootstrap it from the distribution's packages."""
    request = shop.request
    native = _make_native(request, part / NATIVE)
    with step("bootstrap the distribution"):
        build_base(
            request.base,
            part / LAYER,
            downloads=shop.downloads / "base",
            native=native,
            proxy=request.proxy,
        )
    clamp_times(part / LAYER, request.release.epoch)


def _make_native(request: Request, target: Path) -> Path | None:
    """What spares a base of another architecture the most of its emulation; no result changes."""
    config, here = request.config, of_this_host()
    if config.architecture == here:
        return None
    sources = archive.sources(config.distribution, config.suite, config.mirror, arch=here)
    with step("bring this host's own programs"):
        try:
            make_native(sources, target, epoch=request.release.epoch, proxy=request.proxy)
        except CommandFailedError as error:  # such as of a mirror that has the other one alone
            note(f"without this host's own programs, of {here}, all takes longer: {error}")
            return None
    return target
