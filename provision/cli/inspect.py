"""``appliance inspect``: what an OVA holds, and whether it is whole."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli._json import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.ova import Inspection
    from provision.ova.ovf import System


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--public-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check FILE.minisig, too, by this minisign public key.",
)
@as_json
def command(file: Path, public_key: Path | None, as_json: bool) -> None:
    """Verify FILE, an OVA by us, VirtualBox or VMware, and show what it holds.

    Archive, envelope, manifest, certificate and every block of every VMDK are checked in one
    pass. Exit code 8 and one line name the first thing that is wrong.
    """
    from provision.ova import inspect, minisign

    signed = None
    if public_key:
        signature = file.with_name(file.name + ".minisig")
        signed = minisign.verify(file, signature, minisign.public_key(public_key))
    with file.open("rb") as stream:
        found = inspect(stream, file.name, file.stat().st_size)
    if as_json:
        click.echo(json.dumps({**asdict(found), "signature": signed}, indent=2, ensure_ascii=False))
        return
    rows = list(_rows(found))
    if signed is not None:
        rows.append(("signature", signed))
    for title, text in rows:
        click.echo(f"{title:12} {printable(text)}")


def printable(text: str) -> str:
    """Make text from an OVA safe to print: it comes from anywhere, and must steer no terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _rows(found: "Inspection") -> "Iterator[tuple[str, str]]":
    for system in found.envelope.systems:
        yield from _system_rows(system)
    for disk in found.disks:
        stored = "" if disk.stored is None else f", {disk.stored / 2**20:.0f} MiB of data"
        packed = f"{disk.size / 2**20:.0f} MiB in the OVA"
        yield "disk", f"{disk.file}: {disk.capacity / 2**20:.0f} MiB{stored}, {packed}"
    images = {disk.file for disk in found.disks}
    for file in found.envelope.files:
        if file.name not in images:
            kind = "NVRAM (its EFI settings)" if file.name.endswith(".nvram") else "no disk of it"
            yield "file", f"{file.name}: {kind}"
    if found.manifest is None:
        yield "manifest", "none"
    else:
        missing = "; not covered: " + ", ".join(found.uncovered)
        covered = " of every member" if not found.uncovered else missing
        yield "manifest", f"{found.manifest}{covered}"
    if found.signer:
        yield "certificate", f"{found.signer} (whether to trust it is yours to judge)"
    for leak in found.leaks:
        yield "leak", f"{leak.kind} in {leak.where}: {leak.value}"
    if not found.leaks:
        yield "leaks", "no host path and no MAC address"


def _system_rows(system: "System") -> "Iterator[tuple[str, str]]":
    yield "machine", f"{system.name} ({system.system}), {system.architecture}"
    version = system.full_version or system.product_version
    yield "product", " ".join(filter(None, (system.product, version, system.vendor)))
    if system.url:
        yield "url", system.url
    for number, line in enumerate(system.description.splitlines()):
        yield ("" if number else "description"), line
    yield "hardware", f"{system.cpus} CPUs, {system.memory / 2**20:.0f} MiB of memory"
    for controller in system.controllers:
        yield "controller", controller
    for network in system.networks:
        yield "network", network
    for rule in system.forwards:
        yield "forward", f"{rule.name}: {rule.address or '*'}:{rule.host} to {rule.guest}"
