"""The OVA, with what stands beside it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from provision.build.artefacts import Product
from provision.build.description import how_to_reach
from provision.build.request import Request
from provision.config.architectures import ARCHITECTURES
from provision.config.distributions import DISTRIBUTIONS
from provision.ova import vmdk
from provision.ova.model import NatRule, OvaAppliance, OvaDisk
from provision.ova.writer import write_ova

LOOPBACK = "127.0.0.1"
EVERYWHERE = ""


def export(
    request: Request,
    disks: tuple[Path, ...],
    sbom: Path,
    output: Path,
    known: Callable[[str], vmdk.Known],
) -> Product:
    """Write the OVA, and beside it its checksum and its bill of materials.

    Args:
        request: what was built.
        disks: raw images, root first.
        sbom: the CycloneDX document of the root file system.
        output: the OVA's path.
        known: grains of a disk, by its file's name, that were compressed while it was made.

    Returns:
        The OVA's path, size, digest and time.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    result = write_ova(
        output,
        appliance(request),
        [
            OvaDisk(
                name=system.name,
                raw_path=raw,
                uuid=system.identity,
                known=known(raw.name),
            )
            for system, raw in zip(request.file_systems, disks, strict=True)
        ],
    )
    output.with_name(output.name + ".sha256").write_text(f"{result.sha256}  {output.name}\n")
    shutil.copyfile(sbom, output.with_name(output.stem + ".cdx.json"))
    return {
        "path": str(output.resolve()),
        "size": result.size,
        "sha256": result.sha256,
        "mtime_ns": output.stat().st_mtime_ns,
    }


def appliance(request: Request) -> OvaAppliance:
    """What the OVA tells of the VM and the product."""
    config = request.config
    return OvaAppliance(
        name=config.name,
        product=f"{config.name}: Sage notebook appliance",
        version=config.version,
        full_version=f"{config.version}+{config.suite}.{request.release.packages[:8]}",
        epoch=request.release.epoch,
        cpus=config.cpus,
        memory=config.memory,
        description=how_to_reach(config),
        os_type=DISTRIBUTIONS[config.distribution].ostype(config.architecture),
        platform=ARCHITECTURES[config.architecture].platform,
        forwards=[
            NatRule(
                name=name,
                address=EVERYWHERE if forward.public else LOOPBACK,
                host=forward.host,
                guest=forward.guest,
            )
            for name, forward in config.network.forwards.items()
        ],
    )
