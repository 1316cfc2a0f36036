"""`appliance sandbox`: images for the grading sandbox, and whether this host can run it."""

import json
from pathlib import Path

import click

from provision.cli._options import as_json

_DIRECTORY = click.option(
    "-d",
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("images"),
    show_default=True,
    help="Where the images are.",
)


@click.group()
def command() -> None:
    """The root file systems in which exercises run."""


@command.group()
def image() -> None:
    """Build, list and verify sandbox images."""


@image.command()
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

    found = images.installed(directory)
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


@command.command()
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
