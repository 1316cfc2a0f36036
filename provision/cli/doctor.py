"""``appliance doctor``: can this host do it, and if not, which command mends it."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli._config import with_config
from provision.config import Loaded
from provision.errors import HostNotReadyError

if TYPE_CHECKING:
    from provision.doctor import Diagnosis

_MARKS = {"ok": "[green]✓[/]", "note": "·", "warning": "[yellow]![/]", "failed": "[red]✗[/]"}


@click.command()
@with_config
@click.option("--json", "as_json", is_flag=True, help="The checks as JSON.")
@click.option("--packages", is_flag=True, help="Only print the Debian packages that are needed.")
@click.option("--offline", is_flag=True, help="Do not ask the package mirror.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Where the OVA shall go. Default: here.",
)
def command(loaded: Loaded, as_json: bool, packages: bool, offline: bool, output: Path) -> None:
    """Check this host: what is missing, and the one command that mends it.

    Exit code 4: something that a build needs is missing. Warnings do not change the exit code.
    """
    from provision import doctor

    if packages:
        click.echo(
            " ".join(doctor.packages(loaded.config.distribution, loaded.config.architecture))
        )
        return
    facts = doctor.gather(loaded.config, output=output, offline=offline)
    checks = doctor.examine(facts, loaded.config)
    failed = [check.name for check in checks if check.status == "failed"]
    if as_json:
        shown = {"ready": not failed, "checks": [dataclasses.asdict(check) for check in checks]}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        _table(checks)
    if failed:
        raise HostNotReadyError(f"this host is not ready for a build: {', '.join(failed)}")


def _table(checks: Sequence["Diagnosis"]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table("", "check", "found", box=None, pad_edge=False)
    for check in checks:
        table.add_row(_MARKS[check.status], escape(check.name), escape(check.found))
    console.print(table)
    for check in checks:
        if check.mend:
            mark, name, mend = _MARKS[check.status], escape(check.name), escape(check.mend)
            console.print(f"\n{mark} [bold]{name}[/]: to mend it\n    {mend}", soft_wrap=True)
