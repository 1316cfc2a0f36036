"""`appliance verify`: boot the appliance and prove every promise."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from provision.cli._config import with_config
from provision.config import Loaded


@click.command()
@with_config
@click.argument("source", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--disk",
    "disk_images",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check these disk images instead of an OVA, the root disk first.",
)
@click.option("--fast", is_flag=True, help="Boot in nspawn: seconds, but no boot and disk checks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    source: Path | None,
    loaded: Loaded,
    disk_images: tuple[Path, ...],
    fast: bool,
    as_json: bool,
) -> None:
    """Boot SOURCE, an OVA, and prove every promise from outside and inside.

    Without SOURCE it is the last one that was built. Nothing of it is changed. Exit code 8
    names the promises that do not hold.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from provision.errors import UsageError, VerificationError
    from provision.verify.run import verify

    config = loaded.config
    if source is None and not disk_images:
        raise UsageError("name the OVA to verify", hint="appliance verify FILE.ova")
    report = verify(config, source or disk_images, fast=fast)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in report.rows], indent=2, ensure_ascii=False))
    else:
        table = Table(box=None, pad_edge=False)
        for title in ("", "name", "promise", "how", "detail"):
            table.add_column(title, overflow="fold")
        marks = {"ok": ("✓", "green"), "failed": ("✗", "red"), "not checked": ("–", "yellow")}
        for row in report.rows:
            table.add_row(Text(*marks[row.result]), row.name, row.promise, row.how, row.detail)
        Console().print(table)
    if report.failed:
        raise VerificationError(
            f"{len(report.failed)} of {len(report.rows)} promises do not hold: "
            + ", ".join(report.failed)
        )
