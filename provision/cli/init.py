"""``appliance init``: a commented appliance.yml to begin with."""

import sys
from pathlib import Path

import click

from provision.errors import ApplianceError, UsageError
from provision.files import ordinary


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("appliance.yml"))
@click.option(
    "--public/--local",
    default=None,
    help="Open the notebook's port to the room, or to this host only. Default: ask, else local.",
)
@click.option("--force", is_flag=True, help="Overwrite PATH.")
def command(path: Path, public: bool | None, force: bool) -> None:
    """Write a commented appliance.yml to PATH: each key, its default, one line about it."""
    from provision import progress
    from provision.config import render

    if path.is_dir():
        path /= "appliance.yml"
    place = ordinary(path)
    if path.exists() and not force:
        raise UsageError(f"{path} is there already", hint="overwrite it with --force")
    if public is None:
        public = sys.stdin.isatty() and click.confirm(
            "Shall other computers in the room reach the notebook?", default=False, err=True
        )
    text, new = render.commented_file(public=public), place.with_name(f"{place.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(place)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise ApplianceError(f"cannot write {path}: {error.strerror}") from error
    click.echo(path)
    reach = "every computer that reaches this one" if public else "this host only"
    progress.note(f"The notebook will be open to {reach}. Edit {path}, then: appliance build")
