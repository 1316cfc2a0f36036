"""The last stage: the OVA with what stands beside it."""

from pathlib import Path

from provision.build.inputs import Request
from provision.ova.model import Forward, OvaAppliance, OvaDisk, OvaResult
from provision.ova.writer import write_ova

LOOPBACK = "127.0.0.1"
EVERYWHERE = ""


def export(request: Request, disks: tuple[Path, ...], output: Path) -> OvaResult:
    """Write the OVA and its checksum file.

    Args:
        request: what was built.
        disks: raw images, root first.
        output: the OVA's path.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    result = write_ova(
        output,
        appliance(request),
        [
            OvaDisk(name=system.name, raw_path=raw, uuid=system.identity)
            for system, raw in zip(request.file_systems, disks, strict=True)
        ],
    )
    checksum = output.with_name(output.name + ".sha256")
    checksum.write_text(f"{result.sha256}  {output.name}\n")
    return result


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
        description=how_to_reach(request),
        os_type="Ubuntu_64" if config.distribution == "ubuntu" else "Debian_64",
        forwards=[
            Forward(
                name=name,
                host_address=EVERYWHERE if forward.public else LOOPBACK,
                host=forward.host,
                guest=forward.guest,
            )
            for name, forward in config.network.forwards.items()
        ],
    )


def how_to_reach(request: Request) -> str:
    """A few lines for people: ports, account, where the notebook is."""
    config = request.config
    lines = [f"{config.name} {config.version}: a multi-user Sage notebook server."]
    for name, forward in config.network.forwards.items():
        where = "every address of the host" if forward.public else "the host itself"
        lines.append(f"{name}: port {forward.host} of {where} leads to port {forward.guest}.")
    if "ssh" in config.network.forwards:
        port = config.network.forwards["ssh"].host
        lines.append(f"Sign in with the admin's key: ssh -p {port} {config.admin.user}@localhost")
    return "\n".join(lines)
