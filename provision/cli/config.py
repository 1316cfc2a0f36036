"""``appliance config``: what is configured, where it comes from, what can be."""

import json

import click

from provision.cli._config import with_config
from provision.cli._group import VerbGroup
from provision.config import Loaded


@click.group(cls=VerbGroup)
def command() -> None:
    """Show the configuration in effect, its JSON Schema and its reference."""


@command.command()
@with_config
@click.option("--json", "as_json", is_flag=True, help="Values and origins as JSON.")
def show(loaded: Loaded, as_json: bool) -> None:
    """Print every value in effect and where it comes from."""
    from provision.config import render

    if as_json:
        origins = {key: loaded.origin(key) for key in render.leaves(loaded.config)}
        shown = {"config": loaded.config.model_dump(mode="json"), "origins": origins}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        click.echo(render.effective(loaded.config, loaded.origin), nl=False)


@command.command()
def schema() -> None:
    """Print the JSON Schema of appliance.yml, for editors."""
    from provision.config import render

    click.echo(json.dumps(render.schema(), indent=2, ensure_ascii=False))


@command.command()
def reference() -> None:
    """Print the reference of every key, as Markdown."""
    from provision.config import render

    click.echo(render.reference(), nl=False)
