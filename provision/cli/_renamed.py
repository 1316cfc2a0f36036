"""Options that had another name in the release before."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Verb = TypeVar("Verb", bound=Callable[..., Any])


def renamed_option(new: str, old: str, name: str, **attributes: Any) -> Callable[[Verb], Verb]:
    """An option, whose old spelling works still, with a warning.

    Args:
        new: its spelling.
        old: what it was until the last release; not in the help.
        name: of the verb's argument.
        attributes: as ``click.option`` takes them.
    """

    def take(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None:
            click.echo(f"warning: {old} is called {new} now, and will go", err=True)
            context.params[name] = value

    hidden: dict[str, Any] = {"type": attributes.get("type"), "hidden": True, "expose_value": False}
    option = click.option(new, name, **attributes)
    before = click.option(old, f"{name}_before", **hidden, callback=take)
    return lambda verb: option(before(verb))
