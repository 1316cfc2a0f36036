"""`appliance lock`: a list of wheels with their hashes, for further Python packages."""

from pathlib import Path

import click

from provision.config.architectures import ARCHITECTURES, of_this_host
from provision.config.architectures import Name as ArchName
from provision.config.distributions import DISTRIBUTIONS

_PYTHONS = {
    suite: python for each in DISTRIBUTIONS.values() for suite, python in each.pythons.items()
}


@click.command()
@click.argument("packages", nargs=-1, required=True, metavar="PACKAGE...")
@click.option("--sage", is_flag=True, help="For Sage (sage.lock), besides what Sage needs.")
@click.option(
    "--suite",
    type=click.Choice(list(_PYTHONS)),
    default=DISTRIBUTIONS["debian"].suites[0],
    show_default=True,
    help="The guest's release, which decides the version of Python.",
)
@click.option(
    "--arch",
    type=click.Choice(list(ARCHITECTURES)),
    help="The guest's processor. Default: this host's.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The file. Default: python.lock, or sage.lock with --sage.",
)
def command(
    packages: tuple[str, ...], sage: bool, suite: str, arch: ArchName | None, output: Path | None
) -> None:
    """Ask PyPI for the wheels of PACKAGE... and what they need, and write their list.

    PACKAGE is a name, or name==version. Name the file in appliance.yml:
    kernels.python.lock, or sage.lock; the build takes no wheel with another hash.
    """
    from provision import files, progress
    from provision.build import wheels
    from provision.config.wheels import normalize, pins
    from provision.errors import ApplianceError

    output = output or Path("sage.lock" if sage else "python.lock")
    place = files.ordinary(output)
    text = wheels.resolve(packages, python=_PYTHONS[suite], arch=arch or of_this_host(), sage=sage)
    try:
        files.write_whole(place, text.encode())
    except OSError as error:
        raise ApplianceError(f"cannot write {output}: {error.strerror}") from error
    click.echo(output)
    have = pins(text)
    names = ", ".join(f"{n} {have[n]}" for n in (normalize(p.partition("==")[0]) for p in packages))
    section = "sage" if sage else "kernels.python"
    progress.note(f"{names}. Next, in appliance.yml: {section}.packages and {section}.lock")
