"""Verbs with verbs of their own, and how they are listed."""

from collections.abc import Iterable

import click


class VerbGroup(click.Group):
    """A group that lists each verb with its whole first sentence."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs."""
        self.list_some(ctx, formatter, "Commands", self.list_commands(ctx))

    def list_some(
        self, ctx: click.Context, formatter: click.HelpFormatter, heading: str, names: Iterable[str]
    ) -> None:
        """List verbs below a heading, if there are any."""
        found = [(name, self.get_command(ctx, name)) for name in names]
        if rows := [(name, verb.get_short_help_str(limit=500)) for name, verb in found if verb]:
            with formatter.section(heading):
                formatter.write_dl(rows)
