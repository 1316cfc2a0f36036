"""`appliance sandbox`: images for the grading sandbox, and whether this host can run it."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.cli._config import with_config
from provision.cli._group import VerbGroup
from provision.cli._json import as_json
from provision.cli._linux import needs_linux

if TYPE_CHECKING:
    from provision.config import Loaded

_DIRECTORY = click.option(
    "-d",
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("images"),
    show_default=True,
    help="Where the images are.",
)


@click.group(cls=VerbGroup)
def command() -> None:
    """The root file systems in which exercises run."""


@command.group(cls=VerbGroup)
def image() -> None:
    """Build, list and verify sandbox images."""


@image.command()
@needs_linux
@click.argument("name")
@click.option("-p", "--package", "packages", multiple=True, help="A Debian package.")
@click.option("--suite", default="trixie", show_default=True, help="The Debian release.")
@click.option("--mirror", help="Where packages come from. Default: the distribution's own.")
@_DIRECTORY
def build(
    name: str, packages: tuple[str, ...], suite: str, mirror: str | None, directory: Path
) -> None:
    """Build the image NAME, such as: build java -p default-jdk-headless -p maven."""
    from provision.guest.sandbox import image as images
    from provision.progress import step

    recipe = images.Recipe(name, packages or ("python3",), suite=suite, mirror=mirror)
    with step(f"Building the sandbox image {name}"):
        built = images.build(recipe, directory)
    click.echo(built)


@image.command("list")
@_DIRECTORY
@as_json
def list_(directory: Path, as_json: bool) -> None:
    """List the images of a directory."""
    from provision.guest.sandbox import image as images

    found = images.manifests(directory)
    if as_json:
        click.echo(json.dumps(list(found.values())))
        return
    for name, each in found.items():
        packages = ", ".join(map(str, each["packages"]))  # type: ignore[call-overload]
        click.echo(f"{name:<12} {each['suite']:<10} {packages}")


@image.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def verify(path: Path) -> None:
    """Compare an image with the sha256 in its manifest."""
    from provision.guest.sandbox import image as images

    images.verify(path)
    click.echo(f"{path} is as it was built")


@command.group(cls=VerbGroup)
def instance() -> None:
    """Grading services of an appliance, each with its port, limits and network."""


@instance.command()
@click.argument("name")
@click.option("--port", type=click.IntRange(1, 65535), help="Port in the guest; else the next.")
@click.option("--instances", type=click.IntRange(1), help="Tasks that run at once.")
@click.option("--queue", type=click.IntRange(0), help="Tasks that may wait; 0: answer busy.")
@click.option("--image", help="The image of a task that names none.")
@click.option("--engine", type=click.Choice(["bubblewrap", "uml"]), help="The sandbox engine.")
@click.option(
    "--allow",
    multiple=True,
    metavar="HOST",
    help="What its tasks reach, through the proxy: pypi.org, .debian.org, cache.lan:8081.",
)
@click.option("--limit", multiple=True, metavar="KEY=NUMBER", help="Such as clock=10, in s or B.")
@as_json
@with_config
def add(name: str, loaded: "Loaded", as_json: bool, **options: Any) -> None:
    """Add the grading service NAME; what is not said is as in the one called default."""
    words = ["add", name]
    for option, value in options.items():
        for each in value if isinstance(value, tuple) else (value,):
            if each is not None:
                words += [f"--{option}", str(each)]
    _show([_in_guest(loaded, words)], as_json)


@instance.command()
@click.argument("name")
@with_config
def remove(name: str, loaded: "Loaded") -> None:
    """Stop the grading service NAME and forget it, its queue and its results."""
    _in_guest(loaded, ["remove", name])


@instance.command("list")
@as_json
@with_config
def list_instances(loaded: "Loaded", as_json: bool) -> None:
    """List the grading services."""
    _show(_in_guest(loaded, ["list"]), as_json)


@instance.command()
@click.argument("name")
@with_config
def show(name: str, loaded: "Loaded") -> None:
    """Print everything about the grading service NAME, as JSON."""
    click.echo(json.dumps(_in_guest(loaded, ["show", name]), indent=2))


def _in_guest(loaded: "Loaded", words: list[str]) -> Any:
    from provision.cli._machine import open_machine
    from provision.errors import GuestError
    from provision.machine.ssh import connect, execute

    with connect(open_machine(loaded.config).endpoint()) as client:
        done = execute(client, shlex.join(["sudo", "-n", "grader-instance", *words]), timeout=120)
    if done.status:
        ours = done.stderr.startswith("grader-instance:")
        raise GuestError(
            done.stderr.strip() or "grader-instance failed",
            hint=None if ours else "set grader.enabled and build again",
        )
    return json.loads(done.stdout)


def _show(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found))
        return
    for each in found:
        network = ", ".join(each["network"]) or "no network"
        click.echo(f"{each['name']:<12} {each['active']:<9} port {each['port']:<6} {network}")


@command.command()
@needs_linux
@as_json
def doctor(as_json: bool) -> None:
    """Tell how each limit of a sandbox is kept on this host. Exit code 4 if it cannot run."""
    from provision.errors import HostNotReadyError
    from provision.guest.sandbox import doctor as checks

    found = checks.check()
    if as_json:
        click.echo(json.dumps(found))
    else:
        for name, text in found.items():
            click.echo(f"{name:<14} {text}")
    if not checks.ready(found):
        raise HostNotReadyError(
            "no sandbox can run here: " + found["boxes"],
            hint="apt-get install bubblewrap; sysctl kernel.unprivileged_userns_clone=1",
        )
