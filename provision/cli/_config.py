"""The options by which a verb is told its configuration."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Verb = Callable[..., Any]


def with_config(verb: Verb) -> Verb:
    """Give a verb ``--config`` and ``--set``, and what they lead to as its argument ``loaded``."""

    @click.option(
        "-c",
        "--config",
        "path",
        type=click.Path(path_type=Path),
        help="The appliance.yml. Default: $APPLIANCE_CONFIG, else ./appliance.yml, else none.",
    )
    @click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change one value, as in pool.count=3. May be repeated.",
    )
    @functools.wraps(verb)
    def wrapper(*args: Any, path: Path | None, assignments: tuple[str, ...], **options: Any) -> Any:
        from provision import config

        loaded = config.read(config.find(path), assignments=assignments)
        return verb(*args, loaded=loaded, **options)

    return wrapper
