"""The manual page, made from the verbs' own help: python -m provision.cli._manual."""

from collections.abc import Iterator

import click

from provision.cli import appliance


def page() -> str:
    """The text of docs/appliance.1, in the language of man(7)."""
    context = click.Context(appliance, info_name="appliance")
    lines = [
        '.TH APPLIANCE 1 "" "classroom-appliance" "User Commands"',
        ".SH NAME",
        "appliance \\- build, run and renew a multi-user Sage notebook appliance",
        ".SH SYNOPSIS",
        ".B appliance",
        "[\\fIoptions\\fR] \\fIverb\\fR ...",
        ".SH DESCRIPTION",
        *_text(appliance.help or ""),
        ".SH OPTIONS",
        *_options(appliance, context),
        ".SH VERBS",
        *_verbs(appliance, context),
        ".SH FILES",
        ".TP",
        ".I appliance.yml",
        "what the appliance is like; appliance init writes one, with every key explained",
        ".TP",
        ".I ~/.local/state/appliance/NAME",
        "logs, and what the last build was made from",
        ".SH SEE ALSO",
        ".BR VBoxManage (1)",
    ]
    return "\n".join(lines) + "\n"


def _verbs(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        usage = " ".join(command.collect_usage_pieces(inner))
        yield f'.SS "{_plain(inner.command_path)} {_plain(usage)}"'
        yield from _text(command.help or "")
        yield from _options(command, inner)
        if isinstance(command, click.Group):
            yield from _verbs(command, inner)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and not {"--help", "--version"} & set(parameter.opts):
            yield ".TP"
            yield f"\\fB{_plain(record[0])}\\fR"
            yield _plain(" ".join(record[1].split()))


def _text(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield ".PP"
        yield _plain(" ".join(paragraph.replace("\b", "").split()))


def _plain(text: str) -> str:
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


if __name__ == "__main__":
    click.echo(page(), nl=False)
