"""appliance verify: boot the appliance and prove every promise."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from provision.cli import _build
from provision.cli._config import with_config
from provision.cli._json import as_json
from provision.cli._linux import needs_linux
from provision.config import Loaded

MARKS = {"ok": ("✓", "green"), "failed": ("✗", "red"), "not checked": ("–", "yellow")}

WIDTH = 160  # columns of the table in a file or pipe


@click.command()
@needs_linux
@click.argument("ova", required=False, type=click.Path(path_type=Path, dir_okay=False))
@with_config
@click.option(
    "--disk",
    "disks",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check disk images instead of an OVA: the root disk first. May be repeated.",
)
@click.option("--fast", is_flag=True, help="Boot in nspawn: seconds, but not the disks themselves.")
@as_json
def command(
    ova: Path | None, loaded: Loaded, disks: tuple[Path, ...], fast: bool, as_json: bool
) -> None:
    """Boot a copy of an OVA's disks and prove every promise from outside and inside.

    Without OVA it is the one that `appliance build` writes here. Exit code 8 names the
    promises that do not hold.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from provision.errors import UsageError, VerificationError
    from provision.verify.run import verify

    config = loaded.config
    ova = ova or _build.default_output(config)
    if not disks and not ova.is_file():
        raise UsageError(f"there is no {ova}", hint="appliance build, or name the OVA")
    report = verify(config, disks or ova, fast=fast)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in report.rows], indent=1, ensure_ascii=False))
    else:
        table = Table(box=None, pad_edge=False)
        for title in ("", "name", "promise", "how", "detail"):
            table.add_column(title, overflow="fold", no_wrap=title == "name")
        for row in report.rows:
            table.add_row(Text(*MARKS[row.result]), row.name, row.promise, row.how, row.detail)
        console = Console()
        console.print(table, width=None if console.is_terminal else WIDTH)
    if report.failed:
        raise VerificationError(
            f"{len(report.failed)} of {len(report.rows)} promises do not hold: "
            + ", ".join(report.failed)
        )
