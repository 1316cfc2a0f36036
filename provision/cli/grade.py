"""`appliance grade`: run an exercise in the grading sandbox."""

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.cli._config import with_config
from provision.cli._json import as_json

if TYPE_CHECKING:
    from provision.config import Loaded

_PATIENCE = 3600  # seconds, for the queue; the service bounds the task itself


@click.command()
@click.argument("exercise", type=click.Path(exists=True, path_type=Path))
@click.option("--url", envvar="GRADER_URL", help="A grading service; else the appliance's own.")
@click.option("--image", help="The sandbox image; else the service's default.")
@click.option("--instance", help="One of the appliance's instances; else its default.")
@click.option("--engine", type=click.Choice(["bubblewrap", "uml"]), help="The sandbox engine.")
@as_json
@with_config
def command(
    exercise: Path,
    url: str | None,
    image: str | None,
    instance: str | None,
    engine: str | None,
    loaded: "Loaded",
    as_json: bool,
) -> None:
    """Run EXERCISE, a tar (or a directory) with an executable tmc-run, and show its result.

    It is sent to the appliance over SSH, or to --url with the token in $GRADER_TOKEN. Exit
    code 1 when the exercise did not finish well.
    """
    from provision.guest.grader.client import grade
    from provision.progress import step

    archive = _archive(exercise)
    fields = {k: v for k, v in (("image", image), ("engine", engine)) if v}
    with step(f"Grading {exercise.name}"):
        if url:
            result = grade(archive, fields, url=url, token=os.environ.get("GRADER_TOKEN"))
        else:
            fields |= {"instance": instance} if instance else {}
            result = _over_ssh(loaded, archive, fields)
    if as_json:
        click.echo(json.dumps(result))
    else:
        _show(result)
    if result["status"] != "finished":
        raise click.exceptions.Exit(1)


def _archive(exercise: Path) -> bytes:
    if not exercise.is_dir():
        return exercise.read_bytes()
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(exercise.rglob("*")):
            tar.add(path, path.relative_to(exercise), recursive=False)
    return buffer.getvalue()


def _over_ssh(loaded: "Loaded", archive: bytes, fields: dict[str, str]) -> dict[str, Any]:
    from provision.cli._machine import open_machine
    from provision.errors import GuestError
    from provision.machine.ssh import connect, execute

    words = ["grade", *(f"{name}={value}" for name, value in fields.items())]
    with connect(open_machine(loaded.config).endpoint()) as client:
        done = execute(client, shlex.join(words), stdin=archive, timeout=_PATIENCE)
    if done.status:
        raise GuestError(
            done.stderr.strip() or "the appliance has no grading service",
            hint=None if done.stderr.startswith("grade:") else "set grader.enabled and build again",
        )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _show(result: dict[str, Any]) -> None:
    code = "" if result["exit_code"] is None else f", exit code {result['exit_code']}"
    reason = f" ({result['reason']})" if result["reason"] else ""
    click.echo(f"{result['status']}{code}{reason} after {result['seconds']:.2f} s")
    for name in ("output", "stdout", "stderr"):
        if result[name]:
            click.secho(f"--- {name}", bold=True)
            click.echo(result[name].rstrip("\n"))
