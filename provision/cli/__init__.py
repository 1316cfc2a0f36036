"""The command line: one module per verb, found by its name, imported only when called."""

import contextlib
import importlib
import keyword
import logging
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from provision.cli._group import VerbGroup
from provision.errors import ApplianceError

INTERRUPTED = 130
_HEADINGS = {
    "Make an appliance": "init doctor plan lock build verify inspect config export",
    "Run it": "import up open status ssh notebook logs snapshot down replace-root destroy migrate",
    "Bring it to a room": "publish pull clone reset bundle classroom",
    "Keep a fleet": "fleet configure upgrade audit backup restore",
    "Its students": "users sessions",
    "Untrusted code": "jail sandbox grade",
}


class Verbs(VerbGroup):
    """A group whose subcommands are the sibling modules that define ``command``.

    A module name with a leading underscore is a helper; ``_`` inside a name is shown as ``-``,
    and one at its end, which a verb that is a word of Python needs, is left out.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every verb without importing one."""
        modules = pkgutil.iter_modules([str(Path(__file__).parent)])
        names = (m.name.rstrip("_") for m in modules if not m.name.startswith("_"))
        return sorted(name.replace("_", "-") for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        name = cmd_name.replace("-", "_")
        if keyword.iskeyword(name):
            name += "_"
        module = importlib.import_module(f"{__name__}.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs below headings; what is new and has none comes last."""
        left = self.list_commands(ctx)
        for heading, words in _HEADINGS.items():
            self.list_some(ctx, formatter, heading, words.split())
            left = [name for name in left if name not in words.split()]
        self.list_some(ctx, formatter, "Other commands", left)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a verb, or name those that are written nearly so."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            near = self.list_commands(ctx)
            raise click.exceptions.NoSuchCommand(error.command_name, None, near, ctx) from None


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="classroom-appliance", prog_name="appliance")
@click.option("-v", "--verbose", is_flag=True, help="Show each command as it runs, on stderr.")
@click.pass_context
def appliance(ctx: click.Context, verbose: bool) -> None:
    """Build, run and renew a multi-user Sage notebook appliance for VirtualBox.

    Results go to stdout, progress to stderr. Exit codes: 0 ok, 1 failed, 2 usage,
    3 configuration, 4 host not ready, 5 hypervisor, 6 guest or SSH, 7 provisioning,
    8 verification, 130 interrupted.
    """
    from provision.cli import _console

    ctx.with_resource(_console.session(verbose=verbose))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; handled errors end in one line and their own exit code."""
    if os.name == "nt" and not sys.flags.utf8_mode:
        sys.exit(_in_utf8(sys.argv[1:] if argv is None else argv))
    for name in ("SIGTERM", "SIGHUP"):  # end as by Ctrl-C: cleaning up
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, signal.default_int_handler)
    try:
        code = appliance.main(args=argv, prog_name="appliance", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except ApplianceError as error:
        logging.getLogger(__name__).debug("failed", exc_info=True)
        click.secho(f"error: {error}", fg="red", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _in_utf8(argv: Sequence[str]) -> int:
    """Run the command line as on other systems: Windows' own code page has no umlaut or no tick.

    Files, pipes and consoles; from 3.15 on it is Python's default there too (PEP 686).
    """
    command = [sys.executable, "-X", "utf8", "-m", "provision.cli", *argv]
    with subprocess.Popen(command) as process:
        while True:
            with contextlib.suppress(KeyboardInterrupt):  # it has met the process, too
                return process.wait()
